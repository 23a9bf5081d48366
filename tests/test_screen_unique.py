"""Uniqueness and novelty against pymatgen's own grouping."""

import numpy as np
import pytest
from ase.build import bulk, make_supercell
from ase.io import read
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.core.structure_matcher import StructureMatcher

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.screen.settings import ScreenSettings
from kappaforge.screen.unique import group, match

PAPER = ScreenSettings()
PROTOTYPES = (
    bulk("C", "diamond", a=3.567),
    bulk("C", "fcc", a=3.0),
    bulk("C", "sc", a=1.8),
    bulk("BN", "zincblende", a=3.6),
    bulk("BN", "rocksalt", a=3.5),
    bulk("NaCl", "cesiumchloride", a=3.2),
    bulk("BN", "wurtzite", a=2.5, c=4.2),
)


def groups_of_pymatgen(crystals, settings):
    """The labels that `StructureMatcher.group_structures` amounts to."""
    matcher = StructureMatcher(settings.ltol, settings.stol, settings.angle_tol_deg)
    structures = [crystal.to_pymatgen() for crystal in crystals]
    place = {id(structure): index for index, structure in enumerate(structures)}
    labels = np.empty(len(crystals), dtype=int)
    for members in matcher.group_structures(structures):
        indices = [place[id(member)] for member in members]
        labels[indices] = min(indices)
    return labels


def perturbed(atoms, rng, noise_ang, strain):
    """A copy in another cell, order and place, rattled and strained."""
    basis = [np.eye(3), [[1, 1, 0], [0, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 0], [1, -1, 2]]][rng.integers(3)]
    copy = make_supercell(atoms, basis)
    copy = copy[rng.permutation(len(copy))]
    copy.set_cell(copy.cell.array @ (np.eye(3) + rng.normal(scale=strain, size=(3, 3))), scale_atoms=True)
    copy.positions += rng.normal(scale=noise_ang, size=copy.positions.shape) + rng.normal(size=3)
    return copy


@pytest.fixture(scope="module")
def carbon24(shared_data):
    """The first 300 crystals of carbon-24, validation split."""
    atoms = read(shared_data / "carbon24" / "carbon24_cdvae_val_test_4062.extxyz.gz", ":300")
    return [Crystal.from_ase(one) for one in atoms]


def test_groups_equal_pymatgen_on_carbon24(carbon24):
    sample = carbon24[:90]
    labels = group(sample, PAPER)
    assert np.array_equal(labels, groups_of_pymatgen(sample, PAPER))
    assert 20 < len(np.unique(labels)) < 80  # duplicates and distinct ones are both there, so the test can fail


@pytest.mark.slow
def test_groups_equal_pymatgen_on_more_of_carbon24(carbon24):
    assert np.array_equal(group(carbon24, PAPER), groups_of_pymatgen(carbon24, PAPER))


@pytest.mark.parametrize("tolerances", [PAPER, ScreenSettings(ltol=0.05, stol=0.1, angle_tol_deg=2.0)])
def test_groups_equal_pymatgen_on_perturbed_copies(rng, tolerances):
    crystals = [
        Crystal.from_ase(perturbed(PROTOTYPES[rng.integers(len(PROTOTYPES))], rng, noise, strain))
        for noise in (0.0, 0.03, 0.2)
        for strain in (0.0, 0.02, 0.08)
        for _ in range(6)
    ]
    labels = group(crystals, tolerances)
    assert np.array_equal(labels, groups_of_pymatgen(crystals, tolerances))
    assert 2 < len(np.unique(labels)) < len(crystals)


def test_representative_is_the_first_of_its_group(carbon24):
    labels = group(carbon24[:60], PAPER)
    assert (labels <= np.arange(60)).all()
    assert np.array_equal(labels[labels], labels)


def test_groups_of_the_first_crystals_do_not_change_when_more_come(carbon24):
    assert np.array_equal(group(carbon24[:40], PAPER), group(carbon24[:60], PAPER)[:40])


def test_match_continues_the_groups(carbon24):
    """New against existing gives what grouping everything at once gives."""
    labels = group(carbon24[:60], PAPER)
    representatives = np.unique(labels[:40])
    found = match(carbon24[40:60], [carbon24[i] for i in representatives], PAPER)
    known = found >= 0
    assert np.array_equal(representatives[found[known]], labels[40:][known])
    assert (labels[40:][~known] >= 40).all()


def test_match_is_the_first_fit_of_pymatgen(rng):
    reference = [Crystal.from_ase(perturbed(atoms, rng, 0.05, 0.02)) for atoms in PROTOTYPES * 2]
    crystals = [Crystal.from_ase(perturbed(atoms, rng, 0.08, 0.02)) for atoms in PROTOTYPES[::-1]]
    matcher = StructureMatcher(PAPER.ltol, PAPER.stol, PAPER.angle_tol_deg)
    expected = [
        next((i for i, ref in enumerate(reference) if matcher.fit(ref.to_pymatgen(), crystal.to_pymatgen())), -1)
        for crystal in crystals
    ]
    assert match(crystals, reference, PAPER).tolist() == expected
    assert max(expected) >= 0


def test_diamond_is_novel_against_lonsdaleite_only(diamond):
    hexagonal = Lattice.hexagonal(2.52, 4.12)
    structure = Structure.from_spacegroup(194, hexagonal, ["C"], [[1 / 3, 2 / 3, 1 / 16]])
    lonsdaleite = Crystal.from_pymatgen(structure, id="lonsdaleite")
    cubic = Crystal.from_ase(bulk("C", "diamond", a=3.6, cubic=True))
    assert match([cubic], [lonsdaleite], PAPER).tolist() == [-1]
    assert match([cubic, lonsdaleite], [lonsdaleite, diamond], PAPER).tolist() == [1, 0]


def test_nothing_matches_an_empty_reference(diamond):
    assert match([diamond, diamond], [], PAPER).tolist() == [-1, -1]
    assert group([], PAPER).shape == (0,)


def test_same_lattice_of_another_element_is_another_crystal(diamond):
    silicon = Crystal.from_ase(bulk("Si", "diamond", a=3.567))
    assert group([diamond, silicon, diamond], PAPER).tolist() == [0, 1, 0]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shear=st.integers(-40, 40), length=st.floats(1.0, 60.0))
def test_wild_cells_are_grouped_without_error(seed, shear, length):
    rng = np.random.default_rng(seed)
    cell = np.diag([2.0, 2.0, length]) + rng.normal(scale=0.3, size=(3, 3))
    cell[1] += shear * cell[0]
    crystal = Crystal(cell, rng.uniform(size=(3, 3)) @ cell, np.array([6, 6, 6]))
    assert group([crystal, crystal], PAPER).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("field", "value"),
    [("ltol", 0.0), ("stol", float("nan")), ("angle_tol_deg", -5.0), ("max_atoms", 0), ("max_atoms", 2.5)],
)
def test_screen_settings_name_the_bad_field(field, value):
    with pytest.raises(InputError, match=f"screen.{field}: expected .*, got "):
        ScreenSettings(**{field: value})

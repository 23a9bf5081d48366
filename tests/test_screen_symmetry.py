"""The symmetry metric against known groups and pymatgen's analyser."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, make_supercell
from ase.io import read
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from pymatgen.symmetry.groups import PointGroup

from kappaforge.crystal import Crystal
from kappaforge.screen.settings import ScreenSettings
from kappaforge.screen.symmetry import symmetry

PAPER = ScreenSettings()
LONSDALEITE = Structure.from_spacegroup(194, Lattice.hexagonal(2.52, 4.12), ["C"], [[1 / 3, 2 / 3, 1 / 16]])
BCT_C4 = Structure.from_spacegroup(139, Lattice.tetragonal(4.37, 2.51), ["C"], [[0.18, 0.18, 0.0]])


def of(atoms):
    return Crystal.from_pymatgen(atoms) if isinstance(atoms, Structure) else Crystal.from_ase(atoms)


@pytest.mark.parametrize(
    ("atoms", "number", "symbol", "operations", "n_atoms"),
    [
        (bulk("C", "diamond", a=3.567), 227, "Fd-3m", 48, 2),
        (LONSDALEITE, 194, "P6_3/mmc", 24, 4),
        (BCT_C4, 139, "I4/mmm", 16, 4),
        (bulk("BN", "zincblende", a=3.6), 216, "F-43m", 24, 2),
        (bulk("BN", "wurtzite", a=2.5, c=4.2), 186, "P6_3mc", 12, 4),
        (bulk("C", "sc", a=1.8), 221, "Pm-3m", 48, 1),
        (bulk("Se", "fcc", a=3.0), 225, "Fm-3m", 48, 1),
        (graphene(vacuum=5.0), 191, "P6/mmm", 24, 2),
    ],
)
def test_known_groups(atoms, number, symbol, operations, n_atoms):
    record = symmetry(of(atoms), PAPER)
    assert (record.space_group_number, record.space_group_symbol) == (number, symbol)
    assert (record.symmetry_operations, record.n_atoms) == (operations, n_atoms)
    assert record.passes
    assert record.reason == ""


@pytest.mark.parametrize(
    "basis",
    [
        np.diag([1, 1, 2]),  # breaks the symmetry of the cell, not of the crystal
        np.diag([2, 2, 2]),
        [[-1, 1, 1], [1, -1, 1], [1, 1, -1]],  # the conventional cube
        [[1, 0, 0], [2, 1, 0], [0, -3, 1]],
    ],
)
def test_symmetry_does_not_depend_on_the_cell(diamond, basis):
    atoms = make_supercell(diamond.to_ase(), basis)
    atoms.rotate(33, (1, 2, 3), rotate_cell=True)
    atoms.positions += [0.4, -7.0, 0.1]
    record = symmetry(Crystal.from_ase(atoms, id="diamond"), PAPER)
    assert record == symmetry(diamond, PAPER)


def test_symmetry_equals_pymatgen_on_carbon24(shared_data):
    atoms = read(shared_data / "carbon24" / "carbon24_cdvae_val_test_4062.extxyz.gz", ":150")
    n_primitive = 0
    for crystal in map(Crystal.from_ase, atoms):
        record = symmetry(crystal, PAPER)
        analyser = SpacegroupAnalyzer(crystal.to_pymatgen(), PAPER.symprec_ang, PAPER.angle_tolerance_deg)
        assert record.space_group_number == analyser.get_space_group_number()
        assert record.space_group_symbol == analyser.get_space_group_symbol()
        assert record.symmetry_operations == len(PointGroup(analyser.get_point_group_symbol()).symmetry_ops)
        if record.n_atoms == len(crystal):  # given in a primitive cell, whose own operations pymatgen counts
            n_primitive += 1
            assert record.symmetry_operations == len(analyser.get_symmetry_operations())
        assert record.passes == (record.n_atoms <= 12 and record.symmetry_operations >= 4)
    assert 0 < n_primitive < len(atoms)


def test_symmetry_of_real_crystals_does_not_depend_on_the_cell(shared_data):
    atoms = read(shared_data / "carbon24" / "carbon24_cdvae_val_test_4062.extxyz.gz", ":100")
    for one in atoms:
        crystal = Crystal.from_ase(one, id="same")
        larger = Crystal.from_ase(make_supercell(one, [[1, 0, 0], [0, 1, 0], [0, 1, 2]]), id="same")
        assert symmetry(larger, PAPER) == symmetry(crystal, PAPER)


def test_atoms_within_symprec_of_their_places_count_as_symmetric(diamond, rng):
    noise = rng.uniform(-1, 1, size=(2, 3))
    shaken = {scale: diamond.moved_to(diamond.cell, diamond.positions + scale * noise) for scale in (0.01, 0.3)}
    assert symmetry(shaken[0.01], PAPER).space_group_number == 227
    assert symmetry(shaken[0.3], PAPER).symmetry_operations < 48


def test_too_many_atoms_do_not_pass(diamond):
    record = symmetry(diamond, ScreenSettings(max_atoms=1))
    assert not record.passes
    assert record.reason == "2 atoms in the primitive cell, at most 1 pass"


def test_low_symmetry_does_not_pass(rng):
    cell = np.array([[4.0, 0.0, 0.0], [1.1, 4.5, 0.0], [0.7, 0.9, 5.2]])
    crystal = Crystal.from_ase(Atoms("C5", scaled_positions=rng.uniform(size=(5, 3)), cell=cell))
    record = symmetry(crystal, PAPER)
    assert (record.space_group_number, record.symmetry_operations, record.n_atoms) == (1, 1, 5)
    assert not record.passes
    assert record.reason == "1 symmetry operations, at least 4 pass"


def test_overlapping_atoms_are_a_record_with_a_reason(diamond):
    overlapping = diamond.moved_to(diamond.cell, diamond.positions * 1e-3)
    record = symmetry(overlapping, PAPER)
    assert record.id == "diamond"
    assert record.n_atoms is record.symmetry_operations is record.space_group_number is None
    assert not record.passes
    assert "atoms may be too close" in record.reason

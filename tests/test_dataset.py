"""Splits, fractions, distances and the carbon crystals the package knows."""

import csv
from itertools import product

import numpy as np
import pytest
import spglib
from ase.neighborlist import neighbor_list
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pymatgen.analysis.structure_matcher import StructureMatcher

from kappaforge.crystal import Crystal
from kappaforge.dataset.distances import shortest_distance_ang
from kappaforge.dataset.entry import DatasetEntry
from kappaforge.dataset.known_carbon import KNOWN, known_carbons
from kappaforge.dataset.load import load
from kappaforge.dataset.polytypes import polytype, polytype_name, polytype_words
from kappaforge.dataset.readers import read
from kappaforge.dataset.settings import DatasetSettings
from kappaforge.dataset.split import lowest_energy, split
from kappaforge.dataset.writers import write
from kappaforge.errors import InputError
from kappaforge.potentials import registry
from kappaforge.relax.relaxer import relax
from kappaforge.relax.settings import RelaxSettings


def cubes(energies) -> list[DatasetEntry]:
    """Entries with one atom each, told apart by their ids."""
    return [
        DatasetEntry(Crystal(2 * np.eye(3), np.zeros((1, 3)), [6], id=f"c{i}", source="test"), energy)
        for i, energy in enumerate(energies)
    ]


def ids(entries) -> list[str]:
    return [entry.crystal.id for entry in entries]


def symmetry(crystal, symprec=1e-3):
    return spglib.get_symmetry_dataset((crystal.cell, crystal.fractional, crystal.numbers), symprec=symprec)


# --- fraction and split -------------------------------------------------------------------------------------------


def test_lowest_energy_keeps_the_lowest_in_their_order():
    assert ids(lowest_energy(cubes([3.0, 1.0, 2.0, 0.0]), 0.5)) == ["c1", "c3"]
    assert ids(lowest_energy(cubes([1.0, 1.0, 1.0]), 0.3)) == ["c0"]
    assert len(lowest_energy(cubes(range(30)), 0.1)) == 3


def test_lowest_energy_needs_energies_only_below_one():
    assert len(lowest_energy(cubes([1.0, None]), 1.0)) == 2
    with pytest.raises(InputError, match="'c1' of test has no energy"):
        lowest_energy(cubes([1.0, None]), 0.5)
    with pytest.raises(InputError, match="lowest_energy_fraction"):
        lowest_energy(cubes([1.0]), 0.0)


@given(n=st.integers(0, 60), seed=st.integers(0, 5), labels=st.none() | st.integers(1, 8))
def test_split_is_a_partition_that_keeps_groups_together(n, seed, labels):
    entries = cubes([None] * n)
    groups = None if labels is None else [i * i % labels for i in range(n)]
    parts = split(entries, seed=seed, groups=groups)
    assert sorted(ids([entry for part in parts for entry in part])) == sorted(ids(entries))
    assert [ids(part) for part in parts] == [ids(part) for part in split(entries, seed=seed, groups=groups)]
    if groups is None:
        assert all(abs(len(part) - share * n) <= 1 for part, share in zip(parts, (0.6, 0.2, 0.2), strict=True))
    else:
        seen = [{groups[int(name[1:])] for name in ids(part)} for part in parts]
        assert sum(len(labels_of_part) for labels_of_part in seen) == len(set(groups))


def test_split_depends_on_the_seed_and_follows_the_fractions():
    entries = cubes([None] * 100)
    train, validation, test = split(entries, (0.8, 0.1, 0.1), seed=1)
    assert (len(train), len(validation), len(test)) == (80, 10, 10)
    assert ids(train) != ids(split(entries, (0.8, 0.1, 0.1), seed=2)[0])
    assert ids(train) == sorted(ids(train), key=lambda name: int(name[1:]))


def test_split_refuses_what_does_not_fit():
    with pytest.raises(InputError, match="sum to 1"):
        split(cubes([1.0]), (0.5, 0.2, 0.2))
    with pytest.raises(InputError, match="one label for each of the 2 entries, got 1"):
        split(cubes([1.0, 2.0]), groups=[0])


# --- distances ----------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10_000), n_atoms=st.integers(1, 5))
def test_shortest_distance_agrees_with_all_images(seed, n_atoms):
    rng = np.random.default_rng(seed)
    cell = rng.normal(size=(3, 3)) + 2 * np.eye(3)
    assume(np.linalg.cond(cell) < 10)  # else the oracle would need more images
    cell *= np.cbrt(8 * n_atoms / abs(np.linalg.det(cell)))
    crystal = Crystal(cell, rng.uniform(-2, 2, (n_atoms, 3)) @ cell, [6] * n_atoms)
    images = np.array(list(product(range(-9, 10), repeat=3))) @ cell
    wrapped = crystal.fractional % 1.0 @ cell
    lengths = np.linalg.norm(wrapped[:, None, None] - wrapped[None, :, None] + images, axis=-1)
    assert shortest_distance_ang(crystal) == pytest.approx(lengths[lengths > 1e-9].min(), rel=1e-6)


def test_shortest_distance_of_diamond_is_its_bond(diamond):
    assert shortest_distance_ang(diamond) == pytest.approx(3.567 * np.sqrt(3) / 4)


def test_shortest_distance_sees_atoms_on_top_of_each_other_and_thin_cells():
    assert shortest_distance_ang(Crystal(3 * np.eye(3), [[0, 0, 0], [3, 0, 0]], [6, 6])) == pytest.approx(0, abs=1e-9)
    thin = Crystal(np.diag([1e-3, 100.0, 100.0]), np.zeros((1, 3)), [6])
    assert shortest_distance_ang(thin) == pytest.approx(1e-3)


# --- known carbon -------------------------------------------------------------------------------------------------


def test_known_carbons_have_names_references_and_distinct_structures():
    known = known_carbons()
    names = [entry.name for entry in known]
    assert names == ids(known)
    assert len(set(names)) == len(names)
    assert {"diamond", "lonsdaleite", "bct-C4", "Z-carbon", "AA-T12", "polytype-4H", "graphite"} <= set(names)
    assert all(entry.reference and entry.crystal.elements == {"C"} for entry in known)
    groups = StructureMatcher(0.05, 0.1, 2).group_structures([entry.crystal.to_pymatgen() for entry in known])
    assert len(groups) == len(known)


@pytest.mark.parametrize("fact", KNOWN, ids=[fact.name for fact in KNOWN])
def test_known_carbon_has_its_space_group_and_sensible_bonds(fact):
    crystal = fact.build()
    found = symmetry(crystal)
    assert found.number == fact.space_group_number
    assert len(set(found.mapping_to_primitive)) == len(crystal), "the cell is primitive"
    neighbours = np.bincount(neighbor_list("i", crystal.to_ase(), 1.7), minlength=len(crystal))
    layered = fact.name.startswith("graphite")
    assert (neighbours == (3 if layered else 4)).all()
    assert 1.4 < shortest_distance_ang(crystal) < 1.56
    assert 2.2 < crystal.density_g_per_cm3 < 2.3 if layered else 3.1 < crystal.density_g_per_cm3 < 3.6


def test_known_carbons_agree_with_the_table_of_the_paper(shared_data):
    known = {entry.name: entry.crystal for entry in known_carbons()}
    with (shared_data / "reference" / "table1_five.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    for row in rows:
        crystal = known[row["name"]]
        assert len(crystal) == int(row["atoms_primitive"])
        assert crystal.density_g_per_cm3 == pytest.approx(float(row["density_g_cm3"]), abs=2e-3)
        found = symmetry(crystal)
        assert found.number == int(row["space_group_number"])
        lengths = sorted(np.linalg.norm(found.std_lattice, axis=1))
        assert lengths == pytest.approx(sorted(float(row[key]) for key in ("a_ang", "b_ang", "c_ang")), abs=1e-3)


def test_dense_allotropes_stay_themselves_when_relaxed():
    names = ("bct-C4", "M-carbon", "bc8", "polytype-9R")
    crystals = [entry.crystal for entry in known_carbons() if entry.name in names]
    for before, record in zip(crystals, relax(crystals, registry.load("tersoff"), RelaxSettings()), strict=True):
        assert record.status == "ok", before.id
        after = record.crystal
        assert symmetry(after, 0.02).number == symmetry(before).number
        assert StructureMatcher(0.1, 0.2, 3).fit(before.to_pymatgen(), after.to_pymatgen()), before.id


@pytest.mark.parametrize(
    ("word", "name", "space_group"),
    [
        ("c", "3C", 227),
        ("h", "2H", 194),
        ("hc", "4H", 194),
        ("hcc", "6H", 194),
        ("hhc", "9R", 166),
        ("hhcc", "12R", 166),
        ("hhccc", "5H", 164),
        ("hhhchc", "6H", 187),
    ],
)
def test_polytypes_have_their_symbol_and_symmetry(word, name, space_group):
    crystal = polytype(word)
    assert polytype_name(word) == name
    assert symmetry(crystal).number == space_group
    assert len(crystal) == 2 * len(word) * (1 + word.count("h") % 2)


@pytest.mark.parametrize("word", ["c", "h", "hc", "hhc", "hhhchc"])
def test_polytypes_are_perfect_tetrahedra(word):
    first, offsets = neighbor_list("iD", polytype(word).to_ase(), 1.7)
    for atom in range(first.max() + 1):
        bonds = offsets[first == atom]
        assert np.linalg.norm(bonds, axis=1) == pytest.approx(np.full(4, 1.545))
        cosines = (bonds @ bonds.T)[np.triu_indices(4, 1)] / 1.545**2
        assert cosines == pytest.approx(np.full(6, -1 / 3))


def test_polytypes_are_all_of_the_reference(shared_data):
    reference = [
        entry.crystal.to_pymatgen()
        for entry in read(shared_data / "reference" / "diamond_polytypes_generated.extxyz.gz")
    ]
    ours = [polytype(word).to_pymatgen() for word in polytype_words(12)]
    assert len(ours) == len(reference) == 13
    matcher = StructureMatcher(0.001, 0.001, 0.01, primitive_cell=False, scale=False)
    assert all(sum(matcher.fit(one, other) for other in reference) == 1 for one in ours)


def test_polytype_refuses_other_letters():
    with pytest.raises(InputError, match="letters h and c, got 'hx'"):
        polytype("hx")


# --- real data and settings ---------------------------------------------------------------------------------------


def test_carbon_24_is_read_whole(shared_data):
    entries = read(shared_data / "carbon24" / "carbon24_cdvae_val_test_4062.extxyz.gz")
    assert len(entries) == 4062
    assert entries[0].crystal.id == "C-148264-7891-51"
    energies = np.array([entry.energy_ev_per_atom for entry in entries])
    assert energies.min() == pytest.approx(-154.57, abs=0.5)
    assert all(6 <= len(entry.crystal) <= 24 for entry in entries)


def test_load_gives_the_built_in_library_without_a_path():
    assert ids(load(DatasetSettings())) == ids(known_carbons())
    assert all(len(entry.crystal) <= 4 for entry in load(DatasetSettings(max_atoms=4)))


def test_load_reads_limits_and_takes_the_lowest(tmp_path):
    entries = cubes([0.0, -2.0, -1.0, -3.0])
    crystals = [entry.crystal for entry in entries]
    columns = [{"energy_ev_per_atom": entry.energy_ev_per_atom} for entry in entries]
    write(crystals, tmp_path / "set.extxyz", columns=columns)
    chosen = load(DatasetSettings(path=str(tmp_path / "set.extxyz"), lowest_energy_fraction=0.5))
    assert ids(chosen) == ["c1", "c3"]


def test_load_says_where_no_crystal_is_small_enough():
    with pytest.raises(InputError, match=r"no crystal has 1 atoms or fewer \(the smallest has 2\)"):
        load(DatasetSettings(max_atoms=1))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"lowest_energy_fraction": 0.0}, "lowest_energy_fraction"),
        ({"lowest_energy_fraction": float("nan")}, "lowest_energy_fraction"),
        ({"split": (0.5, 0.5)}, "split"),
        ({"split": (1.2, -0.2, 0.0)}, "split"),
        ({"max_atoms": -1}, "max_atoms"),
    ],
)
def test_dataset_settings_name_the_wrong_field(wrong, named):
    with pytest.raises(InputError, match=named):
        DatasetSettings(**wrong)

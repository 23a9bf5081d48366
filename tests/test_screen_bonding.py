"""In how many directions crystals are bonded, and how many neighbours their atoms have."""

import time

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, mx2
from scipy.spatial.transform import Rotation

from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.screen.bonding import bonding, overcoordinated

CARBONS = {entry.name: entry.crystal for entry in known_carbons()}


def molybdenite() -> Atoms:
    layer = mx2("MoS2", a=3.16, thickness=3.19)
    layer.cell[2, 2], layer.pbc = 6.15, True
    return layer


OTHERS = {
    "chain": Atoms("C2", cell=[2.6, 10, 10], positions=[(0, 0, 0), (1.3, 0, 0)]),
    "molecule": Atoms("N2", cell=[9, 9, 9], positions=[(0, 0, 0), (1.1, 0, 0)]),
    "far molecule": Atoms("N2", cell=[30, 30, 30], positions=[(0, 0, 0), (1.1, 0, 0)]),
    "molecule on a layer": Atoms(
        "C2N2", cell=[2.46, 2.46, 14, 90, 90, 120], positions=[(0, 0, 0), (0, 1.42, 0), (0, 0, 6), (0, 0, 7.1)]
    ),
    "NaCl": bulk("NaCl", "rocksalt", a=5.64),
    "Mg": bulk("Mg"),
    "Al": bulk("Al"),
    "Pb": bulk("Pb"),
    "Fe": bulk("Fe"),
    "MoS2": molybdenite(),
}


@pytest.mark.parametrize(
    ("name", "dimensionality", "neighbours"),
    [
        ("diamond", "3D", ((4, 2),)),
        ("bct-C4", "3D", ((4, 4),)),
        ("AA-T12", "3D", ((4, 12),)),
        ("bc8", "3D", ((4, 8),)),
        ("graphite", "2D", ((3, 4),)),
        ("graphite-3R", "2D", ((3, 2),)),
    ],
)
def test_carbons_are_networks_of_four_neighbours_or_layers_of_three(name, dimensionality, neighbours):
    record = bonding(CARBONS[name])
    assert (record.dimensionality, record.neighbours) == (dimensionality, neighbours)
    assert record.threefold_fraction == (1.0 if dimensionality == "2D" else 0.0)


@pytest.mark.parametrize(
    ("name", "dimensionality", "neighbours"),
    [
        ("chain", "1D", ((2, 2),)),
        ("molecule", "0D", ((1, 2),)),
        ("far molecule", "0D", ((1, 2),)),
        ("molecule on a layer", "02D", None),
        ("NaCl", "3D", ((6, 2),)),
        ("Mg", "3D", None),
        ("Al", "3D", None),
        ("Pb", "3D", None),
        ("Fe", "3D", ((14, 1),)),
        ("MoS2", "2D", None),
    ],
)
def test_chains_molecules_salts_metals_and_layers_are_told_apart(name, dimensionality, neighbours):
    record = bonding(Crystal.from_ase(OTHERS[name]))
    assert record.dimensionality == dimensionality
    if neighbours is not None:
        assert record.neighbours == neighbours


def test_crystals_leave_for_one_atom_that_has_too_many_neighbours():
    graphite, diamond = CARBONS["graphite"], CARBONS["diamond"]
    triangular = Crystal.from_ase(Atoms("C", cell=[1.5, 1.5, 8, 90, 90, 120], pbc=True))
    assert overcoordinated(diamond, None) == overcoordinated(diamond, 4) == overcoordinated(graphite, 3) == ""
    assert overcoordinated(diamond, 3) == "an atom has 4 neighbours, at most 3 pass"
    assert overcoordinated(triangular, 4) == "an atom has 6 neighbours, at most 4 pass"
    assert overcoordinated(Crystal.from_ase(OTHERS["molecule on a layer"]), 2)  # the layer's have three


@pytest.mark.parametrize("name", ["graphite", "bct-C4"])
def test_bonding_does_not_depend_on_the_cell_it_is_given_in(name):
    crystal = CARBONS[name]
    expected = bonding(crystal)
    turn = Rotation.from_euler("xyz", [20, 50, -35], degrees=True).as_matrix()
    sheared = crystal.moved_to(np.array([[1, 0, 0], [1, 1, 0], [-1, 2, 1]]) @ crystal.cell, crystal.positions)
    rotated = crystal.moved_to(crystal.cell @ turn.T, crystal.positions[::-1] @ turn.T + 0.7)
    for given in (sheared, rotated):
        record = bonding(given)
        assert (record.dimensionality, record.neighbours) == (expected.dimensionality, expected.neighbours)
    doubled = bonding(Crystal.from_ase(crystal.to_ase().repeat((1, 2, 1))))
    assert doubled.dimensionality == expected.dimensionality
    assert doubled.neighbours == tuple((number, 2 * atoms) for number, atoms in expected.neighbours)


def test_fraction_of_threefold_atoms_counts_atoms_between_sheets_and_bridges():
    """Graphene with a carbon atom on every fourth: some atoms have three neighbours, others do not."""
    sheet = Atoms("C2", cell=[2.46, 2.46, 12, 90, 90, 120], positions=[(0, 0, 0), (0, 1.42, 0)]).repeat((2, 1, 1))
    adatom = Atoms("C", positions=[sheet.positions[0] + (0, 0, 1.5)])
    record = bonding(Crystal.from_ase(sheet + adatom))
    assert record.neighbours == ((1, 1), (3, 3), (4, 1))
    assert record.threefold_fraction == pytest.approx(3 / 5)


def test_twelve_atoms_take_less_than_a_tenth_of_a_second():
    bonding(CARBONS["AA-T12"])
    start = time.process_time()
    bonding(CARBONS["polytype-6H-hcc"])
    assert time.process_time() - start < 0.1

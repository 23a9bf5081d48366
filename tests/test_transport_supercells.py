"""Supercells: far enough apart, symmetric, and none smaller."""

import itertools

import numpy as np
import pytest
import spglib
from ase.geometry import cellpar_to_cell
from hypothesis import given, settings
from hypothesis import strategies as st
from phonopy import Phonopy

from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.errors import InputError
from kappaforge.transport.force_constants import SYMPREC, phono3py_with, phonopy_atoms
from kappaforge.transport.primitive import PrimitiveCrystal, primitive_crystal
from kappaforge.transport.supercells import conventional_matrix, smallest_supercell

CARBONS = {entry.name: entry.crystal for entry in known_carbons()}


def primitive_of(name: str) -> PrimitiveCrystal:
    return primitive_crystal(CARBONS[name], 1e-3)


def face_distance(lattice: np.ndarray) -> float:
    """From cross products."""
    volume = abs(np.linalg.det(lattice))
    return min(volume / np.linalg.norm(np.cross(lattice[i], lattice[j])) for i, j in ((0, 1), (1, 2), (2, 0)))


def keeps(rotations: np.ndarray, matrix: np.ndarray) -> bool:
    turned = np.linalg.inv(matrix.T) @ rotations @ matrix.T
    return bool(np.abs(turned - np.rint(turned)).max() < 1e-6)


@pytest.mark.parametrize("between", ["faces", "images"])
@pytest.mark.parametrize("name", CARBONS)
def test_supercell_is_large_enough_and_keeps_the_point_group(name, between):
    primitive = primitive_of(name)
    choice = smallest_supercell(primitive, 8.7, between)
    lattice = choice.matrix @ primitive.crystal.cell
    assert choice.matrix.dtype == np.int64
    assert np.linalg.det(choice.matrix) > 0
    assert choice.n_atoms == round(np.linalg.det(choice.matrix)) * len(primitive.crystal)
    assert choice.face_distance_ang == pytest.approx(face_distance(lattice))
    steps = np.array(list(itertools.product(range(-3, 4), repeat=3)))
    lengths = np.linalg.norm(steps @ lattice, axis=1)
    assert choice.image_distance_ang == pytest.approx(lengths[lengths > 0].min())
    assert choice.face_distance_ang <= choice.image_distance_ang + 1e-9
    assert (choice.face_distance_ang if between == "faces" else choice.image_distance_ang) > 8.7 - 1e-4
    assert keeps(primitive.rotations, choice.matrix)


@pytest.mark.parametrize("name", ["diamond", "bct-C4", "AA-T12", "M-carbon", "graphite-3R", "polytype-6H-hhhchc"])
def test_phonopy_and_phono3py_keep_operations_and_primitive_cell(name):
    primitive = primitive_of(name)
    choice = smallest_supercell(primitive, 6.5)
    phonopy = Phonopy(
        phonopy_atoms(primitive.crystal), supercell_matrix=choice.matrix.T, primitive_matrix="P", symprec=SYMPREC
    )
    np.testing.assert_allclose(phonopy.supercell.cell, choice.matrix @ primitive.crystal.cell, atol=1e-9)
    np.testing.assert_allclose(phonopy.primitive.cell, primitive.crystal.cell, atol=1e-9)
    n_cells = choice.n_atoms // len(primitive.crystal)
    assert len(phonopy.symmetry.symmetry_operations["rotations"]) == n_cells * len(primitive.rotations)
    supercell = (phonopy.supercell.cell, phonopy.supercell.scaled_positions, phonopy.supercell.numbers)
    assert len(spglib.find_primitive(supercell, symprec=SYMPREC)[2]) == len(primitive.crystal)
    phono3py = phono3py_with(primitive.crystal, choice.matrix, choice.matrix)
    phono3py.mesh_numbers = 12.0
    assert np.prod(phono3py.mesh_numbers) > 1
    assert phono3py.grid.rotations.shape[0] in {len(primitive.rotations), 2 * len(primitive.rotations)}


def all_superlattices(index: int) -> list[np.ndarray]:
    return [
        np.array([[a, b, c], [0, d, e], [0, 0, index // (a * d)]])
        for a in range(1, index + 1)
        for d in range(1, index + 1)
        if index % (a * d) == 0
        for b in range(d)
        for c in range(index // (a * d))
        for e in range(index // (a * d))
    ]


@pytest.mark.parametrize("name", ["diamond", "bct-C4", "M-carbon", "graphite-3R"])
def test_no_smaller_superlattice_would_do(name):
    """Every one of them, with spglib's reduction and no filter before it."""
    primitive = primitive_of(name)
    choice = smallest_supercell(primitive, 5.0)
    for index in range(1, choice.n_atoms // len(primitive.crystal)):
        for matrix in all_superlattices(index):
            if keeps(primitive.rotations, matrix):
                assert face_distance(spglib.niggli_reduce(matrix @ primitive.crystal.cell)) < 5.0


def test_it_is_smaller_than_multiples_of_the_usual_cells():
    primitive = primitive_of("AA-T12")
    assert smallest_supercell(primitive, 8.7).n_atoms == 192  # 3×3×2 conventional cells hold 216
    assert smallest_supercell(primitive, 8.7, "images").n_atoms == 96


def test_known_supercells_of_diamond():
    primitive = primitive_of("diamond")
    conventional = smallest_supercell(primitive, 8.7)
    assert conventional.n_atoms == 216
    np.testing.assert_allclose(
        sorted(np.linalg.norm(conventional.matrix @ primitive.crystal.cell, axis=1)), 3 * [3 * 3.5687], rtol=1e-6
    )
    assert smallest_supercell(primitive, 8.7, "images").n_atoms == 128
    assert smallest_supercell(primitive, 0.1).n_atoms == 2


@pytest.mark.parametrize(("name", "volumes"), [("diamond", 4), ("bct-C4", 2), ("graphite-3R", 3), ("W-carbon", 1)])
def test_conventional_cell(name, volumes):
    assert np.linalg.det(conventional_matrix(primitive_of(name))) == pytest.approx(volumes)


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.tuples(*[st.floats(2.0, 5.0)] * 3),
    angles=st.tuples(*[st.floats(65.0, 110.0)] * 3),
    family=st.sampled_from(["triclinic", "monoclinic", "orthorhombic", "tetragonal", "hexagonal", "cubic"]),
    distance=st.floats(3.0, 7.0),
)
def test_supercells_of_random_lattices(lengths, angles, family, distance):
    a, b, c = lengths
    parameters = {
        "triclinic": [a, b, c, *angles],
        "monoclinic": [a, b, c, 90, angles[1], 90],
        "orthorhombic": [a, b, c, 90, 90, 90],
        "tetragonal": [a, a, c, 90, 90, 90],
        "hexagonal": [a, a, c, 90, 90, 120],
        "cubic": [a, a, a, 90, 90, 90],
    }[family]
    primitive = primitive_crystal(Crystal(cellpar_to_cell(parameters), np.zeros((1, 3)), [6]), 1e-3)
    choice = smallest_supercell(primitive, distance)
    assert face_distance(choice.matrix @ primitive.crystal.cell) > distance * (1 - 1e-5)
    assert keeps(primitive.rotations, choice.matrix)
    images = smallest_supercell(primitive, distance, "images")
    assert images.n_atoms <= choice.n_atoms
    assert images.image_distance_ang > distance * (1 - 1e-5)


def test_beyond_what_can_be_searched_the_usual_cells_serve():
    primitive = primitive_of("M-carbon")
    choice = smallest_supercell(primitive, 60.0)
    assert choice.face_distance_ang >= 60.0
    assert keeps(primitive.rotations, choice.matrix)


@pytest.mark.parametrize("distance", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_distance_is_an_input_error(distance):
    with pytest.raises(InputError, match="expected a positive, finite distance"):
        smallest_supercell(primitive_of("diamond"), distance)

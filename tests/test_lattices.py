"""The index of lattices against pymatgen's search, pair by pair."""

import numpy as np
import pytest
from pymatgen.core import Lattice

from kappaforge.lattices import LatticeIndex, is_reduced


def niggli(cell):
    return Lattice(cell).get_niggli_reduced_lattice().matrix


def mapped_by_pymatgen(first, second, ltol, angle_tol_deg):
    scaled = Lattice(first * np.cbrt(abs(np.linalg.det(second) / np.linalg.det(first))))
    mappings = scaled.find_all_mappings(Lattice(second), ltol, angle_tol_deg, skip_rotation_matrix=True)
    return any(round(abs(np.linalg.det(basis))) == 1 for _, _, basis in mappings)


def random_cells(rng, n):
    """Cells of all shapes, and for every other one a strained copy, so that some pairs are close."""
    cells = []
    for _ in range(n // 2):
        cell = np.diag(np.exp(rng.uniform(-0.5, 0.9, size=3))) + rng.normal(scale=0.3, size=(3, 3))
        cells += [cell, cell @ (np.eye(3) + rng.normal(scale=0.05, size=(3, 3))) * rng.uniform(0.5, 2)]
    return [niggli(cell) for cell in cells]


@pytest.mark.parametrize(("ltol", "angle_tol_deg"), [(0.2, 5.0), (0.05, 2.0), (0.3, 10.0)])
def test_index_finds_what_pymatgen_finds(rng, ltol, angle_tol_deg):
    cells = random_cells(rng, 40)
    index = LatticeIndex(ltol, angle_tol_deg)
    for cell in cells:
        index.add(cell)
    n_found = 0
    for second in cells:
        expected = [i for i, first in enumerate(cells) if mapped_by_pymatgen(first, second, ltol, angle_tol_deg)]
        assert index.close_to(second) == expected
        n_found += len(expected)
    assert len(cells) < n_found < len(cells) ** 2


def test_index_takes_any_cell_of_a_lattice(rng):
    cell = niggli(np.diag([1.0, 1.3, 2.0]) + rng.normal(scale=0.2, size=(3, 3)))
    index = LatticeIndex(0.05, 1.0)
    index.add(np.array([[1, 3, 0], [0, 1, 0], [2, -1, 1]]) @ cell * 3.0)
    assert index.close_to(cell) == [0]


def test_needles_and_plates_are_always_offered():
    index = LatticeIndex(0.2, 5.0)
    for lengths in ([1.0, 1.0, 1.0], [1.0, 1.0, 60.0], [1.0, 1.2, 1.3]):
        index.add(np.diag(lengths))
    assert index.close_to(np.diag([1.0, 1.0, 1.0])) == [0, 1, 2]
    assert index.close_to(np.diag([1.0, 1.0, 2.5])) == [1]


def test_an_empty_index_offers_nothing():
    assert LatticeIndex(0.2, 5.0).close_to(np.eye(3)) == []


def test_reduced_cells_are_told_from_others(rng):
    for _ in range(20):
        assert is_reduced(niggli(rng.normal(size=(3, 3))))
    assert not is_reduced(np.diag([2.0, 1.0, 3.0]))
    assert not is_reduced(np.array([[1.0, 0, 0], [0.9, 1, 0], [0, 0, 2]]))

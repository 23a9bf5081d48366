"""Reduced primitive cells, as ``StructureMatcher`` makes them before it compares (doi 10.1016/j.commatsci.2012.10.028).

pymatgen reduces in Python and then looks for a smaller cell in a time that grows with the fourth power of the atoms.
Most crystals have none, which a look at the translations between their atoms tells: the others go to pymatgen.
"""

from __future__ import annotations

import numba
import numpy as np
import spglib
from spglib.error import SpglibError

from kappaforge.crystal import Crystal

TOLERANCE_ANG = 0.25
"""How far, along each axis, an atom may be off the place of another in a smaller cell: pymatgen's default."""


def reduced_cell(crystal: Crystal) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return the crystal in Niggli's cell of its primitive lattice, or None where that cannot be found.

    Parameters
    ----------
    crystal
        In any of its cells.

    Returns
    -------
    tuple or None
        Lattice vectors as rows, in Å, shape (3, 3); fractional coordinates in [0, 1), shape (n_atoms, 3); atomic
        numbers, shape (n_atoms,).
    """
    cell = niggli(crystal.cell)
    if cell is not None:
        sites = crystal.positions @ np.linalg.inv(cell)
        sites -= np.floor(sites)
        if not may_have_smaller_cell(sites, crystal.numbers, TOLERANCE_ANG / np.linalg.norm(cell, axis=1)):
            return cell, sites, np.array(crystal.numbers)
    try:
        structure = crystal.to_pymatgen().get_reduced_structure(reduction_algo="niggli")
        primitive = structure.get_primitive_structure(TOLERANCE_ANG)
    except ValueError:  # pymatgen's way to say that the cell is too distorted for the reduction to end
        return None
    sites = np.array(primitive.frac_coords)
    return np.array(primitive.lattice.matrix), sites - np.floor(sites), np.array(primitive.atomic_numbers)


def niggli(cell: np.ndarray) -> np.ndarray | None:
    """Return Niggli's reduced cell (doi 10.1107/S010876730302186X), or None where the reduction does not end."""
    try:
        found = spglib.niggli_reduce(cell, eps=1e-5)
    except SpglibError:
        return None
    return None if found is None else np.ascontiguousarray(found, dtype=np.float64)


@numba.njit(cache=True, error_model="numpy")
def may_have_smaller_cell(sites: np.ndarray, numbers: np.ndarray, tolerances: np.ndarray) -> bool:
    """Tell whether a vector between atoms of the rarest element takes each atom near to one of its kind.

    Parameters
    ----------
    sites
        Fractional coordinates, shape (n_atoms, 3).
    numbers
        Atomic numbers, shape (n_atoms,).
    tolerances
        How far an atom may be off its place, in fractions of the lattice vectors, shape (3,).
    """
    n = len(numbers)
    counts = np.zeros(n, dtype=np.int64)
    for i in range(n):
        for j in range(n):
            counts[i] += numbers[i] == numbers[j]
    fewest = counts.min()
    for first in range(n):
        if counts[first] > fewest:
            continue
        for second in range(n):
            # From the first atom of its kind to each other; where elements are equally rare, of all of them.
            if second == first or numbers[second] != numbers[first]:
                continue
            if second < first:
                break
            if _is_near_period(sites, numbers, sites[second] - sites[first], 2 * tolerances):
                return True
    return False


@numba.njit(cache=True, error_model="numpy")
def _is_near_period(sites: np.ndarray, numbers: np.ndarray, vector: np.ndarray, tolerances: np.ndarray) -> bool:
    for i in range(len(sites)):
        found = False
        for j in range(len(sites)):
            if numbers[j] != numbers[i]:
                continue
            near = True
            for k in range(3):
                apart = sites[j, k] - sites[i, k] - vector[k]
                near = near and abs(apart - np.round(apart)) <= tolerances[k]
            if near:
                found = True
                break
        if not found:
            return False
    return True

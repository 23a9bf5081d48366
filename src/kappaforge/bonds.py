"""Who is bonded to whom, by covalent radii (doi 10.1039/b801115j)."""

from __future__ import annotations

import numpy as np
from ase.neighborlist import natural_cutoffs, neighbor_list

from kappaforge.crystal import Crystal

NEIGHBOUR_RADII = 1.1
"""Two atoms are neighbours when they are closer than this times the sum of their covalent radii."""


def neighbour_counts(crystal: Crystal) -> np.ndarray:
    """Return how many neighbours each atom has, images included, shape (n_atoms,)."""
    return _count_within(crystal, NEIGHBOUR_RADII)


def any_closer(crystal: Crystal, radii: float) -> bool:
    """Tell whether two atoms, images included, are closer than so many times the sum of their covalent radii."""
    return bool(_count_within(crystal, radii).any())


def _count_within(crystal: Crystal, radii: float) -> np.ndarray:
    atoms = crystal.to_ase()
    first = neighbor_list("i", atoms, natural_cutoffs(atoms, mult=radii))
    return np.bincount(first, minlength=len(atoms))

"""When atoms are too close for a proposal."""

from __future__ import annotations

import numpy as np
from ase.data import covalent_radii
from ase.geometry import minkowski_reduce
from matscipy.neighbours import neighbour_list

from kappaforge.crystal import Crystal

SHORTEST_SEARCH_ANG = 0.5
"""The search bins the cell by its radius: a tiny one would take all memory."""


def too_close(crystal: Crystal, factor: float) -> bool:
    """Tell whether two atoms, images included, are closer than `factor` times the sum of their covalent radii.

    The radii are those of doi 10.1039/b801115j: 0.76 Å for carbon.
    """
    cell, _ = minkowski_reduce(crystal.cell)
    radii = factor * covalent_radii[crystal.numbers]
    if np.linalg.norm(cell, axis=1).min() < 2 * radii.min():
        return True
    wrapped = np.linalg.solve(cell.T, crystal.positions.T).T % 1.0 @ cell
    one, two, apart = neighbour_list(
        "ijd", positions=wrapped, cell=cell, pbc=[True] * 3, cutoff=max(2 * float(radii.max()), SHORTEST_SEARCH_ANG)
    )
    return bool((apart < radii[one] + radii[two]).any())

"""The shortest distance between atoms, through periodic images too."""

from __future__ import annotations

import numpy as np
from ase.geometry import minkowski_reduce
from matscipy.neighbours import neighbour_list

from kappaforge.crystal import Crystal

DENSEST_PACKING = 2 ** (1 / 6)
"""Nearest-neighbour distance of the densest packing of spheres, in units of the cube root of the volume per atom."""

HOPELESS_ANG = 0.1
"""With a lattice vector this short no search is worth its time, which grows with the number of images."""


def shortest_distance_ang(crystal: Crystal) -> float:
    """Return the shortest distance between two atoms, or an atom and its own image, in Å.

    No packing has a shortest distance above 2^(1/6) (V/N)^(1/3), nor above the shortest lattice vector, so a search up
    to the smaller of the two always finds it. A lattice vector below 0.1 Å is answer enough, and returned as it is.
    """
    cell, _ = minkowski_reduce(crystal.cell)
    shortest_vector = float(np.linalg.norm(cell, axis=1).min())
    if shortest_vector < HOPELESS_ANG:
        return shortest_vector
    packed = DENSEST_PACKING * np.cbrt(crystal.volume_ang3 / len(crystal))
    cutoff = min(packed, shortest_vector) * (1 + 1e-6)
    wrapped = np.linalg.solve(cell.T, crystal.positions.T).T % 1.0 @ cell
    found = neighbour_list("d", positions=wrapped, cell=cell, pbc=[True] * 3, cutoff=cutoff)
    return float(min(found.min(initial=np.inf), shortest_vector))

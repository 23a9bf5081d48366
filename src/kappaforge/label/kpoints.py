"""The cell and the mesh of k points that every plane-wave labeler uses, so that a spacing means the same to each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import spglib

from kappaforge.crystal import Crystal


def reduced(crystal: Crystal) -> Crystal:
    """Return the crystal in its Niggli cell, in the same Cartesian frame: skewed cells need more k points.

    The atoms stay where they are, so energy, forces and stress are those of the crystal as given.
    """
    cell = spglib.niggli_reduce(crystal.cell)
    return crystal if cell is None else replace(crystal, cell=cell)


def kpoint_mesh(crystal: Crystal, kspacing_per_ang: float) -> tuple[int, int, int]:
    """Return the smallest mesh with |b_i| / m_i ≤ `kspacing_per_ang`, where b_i includes 2π (VASP's rule)."""
    reciprocal = 2 * np.pi * np.linalg.norm(np.linalg.inv(crystal.cell).T, axis=1)
    first, second, third = (max(1, int(np.ceil(length / kspacing_per_ang - 1e-9))) for length in reciprocal)
    return first, second, third

"""How far relaxation moved a crystal from what was generated (paper, Fig. 2a-c)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.geometry import cell_to_cellpar

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError


@dataclass(frozen=True)
class Deviation:
    """The change of one crystal's geometry, in the same cell setting before and after.

    Parameters
    ----------
    id
        The crystal's.
    lengths
        Relative change of the three lattice lengths, (after - before) / after, shape (3,).
    angles
        Relative change of the three lattice angles, (after - before) / after, shape (3,).
    fractional
        Change of the fractional coordinates by the shortest way, without the drift common to all atoms,
        shape (n_atoms, 3).
    """

    id: str
    lengths: np.ndarray
    angles: np.ndarray
    fractional: np.ndarray


def deviation(before: Crystal, after: Crystal) -> Deviation:
    """Compare a crystal with what it became; raises `InputError` where their atoms differ in number, kind or order."""
    if not np.array_equal(before.numbers, after.numbers):
        raise InputError(
            f"crystal {after.id!r}: expected the same atoms in the same order before and after, "
            f"got {before.formula} and {after.formula}"
        )
    old, new = cell_to_cellpar(before.cell), cell_to_cellpar(after.cell)
    relative = (new - old) / new
    moved = after.fractional - before.fractional
    moved -= np.round(moved)
    return Deviation(after.id, relative[:3], relative[3:], moved - moved.mean(axis=0))

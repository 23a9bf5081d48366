"""How far relaxation moved a crystal from what was generated (paper, Fig. 2a-c)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.geometry import cell_to_cellpar

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.lattices import is_reduced
from kappaforge.reduction import niggli


@dataclass(frozen=True)
class Deviation:
    """The change of one crystal's geometry, in the same cell before and after: the reduced one after relaxation.

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
    """Compare a crystal with what it became.

    Lengths and angles mean something only in cells that correspond: both are taken in the basis that is reduced (after
    Niggli) once the crystal is relaxed, so that nothing depends on the cell in which it was generated.

    Raises
    ------
    InputError
        Where their atoms differ in number, kind or order.
    """
    if not np.array_equal(before.numbers, after.numbers):
        raise InputError(
            f"crystal {after.id!r}: expected the same atoms in the same order before and after, "
            f"got {before.formula} and {after.formula}"
        )
    change = _reduction(after.cell)
    old, new = cell_to_cellpar(change @ before.cell), cell_to_cellpar(change @ after.cell)
    relative = (new - old) / new
    moved = (after.fractional - before.fractional) @ np.linalg.inv(change)
    moved -= np.round(moved)
    return Deviation(after.id, relative[:3], relative[3:], moved - moved.mean(axis=0))


def _reduction(cell: np.ndarray) -> np.ndarray:
    """Return the integers that make the reduced cell, ``integers @ cell``; those of the cell itself where none is."""
    reduced = None if is_reduced(cell) else niggli(cell)
    return np.eye(3) if reduced is None else np.rint(reduced @ np.linalg.inv(cell))

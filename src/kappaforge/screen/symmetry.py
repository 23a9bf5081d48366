"""The symmetry metric: small primitive cells of high symmetry conduct heat best (paper, "symmetry metric")."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import spglib

from kappaforge.crystal import Crystal
from kappaforge.screen.settings import ScreenSettings
from kappaforge.spglib_answer import or_none


@dataclass(frozen=True)
class SymmetryRecord:
    """The symmetry of one crystal; the numbers are None where spglib finds no space group.

    Parameters
    ----------
    id
        The crystal's.
    n_atoms
        Atoms in the primitive cell.
    symmetry_operations
        Symmetry operations of the primitive cell, which is the order of the point group: 48 for diamond.
    space_group_number, space_group_symbol
        Number and international symbol.
    passes
        Whether the crystal is small and symmetric enough.
    reason
        Why it does not pass; empty where it does.
    """

    id: str
    n_atoms: int | None
    symmetry_operations: int | None
    space_group_number: int | None
    space_group_symbol: str
    passes: bool
    reason: str


def symmetry(crystal: Crystal, settings: ScreenSettings) -> SymmetryRecord:
    """Return the crystal's symmetry and whether it passes, independent of the cell the crystal is given in.

    Operations are counted for the space group found, not among those that spglib lists for the given cell: that list
    grows by the pure translations of a larger cell and shrinks where its shape breaks the symmetry (24 of diamond's 48
    are left in a 1×1×2 supercell of the primitive cell).
    """
    cell = (crystal.cell.tolist(), crystal.fractional.tolist(), crystal.numbers.tolist())
    dataset = or_none(
        spglib.get_symmetry_dataset,
        cell,
        symprec=settings.symprec_ang,
        angle_tolerance=settings.angle_tolerance_deg,
    )
    if dataset is None:
        reason = f"spglib finds no space group within {settings.symprec_ang} Å: atoms may be too close"
        return SymmetryRecord(crystal.id, None, None, None, "", False, reason)

    n_atoms = len(np.unique(dataset.mapping_to_primitive))
    operations = _point_group_order(int(dataset.hall_number))
    reasons = []
    if n_atoms > settings.max_atoms:
        reasons.append(f"{n_atoms} atoms in the primitive cell, at most {settings.max_atoms} pass")
    if operations < settings.min_symmetry_operations:
        reasons.append(f"{operations} symmetry operations, at least {settings.min_symmetry_operations} pass")
    return SymmetryRecord(
        id=crystal.id,
        n_atoms=n_atoms,
        symmetry_operations=operations,
        space_group_number=int(dataset.number),
        space_group_symbol=str(dataset.international),
        passes=not reasons,
        reason="; ".join(reasons),
    )


@cache
def _point_group_order(hall_number: int) -> int:
    operations = spglib.get_symmetry_from_database(hall_number)
    assert operations is not None, f"spglib does not know its own Hall number {hall_number}"
    return len(np.unique(operations["rotations"], axis=0))

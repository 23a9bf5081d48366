"""The cell that phonons are computed in: primitive, exactly symmetric, in the frame of the crystal as given."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import spglib
from scipy.linalg import polar

from kappaforge.crystal import Crystal
from kappaforge.spglib_answer import or_none
from kappaforge.transport.failure import TransportError


class PrimitiveCrystal(NamedTuple):
    """A crystal in spglib's standard primitive cell.

    ==================  ===================  ===========================================================
    field               shape                content
    ==================  ===================  ===========================================================
    crystal             –                    the crystal, turned back into the Cartesian frame of the input
    space_group_number  –                    1 to 230
    rotations           (n_operations, 3, 3) rotation parts of its operations, for fractional columns
    ==================  ===================  ===========================================================
    """

    crystal: Crystal
    space_group_number: int
    rotations: np.ndarray

    @property
    def cartesian_rotations(self) -> np.ndarray:
        """The rotations for Cartesian columns, shape (n_operations, 3, 3)."""
        columns = self.crystal.cell.T
        return columns @ self.rotations @ np.linalg.inv(columns)


def primitive_crystal(crystal: Crystal, symprec_ang: float) -> PrimitiveCrystal:
    """Standardise a crystal given in any cell, and make it obey its symmetry exactly.

    Raises
    ------
    TransportError
        Where spglib finds no space group.
    """
    given = (crystal.cell.tolist(), crystal.fractional.tolist(), crystal.numbers.tolist())
    dataset = _dataset(crystal, symprec_ang)
    standard = or_none(spglib.standardize_cell, given, to_primitive=True, no_idealize=False, symprec=symprec_ang)
    symmetry = None if standard is None else or_none(spglib.get_symmetry_dataset, standard, symprec=symprec_ang)
    if standard is None or symmetry is None:
        raise TransportError("failed", f"spglib finds no space group within {symprec_ang} Å: atoms may be too close")
    lattice, fractional, numbers = map(np.asarray, standard)
    # spglib's matrix is a rotation only as far as the crystal obeys its symmetry; its nearest rotation keeps the cell's
    rotation, _ = polar(dataset.std_rotation_matrix)
    cell = lattice @ rotation  # the transpose turns columns back, so this turns rows
    return PrimitiveCrystal(
        crystal.moved_to(cell, fractional @ cell, numbers),
        int(symmetry.number),
        np.asarray(symmetry.rotations, dtype=np.int64),
    )


def rotation_to_standard(primitive: PrimitiveCrystal, symprec_ang: float) -> np.ndarray:
    """Return the rotation from the crystal's Cartesian frame to that of spglib's standard cell, shape (3, 3).

    It turns columns: κ in the standard frame is ``rotation @ kappa @ rotation.T``, the same for one crystal however
    its cell was given.

    Raises
    ------
    TransportError
        Where spglib finds no space group.
    """
    rotation, _ = polar(_dataset(primitive.crystal, symprec_ang).std_rotation_matrix)
    return np.asarray(rotation)


def _dataset(crystal: Crystal, symprec_ang: float) -> spglib.SpglibDataset:
    given = (crystal.cell.tolist(), crystal.fractional.tolist(), crystal.numbers.tolist())
    dataset: spglib.SpglibDataset | None = or_none(spglib.get_symmetry_dataset, given, symprec=symprec_ang)
    if dataset is None:
        raise TransportError("failed", f"spglib finds no space group within {symprec_ang} Å: atoms may be too close")
    return dataset


def symmetrised_tensor(primitive: PrimitiveCrystal, tensor: np.ndarray) -> np.ndarray:
    """Average a Cartesian tensor, shape (3, 3), over the point group, and with its transpose."""
    rotations = primitive.cartesian_rotations
    turned = (rotations @ tensor @ rotations.transpose(0, 2, 1)).mean(axis=0)
    return (turned + turned.T) / 2

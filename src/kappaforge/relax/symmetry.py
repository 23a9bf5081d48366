"""Keeping a crystal's space group while it relaxes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from ase.spacegroup.symmetrize import IntermediateDatasetError, get_symmetrized_atoms, prep_symmetry
from spglib import SpglibError

from kappaforge.crystal import Crystal


@dataclass(frozen=True, eq=False)
class SymmetryProjector:
    """Averages over the space group of one crystal.

    A deformation that keeps the symmetry commutes with the point group, so the Cartesian rotations found at the start
    stay valid for as long as forces and stress are averaged over them.

    Parameters
    ----------
    vectors
        Average for one vector per atom, shape (3 n_atoms, 3 n_atoms).
    tensor
        Average for one 3×3 tensor, shape (9, 9).
    """

    vectors: np.ndarray
    tensor: np.ndarray

    def forces(self, forces_ev_per_ang: np.ndarray) -> np.ndarray:
        """Return the symmetric part of the forces, shape (n_atoms, 3)."""
        return (self.vectors @ forces_ev_per_ang.ravel()).reshape(-1, 3)

    def stress(self, stress_ev_per_ang3: np.ndarray) -> np.ndarray:
        """Return the symmetric part of the stress, shape (3, 3)."""
        return (self.tensor @ stress_ev_per_ang3.ravel()).reshape(3, 3)


def symmetrised(crystal: Crystal, symprec: float) -> tuple[Crystal, SymmetryProjector]:
    """Return the crystal with its symmetry made exact, and what keeps it so.

    Where spglib finds no consistent symmetry within `symprec` (Å), the crystal comes back as it is, with averages that
    change nothing.
    """
    try:
        with _environment_restored():
            atoms, _ = get_symmetrized_atoms(crystal.to_ase(), symprec)
            rotations, _, images = prep_symmetry(atoms, symprec)
    except (SpglibError, IntermediateDatasetError, AssertionError):
        return crystal, SymmetryProjector(np.eye(3 * len(crystal)), np.eye(9))
    cell = atoms.cell.array
    cartesian = cell.T @ rotations @ np.linalg.inv(cell).T
    n_atoms, n_operations = len(crystal), len(rotations)
    vectors = np.zeros((n_atoms, 3, n_atoms, 3))
    for rotation, image in zip(cartesian, images, strict=True):
        vectors[image, :, np.arange(n_atoms), :] += rotation / n_operations
    tensor = np.einsum("kac,kbd->abcd", cartesian, cartesian) / n_operations
    exact = replace(crystal, cell=cell, positions=atoms.positions)
    return exact, SymmetryProjector(vectors.reshape(3 * n_atoms, -1), tensor.reshape(9, 9))


@contextmanager
def _environment_restored() -> Iterator[None]:
    """Undo what ASE leaves behind: a variable that makes spglib raise, for everyone, where it returned None before."""
    name = "SPGLIB_OLD_ERROR_HANDLING"
    before = os.environ.get(name)
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before

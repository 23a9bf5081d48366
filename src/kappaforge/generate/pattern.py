"""A space group with its occupied sites: what a crystal keeps while its cell and its atoms move."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import spglib

from kappaforge.crystal import Crystal
from kappaforge.spglib_answer import or_none

SAME_POINT = 1e-3
"""Fractional difference below which two points of an exactly symmetric cell are one."""


@dataclass(frozen=True, eq=False)
class Pattern:
    """A space group in a primitive cell, and which atoms it makes of which.

    Fractional positions are columns here: an operation takes f to R f + t.

    Parameters
    ----------
    number
        Of the space group; 1 leaves everything free.
    numbers
        Atomic numbers, shape (n_atoms,).
    rotations
        Whole numbers, shape (n_operations, 3, 3); the first operation is the identity.
    translations
        Shape (n_operations, 3).
    images
        The atom that each operation makes of each atom, shape (n_operations, n_atoms).
    fractional
        A position of each atom that obeys the group, shape (n_atoms, 3).
    """

    number: int
    numbers: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray
    images: np.ndarray
    fractional: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    @cached_property
    def orbits(self) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """Of each orbit its first atom, the operation that makes each atom of it, and the first atom's freedom.

        The operations have shape (n_atoms,), -1 outside the orbit. The freedom, shape (3, 3), projects a fractional
        displacement onto those that keep the site's symmetry.
        """
        found = []
        left = np.ones(len(self), dtype=bool)
        while left.any():
            first = int(np.argmax(left))
            makers = np.full(len(self), -1)
            makers[self.images[::-1, first]] = np.arange(len(self.rotations))[::-1]
            left &= makers < 0
            own = self.images[:, first] == first
            found.append((first, makers, self.rotations[own].mean(axis=0)))
        return found

    @cached_property
    def reference_cell(self) -> np.ndarray:
        """A cell of this lattice type that depends on the group alone, with rows of vectors and volume 1.

        Its metric is the mean of RᵀR over the operations, which every one of them leaves as it is.
        """
        metric = np.einsum("gki,gkj->ij", self.rotations, self.rotations) / len(self.rotations)
        cell = np.linalg.cholesky(metric)
        return cell / np.cbrt(abs(np.linalg.det(cell)))

    @cached_property
    def cartesian_rotations(self) -> np.ndarray:
        """The rotations of rows of Cartesian vectors in the frame of `reference_cell`, shape (n_operations, 3, 3)."""
        cell = self.reference_cell
        return np.linalg.inv(cell) @ self.rotations.transpose(0, 2, 1) @ cell

    def strain(self, strain: np.ndarray) -> np.ndarray:
        """Return the part of a symmetric strain, shape (3, 3), that keeps the lattice's symmetry.

        A strain of the frame of `reference_cell`, or of a cell that a strain kept here has made of it.
        """
        turned = self.cartesian_rotations.transpose(0, 2, 1) @ strain @ self.cartesian_rotations
        mean = turned.mean(axis=0)
        return (mean + mean.T) / 2

    def spread(self, displacements: list[np.ndarray]) -> np.ndarray:
        """Displace the first atom of each orbit, within its freedom, and return all atoms' fractional positions."""
        positions = np.empty((len(self), 3))
        for (first, makers, freedom), displacement in zip(self.orbits, displacements, strict=True):
            moved = self.fractional[first] + freedom @ displacement
            own = makers >= 0
            positions[own] = self.rotations[makers[own]] @ moved + self.translations[makers[own]]
        return positions

    def random_positions(self, rng: np.random.Generator) -> np.ndarray:
        """Return fractional positions anywhere that the group allows, shape (n_atoms, 3)."""
        return self.spread([rng.uniform(-0.5, 0.5, 3) for _ in self.orbits])


def free_pattern(numbers: np.ndarray, fractional: np.ndarray) -> Pattern:
    """Return the pattern of no symmetry."""
    images = np.arange(len(numbers))[None]
    return Pattern(1, np.asarray(numbers), np.eye(3)[None], np.zeros((1, 3)), images, np.asarray(fractional))


def pattern_of(crystal: Crystal, symprec_ang: float = 0.1) -> tuple[Pattern, np.ndarray] | None:
    """Find a crystal's pattern.

    Parameters
    ----------
    crystal
        In any cell.
    symprec_ang
        Distance within which a symmetry is recognised; the positions are then made exact.

    Returns
    -------
    tuple or None
        The pattern in spglib's standardised primitive cell, with the crystal's own positions, and that cell (rows, Å).
        None where spglib finds no consistent group.
    """
    given: Any = (crystal.cell, crystal.fractional, crystal.numbers)
    standard = or_none(spglib.standardize_cell, given, to_primitive=True, symprec=symprec_ang)
    if standard is None:
        return None
    cell, fractional, numbers = (np.asarray(each) for each in standard)
    exact: Any = (cell, fractional, numbers)
    dataset = or_none(spglib.get_symmetry_dataset, exact, symprec=min(symprec_ang, 1e-3))
    if dataset is None:
        return None
    rotations, translations = np.asarray(dataset.rotations), np.asarray(dataset.translations)
    images = _images(rotations, translations, fractional, numbers)
    if images is None:
        return None
    identity = np.argsort(~(rotations == np.eye(3)).all(axis=(1, 2)), kind="stable")
    pattern = Pattern(
        int(dataset.number),
        numbers,
        rotations[identity].astype(float),
        translations[identity],
        images[identity],
        fractional,
    )
    return pattern, cell


def _images(
    rotations: np.ndarray, translations: np.ndarray, fractional: np.ndarray, numbers: np.ndarray
) -> np.ndarray | None:
    """Return the atom that each operation makes of each, or None where that is no permutation."""
    moved = np.einsum("gij,nj->gni", rotations, fractional) + translations[:, None]
    apart = moved[:, :, None] - fractional
    apart -= np.round(apart)
    distances = np.abs(apart).max(axis=-1)
    distances[:, numbers[:, None] != numbers[None, :]] = np.inf
    images = distances.argmin(axis=-1)
    permutes = (np.sort(images, axis=1) == np.arange(len(numbers))).all()
    return images if permutes and (distances.min(axis=-1) < 2 * SAME_POINT).all() else None

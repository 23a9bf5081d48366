"""Positions and cells as one set of coordinates: the logarithm of the deformation, as in ASE's FrechetCellFilter.

A crystal starts in a reference cell L₀. Its geometry is the symmetric deformation exp(S) of positions x in that cell:
cell L₀ exp(S), positions x exp(S). Its coordinates are its rows of x, followed by the three rows of n_atoms · S, which
gives the cell about the stiffness of one atom.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kappaforge.potentials.base import Batch


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Coordinates of a batch of crystals.

    Parameters
    ----------
    rows
        n_atoms + 3 rows for each crystal, one crystal after the other, in Å, shape (n_rows, 3).
    reference_cells
        Shape (n_crystals, 3, 3), Å.
    numbers, counts
        As in `kappaforge.potentials.base.Batch`.
    """

    rows: np.ndarray
    reference_cells: np.ndarray
    numbers: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, batch: Batch) -> Coordinates:
        """Return the coordinates of undeformed crystals."""
        rows = np.zeros((len(batch.numbers) + 3 * len(batch.counts), 3))
        start = cls(rows, batch.cells, batch.numbers, batch.counts)
        rows[start.is_atom] = batch.positions
        return start

    @property
    def owner(self) -> np.ndarray:
        """Index of the crystal each row belongs to."""
        return np.repeat(np.arange(len(self.counts)), self.counts + 3)

    @property
    def is_atom(self) -> np.ndarray:
        """Which rows are atoms rather than the cell."""
        ends = np.cumsum(self.counts + 3)
        mask = np.ones(int(ends[-1]), dtype=bool)
        mask[(ends[:, None] - np.arange(1, 4)).ravel()] = False
        return mask

    def moved(self, moves: np.ndarray) -> Coordinates:
        """Add moves, of the shape of the rows."""
        return replace(self, rows=self.rows + moves)

    def subset(self, which: np.ndarray) -> Coordinates:
        """Return the crystals that a mask of shape (n_crystals,) picks."""
        return Coordinates(
            self.rows[which[self.owner]],
            self.reference_cells[which],
            self.numbers[np.repeat(which, self.counts)],
            self.counts[which],
        )

    def joined(self, others: Coordinates) -> Coordinates:
        """Return these crystals followed by others."""
        return Coordinates(
            np.concatenate([self.rows, others.rows]),
            np.concatenate([self.reference_cells, others.reference_cells]),
            np.concatenate([self.numbers, others.numbers]),
            np.concatenate([self.counts, others.counts]),
        )

    def geometry(self) -> Batch:
        """Return cells and positions."""
        lengths, axes = self._log_deformation()
        deformations = (axes * np.exp(lengths)[:, None, :]) @ axes.transpose(0, 2, 1)
        owner = np.repeat(np.arange(len(self.counts)), self.counts)
        positions = _rows_times(self.rows[self.is_atom], deformations[owner])
        return Batch(self.reference_cells @ deformations, positions, self.numbers, self.counts)

    def forces(self, forces_ev_per_ang: np.ndarray, stresses_ev_per_ang3: np.ndarray) -> np.ndarray:
        """Return minus the gradient of the enthalpy with respect to the rows, in eV/Å.

        With the eigenvalues λ and axes of S, the derivative of the energy with respect to S is, in those axes,
        V σ_ij sinh(λ_i − λ_j) / (λ_i − λ_j): the Daleckii–Krein formula for the derivative of the matrix exponential.

        Parameters
        ----------
        forces_ev_per_ang
            Shape (n_atoms, 3).
        stresses_ev_per_ang3
            Stress plus external pressure, symmetric, shape (n_crystals, 3, 3).
        """
        lengths, axes = self._log_deformation()
        deformations = (axes * np.exp(lengths)[:, None, :]) @ axes.transpose(0, 2, 1)
        volumes = np.abs(np.linalg.det(self.reference_cells)) * np.exp(lengths.sum(axis=1))
        difference = lengths[:, :, None] - lengths[:, None, :]
        small = np.abs(difference) < 1e-6
        factor = np.where(small, 1.0, np.sinh(difference) / np.where(small, 1.0, difference))
        turned = axes.transpose(0, 2, 1) @ stresses_ev_per_ang3 @ axes
        slopes = axes @ (turned * factor) @ axes.transpose(0, 2, 1)

        downhill = np.empty_like(self.rows)
        owner = np.repeat(np.arange(len(self.counts)), self.counts)
        downhill[self.is_atom] = _rows_times(forces_ev_per_ang, deformations[owner])
        downhill[~self.is_atom] = (-slopes * (volumes / self.counts)[:, None, None]).reshape(-1, 3)
        return downhill

    def _log_deformation(self) -> tuple[np.ndarray, np.ndarray]:
        """Return eigenvalues and eigenvectors (as columns) of S, shapes (n_crystals, 3) and (n_crystals, 3, 3)."""
        scaled = self.rows[~self.is_atom].reshape(-1, 3, 3) / self.counts[:, None, None]
        return np.linalg.eigh(0.5 * (scaled + scaled.transpose(0, 2, 1)))


def _rows_times(rows: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    # Written as a sum so that its rounding is the same whatever the number of rows.
    products: np.ndarray = (rows[:, :, None] * matrices).sum(axis=1)
    return products

"""Crystals as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import spglib
import torch

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.generate.cdvae.lattice import cells_of, lengths_and_angles
from kappaforge.generate.cdvae.settings import MAX_ATOMIC_NUMBER


@dataclass(frozen=True, eq=False)
class Batch:
    """Crystals of any sizes, one after the other.

    ==========  ==================  ==========================================
    field       shape               content
    ==========  ==================  ==========================================
    numbers     (n_atoms,)          atomic numbers
    fractional  (n_atoms, 3)        fractional coordinates in [0, 1)
    cells       (n_crystals, 3, 3)  lattice vectors as rows, Å
    num_atoms   (n_crystals,)       atoms of each crystal
    properties  (n_crystals,)       one property to learn; None without
    ==========  ==================  ==========================================
    """

    numbers: torch.Tensor
    fractional: torch.Tensor
    cells: torch.Tensor
    num_atoms: torch.Tensor
    properties: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.num_atoms)

    @property
    def of_atom(self) -> torch.Tensor:
        """Index of each atom's crystal, shape (n_atoms,)."""
        return torch.arange(len(self), device=self.num_atoms.device).repeat_interleave(self.num_atoms)

    @property
    def parameters(self) -> torch.Tensor:
        """Lengths in Å and angles in degrees, shape (n_crystals, 6)."""
        return lengths_and_angles(self.cells)

    @classmethod
    def from_crystals(
        cls,
        crystals: Sequence[Crystal],
        *,
        dtype: torch.dtype = torch.float32,
        properties: Sequence[float] | None = None,
    ) -> Batch:
        """Take crystals in their Niggli-reduced cells, which lengths and angles describe without ambiguity.

        Raises
        ------
        InputError
            For no crystals, or elements beyond the model's.
        """
        if not crystals:
            raise InputError("expected at least one crystal, got none")
        for crystal in crystals:
            if crystal.numbers.max() > MAX_ATOMIC_NUMBER:
                raise InputError(f"crystal {crystal.id!r}: the model knows elements up to {MAX_ATOMIC_NUMBER} only")
        reduced = [_niggli(crystal) for crystal in crystals]
        cells = torch.from_numpy(np.array([cell for cell, _ in reduced]))
        return cls(
            torch.from_numpy(np.concatenate([crystal.numbers for crystal in crystals])),
            torch.from_numpy(np.concatenate([fractional for _, fractional in reduced])).to(dtype) % 1.0,
            cells_of(lengths_and_angles(cells)).to(dtype),
            torch.tensor([len(crystal) for crystal in crystals]),
            None if properties is None else torch.tensor(list(properties), dtype=dtype),
        )

    @classmethod
    def joined(cls, batches: Sequence[Batch]) -> Batch:
        """Return one batch of all the crystals."""
        given = [batch.properties for batch in batches if batch.properties is not None]
        return cls(
            torch.cat([batch.numbers for batch in batches]),
            torch.cat([batch.fractional for batch in batches]),
            torch.cat([batch.cells for batch in batches]),
            torch.cat([batch.num_atoms for batch in batches]),
            torch.cat(given) if given else None,
        )

    def to(self, device: torch.device) -> Batch:
        """Return the batch on that device."""
        named = {name: value.to(device) for name, value in vars(self).items() if value is not None}
        return replace(self, **named)


def _niggli(crystal: Crystal) -> tuple[np.ndarray, np.ndarray]:
    """Return the Niggli-reduced cell, right-handed, and the fractional coordinates in it."""
    cell = spglib.niggli_reduce(crystal.cell)
    if cell is None:  # its iteration did not settle: the cell as given describes the crystal as well
        cell = crystal.cell
    if np.linalg.det(cell) < 0:
        cell = -cell
    return cell, np.linalg.solve(cell.T, crystal.positions.T).T

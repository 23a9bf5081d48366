"""The score of Gaussian noise that is wrapped around a periodic cell."""

from __future__ import annotations

import math

import torch

CUT = 6.0
"""Sums run this many standard deviations far; what is left out is below 1e-7 of the largest term."""


def wrapped_scores(
    displacements: torch.Tensor, sigmas_ang: torch.Tensor, cells: torch.Tensor, num_atoms: torch.Tensor
) -> torch.Tensor:
    """Return the gradient of the log density of noisy positions, in 1/Å, shape (n_atoms, 3).

    An atom that was moved by Gaussian noise may have come from any image of where it was. Its density is the sum over
    images, which is flat where the noise exceeds the cell; the nearest image alone, the published target, says there
    that the atom should go back. The sum is taken over images or, by Poisson's formula, over reciprocal vectors,
    whichever needs fewer terms, in double precision.

    Parameters
    ----------
    displacements
        Noisy less true positions in Å, of any image, shape (n_atoms, 3).
    sigmas_ang
        Standard deviation of the noise of each crystal in Å, shape (n_crystals,).
    cells
        Lattice vectors as rows in Å, shape (n_crystals, 3, 3).
    num_atoms
        Atoms of each crystal, shape (n_crystals,).
    """
    parts = zip(displacements.double().split(num_atoms.tolist()), sigmas_ang.tolist(), cells.double(), strict=True)
    return torch.cat([_crystal(moved, sigma, cell) for moved, sigma, cell in parts]).to(displacements.dtype)


def _crystal(moved: torch.Tensor, sigma: float, cell: torch.Tensor) -> torch.Tensor:
    inverse = torch.linalg.inv(cell)
    fractional = moved @ inverse
    moved = (fractional - fractional.round()) @ cell
    heights, lengths = 1 / inverse.norm(dim=0), cell.norm(dim=1)
    images = torch.floor(CUT * sigma / heights + 0.5)
    waves = torch.floor(CUT * lengths / (2 * math.pi * sigma))
    if (2 * images + 1).prod() <= (2 * waves + 1).prod():
        distances = moved[:, None] + _grid(images) @ cell
        weights = torch.softmax(-distances.square().sum(dim=-1) / (2 * sigma**2), dim=1)
        return -(weights[..., None] * distances).sum(dim=1) / sigma**2
    vectors = 2 * math.pi * _grid(waves) @ inverse.T
    amplitudes = torch.exp(-vectors.square().sum(dim=-1) * sigma**2 / 2)
    phases = moved @ vectors.T
    density = (amplitudes * phases.cos()).sum(dim=1, keepdim=True)
    return -(amplitudes * phases.sin()) @ vectors / density


def _grid(most: torch.Tensor) -> torch.Tensor:
    axes = [torch.arange(-n, n + 1, dtype=most.dtype, device=most.device) for n in most.tolist()]
    return torch.cartesian_prod(*axes)

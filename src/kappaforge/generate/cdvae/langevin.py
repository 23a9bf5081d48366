"""Annealed Langevin dynamics (arXiv 1907.05600) over any score of periodic positions."""

from __future__ import annotations

from collections.abc import Callable

import torch

from kappaforge.generate.cdvae.settings import LangevinSettings

Denoiser = Callable[[torch.Tensor, torch.Tensor, float], tuple[torch.Tensor, torch.Tensor]]
"""From fractional coordinates (n_atoms, 3), atomic numbers (n_atoms,) and the noise level in Å to the scores in 1/Å,
shape (n_atoms, 3), and new atomic numbers."""


@torch.no_grad()
def annealed_langevin(
    fractional: torch.Tensor,
    numbers: torch.Tensor,
    cells: torch.Tensor,
    denoiser: Denoiser,
    noise: Callable[[], torch.Tensor],
    sigmas_ang: torch.Tensor,
    settings: LangevinSettings,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Move positions up the scores of ever smaller noise, with noise of their own.

    Parameters
    ----------
    fractional, numbers
        Where to start, shapes (n_atoms, 3) and (n_atoms,).
    cells
        Each atom's cell, lattice vectors as rows in Å, shape (n_atoms, 3, 3).
    denoiser
        Gives scores and elements; called once per step.
    noise
        Gives standard normal numbers, shape (n_atoms, 3).
    sigmas_ang
        Falling noise levels in Å.
    settings
        Steps and their size.

    Returns
    -------
    fractional, numbers
        Coordinates in [0, 1) and atomic numbers.
    """
    inverses = torch.linalg.inv(cells)
    smallest = float(sigmas_ang[-1])
    for sigma in sigmas_ang.tolist():
        if sigma > settings.first_sigma_ang * (1 + 1e-6):
            continue
        step = settings.step_rate * (sigma / smallest) ** 2
        for _ in range(settings.steps_per_level):
            scores, numbers = denoiser(fractional, numbers, sigma)
            moves = step * scores + (2 * step) ** 0.5 * noise()
            fractional = (fractional + torch.bmm(moves[:, None], inverses)[:, 0]) % 1.0
    return fractional, numbers

"""The terms of the loss (arXiv 2110.06197, appendix B), each averaged over crystals."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from kappaforge.generate.cdvae.layers import mean_over


def divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Return the Kullback-Leibler divergence of the latent vectors from the standard normal distribution, nats."""
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(dim=1).mean()


def coordinate_loss(
    predicted: torch.Tensor, scores_per_ang: torch.Tensor, sigmas_ang: torch.Tensor, of_atom: torch.Tensor
) -> torch.Tensor:
    """Return half the squared error of the scores in units of the noise.

    Parameters
    ----------
    predicted
        Scores times the noise, shape (n_atoms, 3).
    scores_per_ang
        True scores, shape (n_atoms, 3).
    sigmas_ang
        Noise of each crystal in Å, shape (n_crystals,).
    of_atom
        Index of each atom's crystal, shape (n_atoms,).
    """
    errors = 0.5 * (scores_per_ang * sigmas_ang[of_atom, None] - predicted).square().sum(dim=1)
    return mean_over(errors, of_atom, len(sigmas_ang)).mean()


def type_loss(
    logits: torch.Tensor, numbers: torch.Tensor, of_atom: torch.Tensor, type_sigmas: torch.Tensor
) -> torch.Tensor:
    """Return the cross entropy of the elements over the noise of each crystal, shape () from logits (n_atoms, 100)."""
    errors = cross_entropy(logits, numbers - 1, reduction="none") / type_sigmas[of_atom]
    return mean_over(errors, of_atom, len(type_sigmas)).mean()


def composition_loss(logits: torch.Tensor, numbers: torch.Tensor, of_atom: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy of each crystal's elements, shape () from logits (n_crystals, 100)."""
    errors = cross_entropy(logits[of_atom], numbers - 1, reduction="none")
    return mean_over(errors, of_atom, len(logits)).mean()

"""What the flow's network is fitted to."""

from __future__ import annotations

from functools import partial

import torch
from torch.nn import functional

from kappaforge.generate.flow.network import DISPLACEMENT, STRAIN, FlowNetwork, scale_of
from kappaforge.generate.flow.path import Ways
from kappaforge.generate.solvers import State

LATE = 1.5
"""Times are 1 - u to this power, u uniform: the higher the more of them are late."""


def losses(network: FlowNetwork, ways: Ways, rng: torch.Generator) -> dict[str, torch.Tensor]:
    """Return the losses of a batch at random times.

    ``coordinates`` and ``lattice`` are the mean squares of the errors in the network's own units, in which the way left
    is of order one at all times; ``kl``, ``count`` and ``composition`` those of the encoder and its heads.
    """
    n_crystals = len(ways.types)
    ways = ways.to(next(network.parameters()).device)
    times = (1 - torch.rand(n_crystals, generator=rng) ** LATE).to(ways.types.device)
    state, displacements, strains = ways.at(times)
    parts: dict[str, torch.Tensor] = {}
    latent = None
    if network.settings.latent:
        told = torch.nonzero(torch.rand(n_crystals, generator=rng) >= network.settings.unguided).squeeze(1)
        latent = torch.full((n_crystals, network.settings.latent), torch.nan, device=times.device)
        if len(told):
            latent[told], parts = _encoded(network, ways, told, rng)
    found = network(state, times, ways.types, latent)
    lengths = (torch.linalg.det(state.cells).abs() / ways.types.shape[1]) ** (1 / 3)
    scale = scale_of(times)
    errors = (found.displacements_ang - displacements) / (DISPLACEMENT * scale * lengths)[:, None, None]
    parts["coordinates"] = errors.square().sum(-1).mean()
    errors = (found.strains - strains) / (STRAIN * scale)[:, None, None]
    parts["lattice"] = errors.square().sum((-1, -2)).mean()
    parts["loss"] = parts["coordinates"] + parts["lattice"]
    if "kl" in parts:
        encoder = network.settings.kl_weight * parts["kl"] + parts["count"] + parts["composition"]
        parts["loss"] = parts["loss"] + encoder * len(told) / n_crystals
    return parts


def _encoded(
    network: FlowNetwork, ways: Ways, which: torch.Tensor, rng: torch.Generator
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return a latent drawn for each of some crystals, and the losses that this takes."""
    n_crystals, n_atoms = ways.types.shape
    end, _, _ = ways.at(torch.ones(n_crystals, device=ways.types.device))
    types = ways.types[which]
    mean, log_variance = network.encode(State(end.fractional[which], end.cells[which]), types)
    latent = mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=rng).to(mean.device)
    kl = (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1).mean() / 2
    counts = torch.full((len(which),), n_atoms - 1, device=mean.device)
    count = functional.cross_entropy(network.count_head(latent), counts)
    shares = functional.one_hot(types, network.element.num_embeddings).float().mean(dim=1)
    composition = functional.cross_entropy(network.composition_head(latent), shares)
    return latent, {"kl": kl, "count": count, "composition": composition}


def losses_of(network: FlowNetwork) -> partial[dict[str, torch.Tensor]]:
    """Return `losses` of this network, as `kappaforge.generate.training.train` takes them."""
    return partial(losses, network)

"""Crystals from latent vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from kappaforge.errors import InputError
from kappaforge.generate.cdvae.graph import candidates_of, neighbour_graph
from kappaforge.generate.cdvae.langevin import annealed_langevin
from kappaforge.generate.cdvae.lattice import cells_of, usable
from kappaforge.generate.cdvae.network import CdvaeNetwork
from kappaforge.generate.cdvae.settings import MAX_ATOMIC_NUMBER, LangevinSettings

ALL_ELEMENTS = tuple(range(1, MAX_ATOMIC_NUMBER + 1))


@dataclass(frozen=True, eq=False)
class Decoded:
    """One decoded crystal, or why there is none.

    Parameters
    ----------
    cell
        Lattice vectors as rows, Å, shape (3, 3).
    positions
        Å, shape (n_atoms, 3); empty where the cell cannot hold the atoms.
    numbers
        Atomic numbers, shape (n_atoms,).
    reason
        Why there is no crystal; empty where there is one.
    """

    cell: np.ndarray
    positions: np.ndarray
    numbers: np.ndarray
    reason: str = ""


@torch.no_grad()
def likely_sizes(network: CdvaeNetwork, latents: torch.Tensor, allowed: Sequence[int]) -> list[int]:
    """Return the likeliest number of atoms for each latent vector among those allowed."""
    within = [size for size in allowed if 1 <= size <= network.settings.max_atoms]
    if not within:
        raise InputError(
            f"number of atoms: expected 1 to {network.settings.max_atoms}, which this model makes, got {allowed[0]}"
        )
    best = network.num_atoms(latents)[:, within].argmax(dim=-1)
    return [within[place] for place in best.tolist()]


@torch.no_grad()
def drawn_sizes(network: CdvaeNetwork, latents: torch.Tensor, rng: torch.Generator) -> list[int]:
    """Draw a number of atoms for each latent vector by the probabilities that the model gives to numbers."""
    shares = torch.softmax(network.num_atoms(latents)[:, 1:], dim=-1)
    return [place + 1 for place in torch.multinomial(shares.cpu(), 1, generator=rng)[:, 0].tolist()]


@torch.no_grad()
def decode(
    network: CdvaeNetwork,
    latents: torch.Tensor,
    num_atoms: Sequence[int],
    rngs: Sequence[torch.Generator],
    settings: LangevinSettings,
    *,
    elements: Sequence[int] = ALL_ELEMENTS,
    numbers: Sequence[np.ndarray] | None = None,
) -> list[Decoded]:
    """Turn latent vectors into crystals: lattice and composition by the heads, the rest by diffusion.

    Parameters
    ----------
    network
        In evaluation mode.
    latents
        Shape (n_crystals, latent).
    num_atoms
        Atoms of each crystal; see `likely_sizes`.
    rngs
        One source of random numbers for each crystal.
    settings
        Of the dynamics.
    elements
        Atomic numbers to choose from.
    numbers
        Atomic numbers of each crystal, which then stay as they are; None to leave them to the model.
    """
    counts = torch.tensor(list(num_atoms), device=latents.device)
    parameters = network.lattices(latents, counts)
    good = [index for index, yes in enumerate(usable(parameters, counts).tolist()) if yes]
    none = Decoded(np.zeros((3, 3)), np.zeros((0, 3)), np.zeros(0, int), "the predicted lattice cannot hold the atoms")
    decoded = [none] * len(rngs)
    if not good:
        return decoded
    latents, counts, cells = latents[good], counts[good], cells_of(parameters[good])
    sources = [rngs[index] for index in good]
    shapes = [(int(n), 3) for n in counts]
    dtype, device = latents.dtype, latents.device
    barred = torch.full((MAX_ATOMIC_NUMBER,), -torch.inf, dtype=dtype, device=device)
    barred[torch.tensor(elements, device=device) - 1] = 0

    def draw(sampler: Callable[..., torch.Tensor]) -> torch.Tensor:
        parts = [sampler(shape, generator=rng, dtype=dtype) for shape, rng in zip(shapes, sources, strict=True)]
        return torch.cat(parts).to(device)

    of_atom = torch.arange(len(good), device=device).repeat_interleave(counts)
    if numbers is None:
        shares = torch.softmax(network.composition(latents) + barred, dim=-1)
        kinds = torch.cat([_elements(*one) for one in zip(shares, counts.tolist(), sources, strict=True)])
    else:
        kinds = torch.from_numpy(np.concatenate([numbers[index] for index in good])).to(device)
    shape = network.settings.decoder
    candidates = candidates_of(cells, counts, shape.cutoff_ang, shape.neighbours)

    def denoiser(fractional: torch.Tensor, kinds: torch.Tensor, sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
        graph = neighbour_graph(candidates, fractional, cells, shape.cutoff_ang, shape.neighbours)
        pushes, logits = network.decoder(latents[of_atom], kinds, graph)
        return pushes / sigma, kinds if numbers is not None else (logits + barred).argmax(dim=-1) + 1

    fractional, kinds = annealed_langevin(
        draw(torch.rand),
        kinds,
        cells[of_atom],
        denoiser,
        lambda: draw(torch.randn),
        network.sigmas_ang,
        settings,
    )
    positions = torch.bmm(fractional[:, None], cells[of_atom])[:, 0].cpu().double().numpy()
    ends = np.cumsum(counts.tolist())[:-1]
    places, split = np.split(positions, ends), np.split(kinds.cpu().numpy(), ends)
    for index, cell, place, kind in zip(good, cells.cpu().double().numpy(), places, split, strict=True):
        broken = "" if np.isfinite(place).all() else "the dynamics diverged"
        decoded[index] = Decoded(cell, place, kind, broken)
    return decoded


def _elements(shares: torch.Tensor, n: int, rng: torch.Generator) -> torch.Tensor:
    """Round shares of elements to n atoms; what rounding leaves open is drawn from the remainders."""
    whole = torch.round(shares * n).long()
    numbers = torch.arange(1, len(shares) + 1, device=shares.device).repeat_interleave(whole)
    if len(numbers) < n:
        rest = (shares - whole / n).clamp(min=0)
        drawn = torch.multinomial(rest.cpu(), n - len(numbers), replacement=True, generator=rng)
        numbers = torch.cat([numbers, drawn.to(numbers.device) + 1])
    return numbers[torch.randperm(len(numbers), generator=rng).to(numbers.device)][:n]

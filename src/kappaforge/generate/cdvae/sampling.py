"""Crystals from latent vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from kappaforge.generate.cdvae.graph import candidates_of, neighbour_graph
from kappaforge.generate.cdvae.langevin import annealed_langevin
from kappaforge.generate.cdvae.lattice import cells_of, usable
from kappaforge.generate.cdvae.network import CdvaeNetwork
from kappaforge.generate.cdvae.settings import LangevinSettings


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
def decode(
    network: CdvaeNetwork,
    latents: torch.Tensor,
    rngs: Sequence[torch.Generator],
    settings: LangevinSettings,
    *,
    num_atoms: Sequence[int] | None = None,
    after_step: Callable[[], None] | None = None,
) -> list[Decoded]:
    """Turn latent vectors into crystals: number of atoms, lattice and composition by the heads, the rest by diffusion.

    Parameters
    ----------
    network
        In evaluation mode.
    latents
        Shape (n_crystals, latent).
    rngs
        One source of random numbers for each crystal.
    settings
        Of the dynamics.
    num_atoms
        Atoms of each crystal; None for the likeliest number.
    after_step
        Called after every step of the dynamics.
    """
    counts = _counts(network, latents) if num_atoms is None else torch.tensor(list(num_atoms), device=latents.device)
    parameters = network.lattices(latents, counts)
    fine = usable(parameters, counts)
    good = [index for index, yes in enumerate(fine.tolist()) if yes]
    empty = np.zeros((0, 3))
    reason = "the predicted lattice cannot hold the atoms"
    decoded = [Decoded(np.zeros((3, 3)), empty, np.zeros(0, dtype=int), reason) for _ in rngs]
    if not good:
        return decoded
    latents, counts, cells = latents[good], counts[good], cells_of(parameters[good])
    sources = [rngs[index] for index in good]
    shapes = [(int(n), 3) for n in counts]
    dtype, device = latents.dtype, latents.device

    def draw(sampler: Callable[..., torch.Tensor]) -> torch.Tensor:
        parts = [sampler(shape, generator=rng, dtype=dtype) for shape, rng in zip(shapes, sources, strict=True)]
        return torch.cat(parts).to(device)

    of_atom = torch.arange(len(good), device=device).repeat_interleave(counts)
    shares = torch.softmax(network.composition(latents), dim=-1)
    numbers = torch.cat([_elements(*one) for one in zip(shares, counts.tolist(), sources, strict=True)])
    shape = network.settings.decoder
    candidates = candidates_of(cells, counts, shape.cutoff_ang, shape.neighbours)

    def denoiser(fractional: torch.Tensor, numbers: torch.Tensor, sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
        graph = neighbour_graph(candidates, fractional, cells, shape.cutoff_ang, shape.neighbours)
        pushes, logits = network.decoder(latents[of_atom], numbers, graph)
        if after_step is not None:
            after_step()
        return pushes / sigma, logits.argmax(dim=-1) + 1

    fractional, numbers = annealed_langevin(
        draw(torch.rand),
        numbers,
        cells[of_atom],
        denoiser,
        lambda: draw(torch.randn),
        network.sigmas_ang,
        settings,
    )
    positions = torch.bmm(fractional[:, None], cells[of_atom])[:, 0].cpu().double().numpy()
    ends = np.cumsum(counts.tolist())[:-1]
    parts = zip(
        good, cells.cpu().double().numpy(), np.split(positions, ends), np.split(numbers.cpu(), ends), strict=True
    )
    for index, cell, place, kinds in parts:
        broken = "" if np.isfinite(place).all() else "the dynamics diverged"
        decoded[index] = Decoded(cell, place, np.asarray(kinds), broken)
    return decoded


def _counts(network: CdvaeNetwork, latents: torch.Tensor) -> torch.Tensor:
    return network.num_atoms(latents)[:, 1:].argmax(dim=-1) + 1  # a crystal has at least one atom


def _elements(shares: torch.Tensor, n: int, rng: torch.Generator) -> torch.Tensor:
    """Round shares of elements to n atoms; what rounding leaves open is drawn from the remainders."""
    whole = torch.round(shares * n).long()
    numbers = torch.arange(1, len(shares) + 1, device=shares.device).repeat_interleave(whole)
    if len(numbers) < n:
        rest = (shares - whole / n).clamp(min=0)
        drawn = torch.multinomial(rest.cpu(), n - len(numbers), replacement=True, generator=rng)
        numbers = torch.cat([numbers, drawn.to(numbers.device) + 1])
    return numbers[torch.randperm(len(numbers), generator=rng).to(numbers.device)][:n]

"""The network of the flow: messages of scalars, vectors and tensors between the atoms of a crystal."""

from __future__ import annotations

import torch
from torch import nn

from kappaforge.generate.flow.geometry import Neighbourhoods, neighbourhoods, tensors_of
from kappaforge.generate.flow.settings import FlowSettings
from kappaforge.generate.solvers import Rest, State

MOST_ATOMS = 64
"""Largest number of atoms that the head tells apart."""

N_FREQUENCIES = 8
FLOOR = 0.02
"""Of what is left of the way when nothing is: data are no minima to the last digit."""

DISPLACEMENT, STRAIN = 0.4, 0.3
"""How long a whole way is, per component: in cube roots of the volume per atom, and as a strain."""


def scale_of(times: torch.Tensor) -> torch.Tensor:
    """Return how far the end is at these times, in units of where the way starts; the network's unit."""
    return (1 - times) + FLOOR


class _Block(nn.Module):
    """One round of messages, then of mixing within each atom."""

    def __init__(self, settings: FlowSettings) -> None:
        super().__init__()
        self.n_scalars, self.n_vectors, self.n_tensors = settings.scalars, settings.vectors, settings.tensors
        self.n_radials = settings.radials
        ones, threes, fives = settings.scalars, settings.vectors, settings.tensors
        self.senders = nn.Linear(ones, ones + threes + fives)
        # how much each radial function carries of: scalars, vectors and tensors made by the place of the sender, and
        # of its own vectors and tensors
        widths = (ones, threes, fives, threes, threes, fives)
        self.radial = nn.ParameterList([nn.Parameter(torch.randn(settings.radials, n) * 0.3) for n in widths])
        self.vector_mix = nn.Linear(3 * threes, 2 * threes, bias=False)
        self.tensor_mix = nn.Linear(3 * fives, 2 * fives, bias=False)
        self.couple = nn.Linear(fives, threes, bias=False)
        self.update = nn.Sequential(
            nn.Linear(2 * ones + 3 * threes + fives, 2 * ones),
            nn.SiLU(),
            nn.Linear(2 * ones, ones + 2 * threes + fives),
        )
        self.norm = nn.LayerNorm(2 * ones + 3 * threes + fives)

    def forward(
        self, scalars: torch.Tensor, vectors: torch.Tensor, tensors: torch.Tensor, around: Neighbourhoods
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Shapes (b, n, f), (b, n, 3, f') and (b, n, 5, f'')."""
        b, n, _ = scalars.shape
        sent = self.senders(scalars).split((self.n_scalars, self.n_vectors, self.n_tensors), dim=-1)
        plain = around.zeroth @ self._by_radial(sent[0], 0)
        pointing = (around.first @ self._by_radial(sent[1], 1)).view(b, n, 3, -1)
        shaping = (around.second @ self._by_radial(sent[2], 2)).view(b, n, 5, -1)
        carried = around.zeroth @ self._by_radial(vectors, 3)
        # the direction's component times the vector's, summed over senders and components at once
        pointed = self._by_radial(vectors, 4).unflatten(-1, (3, -1)).transpose(1, 2).flatten(1, 2)
        along = around.first.view(b, n, -1) @ pointed
        turned = around.zeroth @ self._by_radial(tensors, 5)

        vectors_all = torch.cat([vectors, pointing, carried.view(b, n, 3, -1)], dim=-1)
        one, two = self.vector_mix(vectors_all).chunk(2, dim=-1)
        tensors_all = torch.cat([tensors, shaping, turned.view(b, n, 5, -1)], dim=-1)
        three, four = self.tensor_mix(tensors_all).chunk(2, dim=-1)
        bent = torch.einsum("bnijf,bnjf->bnif", _matrices(self.couple(four)), two)
        facts = [scalars, plain, along, (one * two).sum(2), (bent * one).sum(2), (three * four).sum(2)]
        change, gate, gate_bent, gate_shape = self.update(self.norm(torch.cat(facts, dim=-1))).split(
            (self.n_scalars, self.n_vectors, self.n_vectors, self.n_tensors), dim=-1
        )
        vectors = vectors + gate[:, :, None] * one + gate_bent[:, :, None] * bent
        return scalars + change, vectors, tensors + gate_shape[:, :, None] * three

    def _by_radial(self, features: torch.Tensor, which: int) -> torch.Tensor:
        """Return features of the senders times each radial weight, rows (sender, radial): (b, n * k, ...)."""
        weights = self.radial[which]
        b, n, f = features.shape[0], features.shape[1], features.shape[-1]
        spread = features.view(b, n, 1, -1, f) * weights.view(1, 1, self.n_radials, 1, f)
        return spread.flatten(3).flatten(1, 2)


def _matrices(fives: torch.Tensor) -> torch.Tensor:
    """Return tensors of shape (b, n, 3, 3, f) of components of shape (b, n, 5, f)."""
    return tensors_of(fives.transpose(2, 3)).permute(0, 1, 3, 4, 2)


class FlowNetwork(nn.Module):
    """Predicts what is left of the way of a batch of crystals, and encodes them.

    Everything it says turns with the crystal, and depends neither on the basis of the lattice, nor on the origin, nor
    on the order of the atoms; so a crystal on its way keeps its symmetry.
    """

    def __init__(self, settings: FlowSettings, n_elements: int) -> None:
        super().__init__()
        self.settings = settings
        ones = settings.scalars
        self.element = nn.Embedding(n_elements, ones)
        self.time = nn.Sequential(nn.Linear(2 * N_FREQUENCIES + 2, ones), nn.SiLU(), nn.Linear(ones, ones))
        self.blocks = nn.ModuleList([_Block(settings) for _ in range(settings.layers)])
        self.point = nn.Linear(settings.vectors, 1, bias=False)
        self.shape = nn.Linear(settings.tensors, 1, bias=False)
        self.size = nn.Sequential(nn.Linear(ones, ones), nn.SiLU(), nn.Linear(ones, 1))
        if settings.latent:
            self.from_latent = nn.Linear(settings.latent, ones)
            self.encoder_element = nn.Embedding(n_elements, ones)
            self.encoder = nn.ModuleList([_Block(settings) for _ in range(settings.encoder_layers)])
            self.encoder_size = nn.Linear(1, ones)
            self.to_latent = nn.Sequential(nn.Linear(2 * ones, ones), nn.SiLU(), nn.Linear(ones, 2 * settings.latent))
            self.count_head = nn.Sequential(nn.Linear(settings.latent, ones), nn.SiLU(), nn.Linear(ones, MOST_ATOMS))
            self.composition_head = nn.Sequential(
                nn.Linear(settings.latent, ones), nn.SiLU(), nn.Linear(ones, n_elements)
            )

    def forward(
        self, state: State, times: torch.Tensor, types: torch.Tensor, latent: torch.Tensor | None = None
    ) -> Rest:
        """Predict.

        Parameters
        ----------
        state
            The crystals.
        times
            Shape (n_crystals,).
        types
            Places in the list of elements, shape (n_crystals, n_atoms).
        latent
            Shape (n_crystals, latent); None without. Rows of NaN count as without.
        """
        (scalars, vectors, tensors), around = self._features(state, times, types, latent)
        scale = scale_of(times)
        displacements = self.point(vectors).squeeze(-1) * (DISPLACEMENT * scale * around.length_ang)[:, None, None]
        displacements = displacements - displacements.mean(dim=1, keepdim=True)
        strains = tensors_of(self.shape(tensors).squeeze(-1).mean(dim=1))
        sizes = self.size(scalars).mean(dim=1)[:, :, None] * torch.eye(3, device=strains.device)
        return Rest(displacements, (strains + sizes) * (STRAIN * scale)[:, None, None])

    def described(self, state: State, times: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        """Return what the network sees in each crystal, shape (n_crystals, n_features); the same in any frame."""
        (scalars, vectors, tensors), around = self._features(state, times, types)
        spread = scalars.std(dim=1, unbiased=False)
        lengths = [features.norm(dim=2).mean(dim=1) for features in (vectors, tensors)]
        return torch.cat(
            [scalars.mean(dim=1), spread, scalars.amax(dim=1), *lengths, around.length_ang[:, None]], dim=-1
        )

    def encode(self, state: State, types: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and logarithm of the variance of the latent, each of shape (n_crystals, latent)."""
        with torch.no_grad():
            around = neighbourhoods(*state, self.settings.reach, self.settings.radials)
        scalars = self.encoder_element(types) + self.encoder_size(around.length_ang.log()[:, None])[:, None]
        scalars, _, _ = self._through(self.encoder, scalars, around)
        pooled = torch.cat([scalars.mean(dim=1), scalars.square().mean(dim=1).sqrt()], dim=-1)
        mean, log_variance = self.to_latent(pooled).chunk(2, dim=-1)
        return mean, log_variance.clamp(-12, 6)

    def _features(
        self, state: State, times: torch.Tensor, types: torch.Tensor, latent: torch.Tensor | None = None
    ) -> tuple[tuple[torch.Tensor, torch.Tensor, torch.Tensor], Neighbourhoods]:
        with torch.no_grad():
            around = neighbourhoods(*state, self.settings.reach, self.settings.radials)
        scalars = self.element(types) + self.time(_waves(times, around.length_ang))[:, None]
        if latent is not None:
            told = ~torch.isnan(latent).any(dim=-1, keepdim=True)
            scalars = scalars + torch.where(told, self.from_latent(torch.nan_to_num(latent)), 0.0)[:, None]
        return self._through(self.blocks, scalars, around), around

    def _through(
        self, blocks: nn.ModuleList, scalars: torch.Tensor, around: Neighbourhoods
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        b, n, _ = scalars.shape
        vectors = scalars.new_zeros(b, n, 3, self.settings.vectors)
        tensors = scalars.new_zeros(b, n, 5, self.settings.tensors)
        for block in blocks:
            scalars, vectors, tensors = block(scalars, vectors, tensors, around)
        return scalars, vectors, tensors


def _waves(times: torch.Tensor, length_ang: torch.Tensor) -> torch.Tensor:
    """Return what the network is told of time and density, shape (n_crystals, 2 * N_FREQUENCIES + 2)."""
    rates = torch.pi * torch.arange(1, N_FREQUENCIES + 1, dtype=times.dtype, device=times.device)
    angles = times[:, None] * rates
    return torch.cat([angles.sin(), angles.cos(), scale_of(times).log()[:, None], length_ang.log()[:, None]], dim=-1)

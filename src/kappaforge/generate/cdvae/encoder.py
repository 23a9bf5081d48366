"""The encoder: DimeNet++ (arXiv 2011.14115) on periodic graphs.

The published encoder sees CrystalNN's few bonds. Here, where tens of neighbours send messages, their sums would grow
tenfold from block to block; GemNet's scale factors keep them level.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import silu

from kappaforge.generate.cdvae.basis import BesselBasis, SphericalBesselBasis, zonal_harmonics
from kappaforge.generate.cdvae.graph import Graph
from kappaforge.generate.cdvae.layers import (
    PlainResidual,
    ScaleFactor,
    glorot_orthogonal,
    mean_over,
    plain_linear,
    sum_over,
)
from kappaforge.generate.cdvae.settings import MAX_ATOMIC_NUMBER, EncoderSettings


class DimeNetPlusPlus(nn.Module):
    """Crystals to vectors, unchanged by whatever leaves the crystal the same.

    Parameters
    ----------
    settings
        Its shape.
    outputs
        Length of the vectors.
    """

    def __init__(self, settings: EncoderSettings, outputs: int) -> None:
        super().__init__()
        self.settings = settings
        width = settings.hidden
        self.radial = BesselBasis(settings.radial)
        self.spherical = SphericalBesselBasis(settings.spherical, settings.radial)
        self.element = nn.Embedding(MAX_ATOMIC_NUMBER, width)
        nn.init.uniform_(self.element.weight, -(3**0.5), 3**0.5)
        self.embed_distance = nn.Linear(settings.radial, width)
        self.embed_edge = nn.Linear(3 * width, width)
        self.interactions = nn.ModuleList(Interaction(settings) for _ in range(settings.blocks))
        self.outputs = nn.ModuleList(Output(settings, outputs) for _ in range(settings.blocks + 1))

    def forward(self, numbers: torch.Tensor, graph: Graph, of_atom: torch.Tensor, n_crystals: int) -> torch.Tensor:
        """Return one vector per crystal, shape (n_crystals, outputs).

        Parameters
        ----------
        numbers
            Atomic numbers, shape (n_atoms,).
        graph
            Neighbours.
        of_atom
            Index of each atom's crystal, shape (n_atoms,).
        n_crystals
            Number of crystals.
        """
        # Atoms on top of each other have no direction; this near no bond is real, and the basis stays finite.
        scaled = graph.distances.clamp(min=0.1) / self.settings.cutoff_ang
        radial, spherical = self.radial(scaled), self.spherical(scaled)
        # The angle is between the way in, k to j, and the way on, j to i; both are seen from j here.
        angular = zonal_harmonics(-graph.cosines(), self.settings.spherical, dim=-1) * graph.others()[..., None]
        angular = angular.flatten(2)
        element = self.element(numbers - 1)
        parts = [element[graph.target], element[graph.source], silu(self.embed_distance(radial))]
        messages = silu(self.embed_edge(torch.cat(parts, dim=-1)))
        atoms = self.outputs[0](messages, radial, graph)
        for interaction, output in zip(self.interactions, list(self.outputs)[1:], strict=True):
            messages = interaction(messages, radial, spherical, angular, graph)
            atoms = atoms + output(messages, radial, graph)
        return mean_over(atoms, of_atom, n_crystals)


class Interaction(nn.Module):
    """Update the message of each edge from those that arrive where it begins."""

    def __init__(self, settings: EncoderSettings) -> None:
        super().__init__()
        width, triplet, basis = settings.hidden, settings.triplet, settings.basis
        self.radial_down = plain_linear(settings.radial, basis, bias=False)
        self.radial_up = plain_linear(basis, width, bias=False)
        self.spherical_down = plain_linear(settings.spherical * settings.radial, basis, bias=False)
        self.spherical_up = plain_linear(basis, triplet, bias=False)
        self.arriving, self.leaving = plain_linear(width, width), plain_linear(width, width)
        self.down, self.up = plain_linear(width, triplet, bias=False), plain_linear(triplet, width, bias=False)
        self.scale = ScaleFactor()
        self.before_skip = nn.Sequential(*(PlainResidual(width) for _ in range(settings.before_skip)))
        self.skip = plain_linear(width, width)
        self.after_skip = nn.Sequential(*(PlainResidual(width) for _ in range(settings.after_skip)))

    def forward(
        self,
        messages: torch.Tensor,
        radial: torch.Tensor,
        spherical: torch.Tensor,
        angular: torch.Tensor,
        graph: Graph,
    ) -> torch.Tensor:
        """Return new messages, shape (n_edges, hidden)."""
        arriving = silu(self.arriving(messages)) * self.radial_up(self.radial_down(radial))
        arriving = silu(self.down(arriving))
        # The triplet's weight is linear in radial (arriving edge) times angular (pair of edges) functions, so the sum
        # over arriving edges is a product of matrices: no triplet is ever stored.
        down = self.spherical_down.weight.view(-1, *spherical.shape[1:])
        weights = self.spherical_up(torch.einsum("eln,bln->elb", spherical, down))
        table = graph.table((weights * arriving[:, None]).flatten(1))
        summed = angular @ table.view(graph.n_atoms, angular.shape[-1], -1)
        passed = summed.flatten(0, 1)[graph.place[graph.reverse]]
        x = silu(self.leaving(messages)) + silu(self.up(self.scale(passed, messages)))
        x = silu(self.skip(self.before_skip(x))) + messages
        return self.after_skip(x)


class Output(nn.Module):
    """Gather messages at the atoms."""

    def __init__(self, settings: EncoderSettings, outputs: int) -> None:
        super().__init__()
        self.radial = plain_linear(settings.radial, settings.hidden, bias=False)
        self.scale = ScaleFactor()
        self.up = nn.Linear(settings.hidden, settings.atom)
        glorot_orthogonal(self.up.weight)
        self.layers = nn.ModuleList(plain_linear(settings.atom, settings.atom) for _ in range(settings.output_layers))
        self.last = nn.Linear(settings.atom, outputs, bias=False)
        nn.init.zeros_(self.last.weight)

    def forward(self, messages: torch.Tensor, radial: torch.Tensor, graph: Graph) -> torch.Tensor:
        """Return one vector per atom, shape (n_atoms, outputs)."""
        gathered = sum_over(self.radial(radial) * messages, graph.target, graph.n_atoms)
        x = self.up(self.scale(gathered, messages))
        for layer in self.layers:
            x = silu(layer(x))
        return self.last(x)

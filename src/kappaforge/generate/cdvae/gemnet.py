"""The decoder's network: GemNet-T with direct forces (arXiv 2106.08903), conditioned on a latent vector."""

from __future__ import annotations

import math

import torch
from torch import nn

from kappaforge.generate.cdvae.basis import gaussians, zonal_harmonics
from kappaforge.generate.cdvae.graph import Graph
from kappaforge.generate.cdvae.layers import Dense, Residual, ScaleFactor, he_orthogonal, sum_over
from kappaforge.generate.cdvae.settings import MAX_ATOMIC_NUMBER, DecoderSettings


class GemNetT(nn.Module):
    """Noisy crystals and latent vectors to a vector per atom and its likely elements.

    Parameters
    ----------
    settings
        Its shape.
    latent
        Length of the latent vectors.
    """

    def __init__(self, settings: DecoderSettings, latent: int) -> None:
        super().__init__()
        self.settings = settings
        width, projected = settings.hidden, settings.radial_projection
        self.radial_triplet = Dense(settings.radial, projected, activated=False)
        self.radial_atom = Dense(settings.radial, projected, activated=False)
        self.radial_output = Dense(settings.radial, projected, activated=False)
        self.angular = nn.Parameter(torch.empty(settings.spherical, settings.radial, settings.angular_projection))
        he_orthogonal(self.angular)
        self.element = nn.Embedding(MAX_ATOMIC_NUMBER, width)
        nn.init.uniform_(self.element.weight, -math.sqrt(3), math.sqrt(3))
        self.condition = nn.Linear(width + latent, width)
        self.embed_edge = EdgeEmbedding(width, settings.radial)
        self.interactions = nn.ModuleList(Interaction(settings) for _ in range(settings.blocks))
        self.outputs = nn.ModuleList(Output(settings) for _ in range(settings.blocks + 1))
        self.types = nn.Linear(width, MAX_ATOMIC_NUMBER)

    def forward(self, latents: torch.Tensor, numbers: torch.Tensor, graph: Graph) -> tuple[torch.Tensor, torch.Tensor]:
        """Return vectors, shape (n_atoms, 3), and logits of the elements, shape (n_atoms, 100).

        The vectors turn with the crystal; both are unchanged by its translation, order of atoms and choice of cell.

        Parameters
        ----------
        latents
            That of each atom's crystal, shape (n_atoms, latent).
        numbers
            Atomic numbers, shape (n_atoms,).
        graph
            Neighbours.
        """
        settings = self.settings
        radial = gaussians(graph.distances / settings.cutoff_ang, settings.radial)
        angles = zonal_harmonics(graph.cosines(), settings.spherical, dim=2) * graph.others()[:, None]
        shapes = torch.einsum("er,srp->eps", radial, self.angular)
        atoms = self.condition(torch.cat([self.element(numbers - 1), latents], dim=-1))
        edges = self.embed_edge(atoms, radial, graph)
        radial_triplet, radial_atom = self.radial_triplet(radial), self.radial_atom(radial)
        radial_output = self.radial_output(radial)
        pushes = self.outputs[0](edges, radial_output)
        for interaction, output in zip(self.interactions, list(self.outputs)[1:], strict=True):
            atoms, edges = interaction(atoms, edges, radial_triplet, radial_atom, shapes, angles, graph)
            pushes = pushes + output(edges, radial_output)
        return sum_over(pushes * graph.units, graph.target, graph.n_atoms), self.types(atoms)


class EdgeEmbedding(nn.Module):
    """Merge what is known of an edge and its two ends."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.dense = Dense(2 * width + features, width)

    def forward(self, atoms: torch.Tensor, features: torch.Tensor, graph: Graph) -> torch.Tensor:
        """Return edges, shape (n_edges, width)."""
        return self.dense(torch.cat([atoms[graph.source], atoms[graph.target], features], dim=-1))


class Triplets(nn.Module):
    """Pass messages between the edges that end at one atom."""

    def __init__(self, settings: DecoderSettings) -> None:
        super().__init__()
        width = settings.hidden
        self.others = Dense(width, width)
        self.radial = Dense(settings.radial_projection, width, activated=False)
        self.scale_radial, self.scale_sum = ScaleFactor(), ScaleFactor()
        self.down = Dense(width, settings.triplet)
        self.bilinear = nn.Parameter(torch.empty(settings.triplet, settings.angular_projection, settings.bilinear))
        he_orthogonal(self.bilinear)
        self.up, self.up_reverse = Dense(settings.bilinear, width), Dense(settings.bilinear, width)

    def forward(
        self, edges: torch.Tensor, radial: torch.Tensor, shapes: torch.Tensor, angles: torch.Tensor, graph: Graph
    ) -> torch.Tensor:
        """Return the messages, shape (n_edges, hidden)."""
        others = self.others(edges)
        others = self.down(self.scale_radial(others * self.radial(radial), others))
        # Sum over the other edges first, as a product of matrices per atom; then the radial functions of the edge.
        n_atoms, n, spherical, _ = angles.shape
        summed = angles.view(n_atoms, n * spherical, n) @ graph.table(others)
        summed = shapes @ summed.view(n_atoms * n, spherical, -1)[graph.place]
        mixed = summed.flatten(1) @ self.bilinear.transpose(0, 1).flatten(0, 1)
        mixed = self.scale_sum(mixed, others)
        return (self.up(mixed) + self.up_reverse(mixed)[graph.reverse]) / math.sqrt(2)


class Interaction(nn.Module):
    """One round of messages: edges from edges, atoms from edges, edges from atoms."""

    def __init__(self, settings: DecoderSettings) -> None:
        super().__init__()
        width = settings.hidden
        self.skip = Dense(width, width)
        self.triplets = Triplets(settings)
        self.before_skip = nn.Sequential(*(Residual(width) for _ in range(settings.before_skip)))
        self.after_skip = nn.Sequential(*(Residual(width) for _ in range(settings.after_skip)))
        self.atom_radial = Dense(settings.radial_projection, width, activated=False)
        self.scale_atom = ScaleFactor()
        self.atom = _stack(settings)
        self.concat = EdgeEmbedding(width, width)
        self.after_concat = nn.Sequential(*(Residual(width) for _ in range(settings.after_concat)))

    def forward(
        self,
        atoms: torch.Tensor,
        edges: torch.Tensor,
        radial_triplet: torch.Tensor,
        radial_atom: torch.Tensor,
        shapes: torch.Tensor,
        angles: torch.Tensor,
        graph: Graph,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return new atoms, shape (n_atoms, hidden), and edges, shape (n_edges, hidden)."""
        root = math.sqrt(2)
        x = (self.skip(edges) + self.triplets(edges, radial_triplet, shapes, angles, graph)) / root
        edges = self.after_skip((edges + self.before_skip(x)) / root)
        gathered = sum_over(edges * self.atom_radial(radial_atom), graph.target, graph.n_atoms)
        atoms = (atoms + self.atom(self.scale_atom(gathered, edges))) / root
        return atoms, (edges + self.after_concat(self.concat(atoms, edges, graph))) / root


class Output(nn.Module):
    """Read from each edge how hard it pushes its target along itself."""

    def __init__(self, settings: DecoderSettings) -> None:
        super().__init__()
        width = settings.hidden
        self.layers = _stack(settings)
        self.radial = Dense(settings.radial_projection, width, activated=False)
        self.scale = ScaleFactor()
        self.last = Dense(width, 1, activated=False)
        if settings.energy_branch:
            radial, last = Dense(settings.radial_projection, width, activated=False), Dense(width, 1, activated=False)
            self.energy = nn.ModuleList([radial, _stack(settings), last]).requires_grad_(False)

    def forward(self, edges: torch.Tensor, radial: torch.Tensor) -> torch.Tensor:
        """Return one number per edge, shape (n_edges, 1)."""
        x = self.layers(edges)
        return self.last(self.scale(x * self.radial(radial), x))


def _stack(settings: DecoderSettings) -> nn.Sequential:
    width = settings.hidden
    return nn.Sequential(Dense(width, width), *(Residual(width) for _ in range(settings.atom_layers)))

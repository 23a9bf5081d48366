"""Allegro's tensor product, atom by atom, which a processor does several times faster than edge by edge.

The package multiplies each edge's features by the features of the edge's central atom and by the Wigner symbols, in
arrays of edges × channels × i × j × k that have to be written out and read again. All edges of an atom share its
features, however: contract these with the symbols once per atom, and what is left for its edges is one small matrix
product per channel. Measured on 8,104 edges of 172 atoms, 8 channels, up to l = 2, forward and backward:
456 ms the package's way, 44 ms as one matrix product per channel over i and j, 11 ms this way.
"""

from __future__ import annotations

from typing import Any

import torch
from allegro.nn._strided._contract import Contracter

ROOM = 8
"""The places for an atom's edges are a multiple of this, so that there are few shapes."""


class AtomwiseContracter(Contracter):
    """The package's module with the same parameters and buffers and another way to multiply."""

    def _contract_conv(self, x1: torch.Tensor, x2: torch.Tensor, idxs: torch.Tensor) -> torch.Tensor:
        if self.w3j_is_ij_diagonal or not self.path_channel_coupling:
            return super()._contract_conv(x1, x2, idxs)
        n_atoms, channels = x2.shape[:2]
        weights = torch.einsum(self._weight_w3j_einstr, self.weights, self.w3j)
        of_atom = _weighted(x2, weights)
        place, edge = _places(idxs, n_atoms)
        filled = _Spread.apply(x1.flatten(1), place, edge).view(n_atoms, -1, channels, x1.shape[2])
        products = torch.matmul(filled.transpose(1, 2), of_atom).transpose(1, 2)
        return _Collect.apply(products.reshape(len(edge), -1), place, edge).view(len(x1), channels, -1)


def replace_contracters(module: torch.nn.Module) -> None:
    """Let a module of the package multiply atom by atom."""
    for part in module.modules():
        if type(part) is Contracter:
            part.__class__ = AtomwiseContracter  # nothing but a method differs


def _weighted(features: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Sum features (n, u, j) times weights (u, i, j, k) over j.

    Term by term, as a matrix product treats the last rows in another way, so that an atom's numbers would depend on its
    place in a batch.
    """
    total = features[:, :, 0, None, None] * weights[:, :, 0]
    for index in range(1, weights.shape[2]):
        total = torch.addcmul(total, features[:, :, index, None, None], weights[:, :, index])
    return total


def _places(atom: torch.Tensor, n_atoms: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Give each edge a place among those of its atom; return the place of each edge and the edge of each place.

    An empty place has the number of edges.
    """
    counts = torch.bincount(atom, minlength=n_atoms)
    order = torch.argsort(atom, stable=True)
    rank = torch.arange(len(atom)) - (counts.cumsum(0) - counts)[atom[order]]
    room = ROOM * -(-int(counts.max()) // ROOM)
    place = torch.empty_like(atom)
    place[order] = atom[order] * room + rank
    edge = torch.full((n_atoms * room,), len(atom))
    edge[place] = torch.arange(len(atom))
    return place, edge


class _Spread(torch.autograd.Function):
    """Rows of edges into places; written out because torch differentiates an indexing by slow additions."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, place: torch.Tensor, edge: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(place, edge)
        return torch.cat([rows, rows.new_zeros(1, rows.shape[1])]).index_select(0, edge)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return _Collect.apply(gradient, *ctx.saved_tensors), None, None


class _Collect(torch.autograd.Function):
    """Rows of edges from their places."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, place: torch.Tensor, edge: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(place, edge)
        return rows.index_select(0, place)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return _Spread.apply(gradient, *ctx.saved_tensors), None, None

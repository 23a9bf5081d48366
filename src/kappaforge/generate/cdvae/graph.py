"""Nearest neighbours among all periodic images, as a symmetric graph laid out for triplets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

TIE_ANG = 1e-3
"""Neighbours so little farther than the last one counted are counted too, lest rounding choose among equals."""


class Candidates(NamedTuple):
    """What can be a neighbour, as far as the lattice alone decides; serves any positions in the same cells.

    ===========  =================  ===========================================================================
    field        shape              content
    ===========  =================  ===========================================================================
    target       (n_pairs,)         central atom of each ordered pair of atoms of one crystal; rising
    source       (n_pairs,)         the other one, which may be the same
    cell         (n_pairs,)         index of the crystal
    pair         (n_candidates,)    index of the pair; rising
    shift        (n_candidates, 3)  lattice vector from the nearest image by fractional coordinates to this one, Å
    reverse      (n_candidates,)    the same pair of images seen from the other end
    max_squared  (n_candidates,)    squared distance below which it can be among the nearest, Å²; 0 for the atom itself
    ===========  =================  ===========================================================================
    """

    target: torch.Tensor
    source: torch.Tensor
    cell: torch.Tensor
    pair: torch.Tensor
    shift: torch.Tensor
    reverse: torch.Tensor
    max_squared: torch.Tensor


class Graph(NamedTuple):
    """Edges from sources to targets; with every edge its reverse.

    =========  ============  ==========================================================================
    field      shape         content
    =========  ============  ==========================================================================
    source     (n_edges,)    atom where the edge begins
    target     (n_edges,)    atom where it ends; rising
    distances  (n_edges,)    lengths, Å
    units      (n_edges, 3)  unit vectors from target to source
    reverse    (n_edges,)    index of the reverse edge
    place      (n_edges,)    row of the edge in a table with `width` rows per target
    width      –             most edges that end at one atom, but at least 1
    n_atoms    –             number of atoms
    =========  ============  ==========================================================================
    """

    source: torch.Tensor
    target: torch.Tensor
    distances: torch.Tensor
    units: torch.Tensor
    reverse: torch.Tensor
    place: torch.Tensor
    width: int
    n_atoms: int

    def table(self, edges: torch.Tensor) -> torch.Tensor:
        """Lay values of edges, shape (n_edges, n), out by target, shape (n_atoms, width, n), zeros between."""
        rows = edges.new_zeros(self.n_atoms * self.width, edges.shape[1]).index_copy(0, self.place, edges)
        return rows.view(self.n_atoms, self.width, edges.shape[1])

    def cosines(self) -> torch.Tensor:
        """Return cosines of the angles between edges with the same target, shape (n_atoms, width, width)."""
        units = self.table(self.units)
        return (units @ units.transpose(1, 2)).clamp(-1, 1)

    def others(self) -> torch.Tensor:
        """Return 0 between an edge and itself and 1 between two edges, shape (width, width)."""
        return 1 - torch.eye(self.width, dtype=self.units.dtype, device=self.units.device)


def candidates_of(cells: torch.Tensor, num_atoms: torch.Tensor, cutoff_ang: float, neighbours: int) -> Candidates:
    """Enumerate the periodic images that can hold one of the nearest neighbours of an atom.

    An atom's own images are neighbours too. They bound the search: the k-th nearest neighbour is never farther than
    the k-th shortest lattice vector.

    Parameters
    ----------
    cells
        Lattice vectors as rows in Å, shape (n_crystals, 3, 3).
    num_atoms
        Atoms of each crystal, shape (n_crystals,).
    cutoff_ang
        No neighbour is farther.
    neighbours
        How many nearest ones are wanted.
    """
    pairs: list[tuple[np.ndarray, ...]] = []
    images: list[tuple[np.ndarray, ...]] = []
    atoms_before, pairs_before, images_before = 0, 0, 0
    for index, (cell, n) in enumerate(zip(cells.double().cpu().numpy(), num_atoms.tolist(), strict=True)):
        vectors, reach = _images(cell, cutoff_ang, neighbours)
        m = len(vectors)
        i, j = np.divmod(np.arange(n * n), n)
        pairs.append((atoms_before + i, atoms_before + j, np.full(n * n, index)))
        reverse = images_before + (j * n + i)[:, None] * m + np.arange(m)[::-1]
        itself = (i == j)[:, None] & ~vectors.any(axis=1)
        shift = np.broadcast_to(vectors, (n * n, m, 3)).reshape(-1, 3)
        pair = np.repeat(pairs_before + np.arange(n * n), m)
        images.append((pair, shift, reverse.ravel(), np.where(itself, 0.0, reach**2).ravel()))
        atoms_before, pairs_before, images_before = atoms_before + n, pairs_before + n * n, images_before + n * n * m
    columns = [np.concatenate(column) for part in (pairs, images) for column in zip(*part, strict=True)]
    joined = [torch.from_numpy(column) for column in columns]
    return Candidates(*(c.to(cells.device, cells.dtype if c.is_floating_point() else None) for c in joined))


def _images(cell: np.ndarray, cutoff_ang: float, neighbours: int) -> tuple[np.ndarray, float]:
    """Return lattice vectors, such that the list reversed is the list negated, and how far to search."""
    heights = abs(np.linalg.det(cell)) / np.linalg.norm(np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]]), axis=1)
    grid = _lattice(cell, np.floor(cutoff_ang / heights + 0.5))
    lengths = np.sort(np.linalg.norm(grid, axis=1))
    reach = min(cutoff_ang, lengths[neighbours] + TIE_ANG) if len(lengths) > neighbours else cutoff_ang
    corners = np.stack(np.meshgrid(*[[-0.5, 0.5]] * 3, indexing="ij"), axis=-1).reshape(-1, 3) @ cell
    within = _lattice(cell, np.floor(reach / heights + 0.5))
    norms = np.linalg.norm(within, axis=1)
    return within[norms <= reach + np.linalg.norm(corners, axis=1).max() + 1e-6], float(reach)


def _lattice(cell: np.ndarray, most: np.ndarray) -> np.ndarray:
    axes = [np.arange(-n, n + 1) for n in most]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3) @ cell


@torch.no_grad()
def neighbour_graph(
    candidates: Candidates,
    fractional: torch.Tensor,
    cells: torch.Tensor,
    cutoff_ang: float,
    neighbours: int,
) -> Graph:
    """Connect every atom with its nearest neighbours, and with those to which it is one.

    Ties with the last neighbour are all kept and every edge has its reverse, so that the graph depends on the crystal
    and not on its description. (The published one keeps the edges whose source comes before the target in the list of
    atoms, and breaks ties by order.)

    Parameters
    ----------
    candidates
        From `candidates_of`, for the same cells.
    fractional
        Shape (n_atoms, 3).
    cells
        Lattice vectors as rows in Å, shape (n_crystals, 3, 3).
    cutoff_ang, neighbours
        As in `candidates_of`.
    """
    n_atoms = len(fractional)
    delta = fractional[candidates.source] - fractional[candidates.target]
    delta = delta - delta.round()  # halves go to the even side, which is odd under reversal
    nearest = torch.bmm(delta[:, None], cells[candidates.cell])[:, 0]
    vectors = nearest[candidates.pair] + candidates.shift
    squares = vectors.square().sum(dim=-1)
    near = squares < candidates.max_squared
    (index,) = near.nonzero(as_tuple=True)
    distances = squares[index].sqrt()
    target = candidates.target[candidates.pair[index]]
    place, width = _places(target, n_atoms)
    table = distances.new_full((n_atoms * width,), cutoff_ang).index_copy(0, place, distances)
    farthest = table.view(n_atoms, width).kthvalue(min(neighbours, width), dim=1).values
    chosen = torch.zeros_like(near)
    chosen[index] = distances <= farthest[target] + TIE_ANG
    chosen |= chosen[candidates.reverse]
    (edges,) = chosen.nonzero(as_tuple=True)
    number = torch.cumsum(chosen, dim=0) - 1
    pair = candidates.pair[edges]
    target = candidates.target[pair]
    place, width = _places(target, n_atoms)
    distances = squares[edges].sqrt()
    return Graph(
        candidates.source[pair],
        target,
        distances,
        vectors[edges] / distances.clamp(min=1e-6)[:, None],
        number[candidates.reverse[edges]],
        place,
        width,
        n_atoms,
    )


def _places(target: torch.Tensor, n_atoms: int) -> tuple[torch.Tensor, int]:
    """Return rows in a table with as many rows for each target as the fullest needs, and that number."""
    counts = torch.bincount(target, minlength=n_atoms)
    width = max(1, int(counts.max()))  # a lonely atom has a row too
    starts = torch.cumsum(counts, dim=0) - counts
    return torch.arange(len(target), device=target.device) - starts[target] + target * width, width

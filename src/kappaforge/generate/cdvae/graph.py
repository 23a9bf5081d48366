"""Nearest neighbours among all periodic images, as a symmetric graph laid out for triplets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

TIE_ANG = 1e-3
"""Neighbours so little farther than the last one counted are counted too, lest rounding choose among equals."""


class Candidates(NamedTuple):
    """What can be a neighbour, as far as the lattice alone decides; serves any positions in the same cells.

    ========  =================  ==============================================================================
    field     shape              content
    ========  =================  ==============================================================================
    target    (n_candidates,)    central atom; rising
    source    (n_candidates,)    neighbour
    shift     (n_candidates, 3)  lattice vector between the nearest image by fractional coordinates and this one, Å
    reverse   (n_candidates,)    the same pair seen from the other end
    reach     (n_candidates,)    distance within which a neighbour of its target can be among the nearest, Å
    cell      (n_candidates,)    index of the crystal
    ========  =================  ==============================================================================
    """

    target: torch.Tensor
    source: torch.Tensor
    shift: torch.Tensor
    reverse: torch.Tensor
    reach: torch.Tensor
    cell: torch.Tensor


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
    width      –             most edges that end at one atom
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
    parts, first, n_before = [], 0, 0
    for index, (cell, n) in enumerate(zip(cells.double().cpu().numpy(), num_atoms.tolist(), strict=True)):
        vectors, reach = _images(cell, cutoff_ang, neighbours)
        m = len(vectors)
        i, j, image = np.unravel_index(np.arange(n * n * m), (n, n, m))
        reverse = n_before + (j * n + i) * m + (m - 1 - image)
        parts.append((first + i, first + j, vectors[image], reverse, np.full(len(i), reach), np.full(len(i), index)))
        first, n_before = first + n, n_before + len(i)
    joined = [torch.from_numpy(np.concatenate(columns)) for columns in zip(*parts, strict=True)]
    moved = [column.to(cells.device, cells.dtype if column.is_floating_point() else None) for column in joined]
    return Candidates(*moved)


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
    vectors = torch.bmm(delta[:, None], cells[candidates.cell])[:, 0] + candidates.shift
    squares = vectors.square().sum(dim=-1)
    near = squares < candidates.reach.clamp(max=cutoff_ang).square()
    near &= (candidates.source != candidates.target) | (candidates.shift != 0).any(dim=-1)
    (index,) = near.nonzero(as_tuple=True)
    distances = squares[index].sqrt()
    place, width = _places(candidates.target[index], n_atoms)
    table = distances.new_full((n_atoms * width,), cutoff_ang).index_copy(0, place, distances)
    farthest = table.view(n_atoms, width).kthvalue(min(neighbours, width), dim=1).values if width else table
    chosen = torch.zeros_like(near)
    chosen[index] = distances <= farthest[candidates.target[index]] + TIE_ANG
    chosen |= chosen[candidates.reverse]
    (edges,) = chosen.nonzero(as_tuple=True)
    number = torch.cumsum(chosen, dim=0) - 1
    place, width = _places(candidates.target[edges], n_atoms)
    distances = squares[edges].sqrt()
    return Graph(
        candidates.source[edges],
        candidates.target[edges],
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
    width = int(counts.max()) if len(counts) else 0
    starts = torch.cumsum(counts, dim=0) - counts
    return torch.arange(len(target), device=target.device) - starts[target] + target * width, width

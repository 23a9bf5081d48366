"""Neighbourhoods of all atoms of a batch, dense, which depend on no basis of the lattice."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch

MAX_IMAGES = 2000
"""Lattice translations that the neighbours of one crystal are looked for in; a cell that needs more has collapsed."""


class CollapsedCellsError(FloatingPointError):
    """Some crystals have lost their cells; `which` are they, shape (n_crystals,)."""

    def __init__(self, which: torch.Tensor) -> None:
        super().__init__(f"{int(which.sum())} cells have collapsed")
        self.which = which


class Neighbourhoods(NamedTuple):
    """Radial functions times spherical harmonics, summed over the images of the second atom.

    Rows run over (first atom, component), columns over (second atom, radial function): `zeroth` has shape
    (n_crystals, n_atoms, n_atoms * n_radials), `first` three times and `second` five times as many rows. `length_ang`,
    shape (n_crystals,), is the cube root of the volume per atom.
    """

    zeroth: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    length_ang: torch.Tensor


def neighbourhoods(fractional: torch.Tensor, cells: torch.Tensor, reach: float, n_radials: int) -> Neighbourhoods:
    """Describe each atom's neighbourhood; shapes as in `kappaforge.generate.solvers.State`.

    Raises
    ------
    CollapsedCellsError
        For cells that have collapsed or are no longer finite.
    """
    n_crystals, n_atoms, _ = fractional.shape
    volumes = torch.linalg.det(cells).abs()
    lengths = (volumes / n_atoms) ** (1 / 3)
    whole = torch.isfinite(cells).all(dim=-1).all(dim=-1) & (lengths > 0) & torch.isfinite(lengths)
    if not whole.all():
        raise CollapsedCellsError(~whole)
    crystals, shifts = _shifts(cells, reach * lengths)
    apart = fractional[:, None, :, :] - fractional[:, :, None, :]
    apart = (apart - torch.round(apart))[crystals] + shifts[:, None, None]
    vectors = (apart.flatten(1, 2) @ (cells / (reach * lengths)[:, None, None])[crystals]).view(apart.shape)
    squares = vectors.square().sum(-1)
    image, one, two = torch.nonzero((squares < 1) & (squares > 1e-8), as_tuple=True)
    crystal = crystals[image]
    distances = squares[image, one, two].sqrt()
    directions = vectors[image, one, two] / distances[:, None]
    radials = _radials(distances, n_radials)
    harmonics = _harmonics(directions)
    products = (harmonics[:, :, None] * radials[:, None, :]).flatten(1)
    sums = products.new_zeros(n_crystals * n_atoms * n_atoms, products.shape[1])
    sums.index_add_(0, (crystal * n_atoms + one) * n_atoms + two, products)
    sums = sums.view(n_crystals, n_atoms, n_atoms, 9, n_radials).permute(0, 1, 3, 2, 4)
    zeroth, first, second = (part.reshape(n_crystals, -1, n_atoms * n_radials) for part in sums.split((1, 3, 5), dim=2))
    return Neighbourhoods(zeroth, first, second, lengths)


def _shifts(cells: torch.Tensor, radii_ang: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the crystal, shape (n,), and the lattice translation, shape (n, 3), of all that each crystal needs."""
    reciprocal = torch.linalg.inv(cells).norm(dim=1)
    # differences are wrapped into half a cell, which the neighbourhood may leave by as much
    most = torch.floor(radii_ang[:, None] * reciprocal + 0.5)
    sides = 2 * most + 1
    few = sides.prod(dim=1) <= MAX_IMAGES
    if not few.all():
        raise CollapsedCellsError(~few)
    sides = sides.long()
    counts = sides.prod(dim=1)
    crystals = torch.repeat_interleave(torch.arange(len(cells), device=cells.device), counts)
    places = torch.arange(len(crystals), device=cells.device) - (counts.cumsum(0) - counts)[crystals]
    own = sides[crystals]
    steps = torch.stack([places // (own[:, 1] * own[:, 2]), places // own[:, 2] % own[:, 1], places % own[:, 2]], dim=1)
    return crystals, steps.to(cells.dtype) - most[crystals]


def _radials(distances: torch.Tensor, n_radials: int) -> torch.Tensor:
    """Return Gaussians of the distance, which ends smoothly at 1, shape (n, n_radials)."""
    centres = torch.linspace(0.05, 0.95, n_radials, dtype=distances.dtype, device=distances.device)
    width = 0.9 / (n_radials - 1 or 1)
    envelope = (1 - distances.square()).square()
    return torch.exp(-((distances[:, None] - centres) / width).square() / 2) * envelope[:, None]


def _harmonics(directions: torch.Tensor) -> torch.Tensor:
    """Return 1, the direction, and the five components of its traceless square, shape (n, 9)."""
    x, y, z = directions.unbind(-1)
    root = 3**0.5
    fives = (root * x * y, root * y * z, (3 * z * z - 1) / 2, root * x * z, root / 2 * (x * x - y * y))
    return torch.stack([torch.ones_like(x), x, y, z, *fives], dim=-1)


def tensors_of(fives: torch.Tensor) -> torch.Tensor:
    """Return the traceless symmetric tensors, shape (..., 3, 3), of five components in the last dimension."""
    return torch.einsum("...m,mij->...ij", fives, _basis(fives.dtype, fives.device))


@lru_cache
def _basis(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return the tensor of each component, shape (5, 3, 3): with it n·T·n of direction n gives `_harmonics`."""
    half = 3**0.5 / 2
    basis = torch.zeros(5, 3, 3, dtype=dtype, device=device)
    basis[0, 0, 1] = basis[0, 1, 0] = half
    basis[1, 1, 2] = basis[1, 2, 1] = half
    basis[2] = torch.diag(torch.tensor([-0.5, -0.5, 1.0], dtype=dtype))
    basis[3, 0, 2] = basis[3, 2, 0] = half
    basis[4] = torch.diag(torch.tensor([half, -half, 0.0], dtype=dtype))
    return basis

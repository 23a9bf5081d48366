"""Cells as lengths and angles, and back, in batches."""

from __future__ import annotations

import math

import torch

MIN_LENGTH_ANG = 1.0
MIN_VOLUME_PER_ATOM_ANG3 = 1.0
"""A predicted cell below either is no crystal; hydrogen at 500 GPa has 1.1 Å³ per atom."""

MIN_FLATNESS = 0.05
"""Smallest volume of a cell in units of the product of its lengths (Niggli-reduced cells have 0.5 and more)."""


def lengths_and_angles(cells: torch.Tensor) -> torch.Tensor:
    """Return a, b, c in Å and α, β, γ in degrees of cells with row vectors, shape (n_crystals, 6)."""
    lengths = cells.norm(dim=-1)
    units = cells / lengths[..., None]
    cosines = [(units[:, i] * units[:, j]).sum(dim=-1) for i, j in ((1, 2), (0, 2), (0, 1))]
    angles = torch.rad2deg(torch.arccos(torch.stack(cosines, dim=-1).clamp(-1, 1)))
    return torch.cat([lengths, angles], dim=-1)


def cells_of(parameters: torch.Tensor) -> torch.Tensor:
    """Return right-handed cells, a along x and b in the xy plane; the inverse of `lengths_and_angles`.

    Where the angles close no cell, its third vector lies in the plane of the others; see `usable`.
    """
    lengths, angles = parameters[:, :3], torch.deg2rad(parameters[:, 3:])
    cos_a, cos_b, cos_c = angles.cos().unbind(dim=-1)
    sin_c = angles[:, 2].sin().clamp(min=1e-6)
    c_y = (cos_a - cos_b * cos_c) / sin_c
    c_z = (1 - cos_b**2 - c_y**2).clamp(min=0).sqrt()
    zero, one = torch.zeros_like(c_z), torch.ones_like(c_z)
    rows = [[one, zero, zero], [cos_c, sin_c, zero], [cos_b, c_y, c_z]]
    units = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=1)
    return units * lengths[..., None]


def usable(parameters: torch.Tensor, num_atoms: torch.Tensor) -> torch.Tensor:
    """Tell which lengths and angles make a cell that can hold the atoms, shape (n_crystals,)."""
    lengths = parameters[:, :3]
    volumes = torch.linalg.det(cells_of(parameters))
    fine = (lengths >= MIN_LENGTH_ANG).all(dim=-1) & torch.isfinite(parameters).all(dim=-1)
    fine &= ((parameters[:, 3:] > 0) & (parameters[:, 3:] < math.degrees(math.pi))).all(dim=-1)
    return fine & (volumes >= MIN_FLATNESS * lengths.prod(dim=-1)) & (volumes >= MIN_VOLUME_PER_ATOM_ANG3 * num_atoms)

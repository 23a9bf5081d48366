"""Where phonons on a grid conserve energy: Dirac's delta function over the cells of a grid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import phonors
import torch
from phonopy.phonon.tetrahedron_method import get_tetrahedra_relative_gr_grid_address

from kappaforge.transport.phonon_grid import PhononGrid, Triplets

NARROWEST_THZ = 0.02
"""Least width of a frequency's spread along a step of the grid: where gradients vanish, so would the spread."""

DECAY, ABSORB_SECOND, ABSORB_THIRD = 0, 1, 2
"""ω = ω' + ω'', ω + ω' = ω'' and ω + ω'' = ω'."""

Integration = Literal["cells", "tetrahedra"]


class OnShell(NamedTuple):
    """What of one point and one kind conserves energy; each column has shape (n,).

    ============  ==========================================
    field         content
    ============  ==========================================
    kind          `DECAY`, `ABSORB_SECOND` or `ABSORB_THIRD`
    triplet       place among the point's triplets
    first         band of the point
    second        band of q'
    third         band of q''
    density       of the delta function, THz⁻¹
    ============  ==========================================
    """

    kind: int
    triplet: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    third: torch.Tensor
    density: torch.Tensor


class CellDeltas:
    """Deltas averaged over the cell of each grid point, in which frequencies are linear.

    Their gradients are the group velocities (Gilat and Raubenheimer, Phys. Rev. 144, 390 (1966);
    10.1103/PhysRev.144.390). Most triplets are too far off for that and fall out before anything is computed.
    """

    def __init__(self, grid: PhononGrid, device: torch.device) -> None:
        self.frequencies = torch.from_numpy(grid.frequencies_thz).to(device)
        spreads = grid.velocities_thz_ang @ grid.steps_per_ang.T
        self.spreads = torch.from_numpy(spreads).to(device)

    def __call__(self, point: int, triplets: Triplets) -> Iterator[OnShell]:
        """Find what conserves energy at a point."""
        one, two = self.frequencies[triplets.second][:, :, None], self.frequencies[triplets.third][:, None, :]
        spread_one, spread_two = self.spreads[triplets.second][:, :, None], self.spreads[triplets.third][:, None, :]
        kinds = (
            # where q' goes forward, q'' goes back
            (DECAY, one + two, spread_one - spread_two),
            (ABSORB_SECOND, two - one, spread_two + spread_one),
            (ABSORB_THIRD, one - two, spread_two + spread_one),
        )
        for kind, energy, spread in kinds:
            widths = spread.abs().clamp(min=NARROWEST_THZ)
            off = self.frequencies[point][:, None, None] - energy[:, None]
            triplet, first, second, third = (off.abs() < widths.sum(dim=-1)[:, None] / 2).nonzero(as_tuple=True)
            density = spread_density(off[triplet, first, second, third], widths[triplet, second, third])
            yield OnShell(kind, triplet, first, second, third, density)


class TetrahedronDeltas:
    """Deltas by the linear tetrahedron method, with phono3py's own weights.

    The tetrahedra are averaged over the point group. On a CPU they are the slower
    way: a fifth more in all for silicon, several times as much for four atoms in the cell.
    """

    def __init__(self, grid: PhononGrid, device: torch.device) -> None:
        self.grid = grid.bz_grid
        self.frequencies = np.ascontiguousarray(grid.frequencies_thz[grid.bz_grid.bzg2grg])
        self.tetrahedra = get_tetrahedra_relative_gr_grid_address(grid.bz_grid, True)
        self.device = device

    def __call__(self, point: int, triplets: Triplets) -> Iterator[OnShell]:
        """Find what conserves energy at a point."""
        n_bands = self.frequencies.shape[1]
        weights = np.zeros((3, len(triplets.weights), n_bands, n_bands, n_bands))
        phonors.triplets_integration_weights(
            weights,
            np.zeros(weights.shape[1:], dtype="byte"),
            np.ascontiguousarray(self.frequencies[self.grid.grg2bzg[point]]),
            self.tetrahedra,
            self.grid.D_diag,
            triplets.in_zone,
            self.frequencies,
            self.frequencies,
            self.grid.addresses,
            self.grid.gp_map,
            2,  # gp_map is of the dense kind
            3,
        )
        decay, difference, everything = (torch.from_numpy(each).to(self.device) for each in weights)
        absorb = everything - decay
        kinds = ((DECAY, decay), (ABSORB_SECOND, absorb + difference), (ABSORB_THIRD, absorb - difference))
        for kind, each in kinds:
            density = each if kind == DECAY else each / 2
            triplet, first, second, third = (density > 0).nonzero(as_tuple=True)
            yield OnShell(kind, triplet, first, second, third, density[triplet, first, second, third])


def spread_density(offsets: torch.Tensor, widths: torch.Tensor) -> torch.Tensor:
    """Return the probability density of a sum of three numbers that are uniform within widths around zero.

    It is the share of a grid point's cell in which a linear function has a given value; a quadratic spline.

    Parameters
    ----------
    offsets
        Where, shape (...).
    widths
        Of the three, shape (..., 3), all above zero.
    """
    half = widths / 2
    total = torch.zeros_like(offsets)
    for one in (-1, 1):
        for two in (-1, 1):
            for three in (-1, 1):
                edge = offsets + one * half[..., 0] + two * half[..., 1] + three * half[..., 2]
                total += one * two * three * edge.clamp(min=0).square()
    return (total / (2 * widths.prod(dim=-1))).clamp(min=0)

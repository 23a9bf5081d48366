"""Where phonons on a grid conserve energy: Dirac's delta function over the cells of a grid, or over tetrahedra."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch

from kappaforge.transport.phonon_grid import PhononGrid, Triplets
from kappaforge.transport.tetrahedra import on_shell, tetrahedra_around_a_point

NARROWEST_THZ = 0.02
"""Least width of a frequency's spread along a step of the grid: where gradients vanish, so would the spread."""

DECAY, ABSORB_SECOND, ABSORB_THIRD = 0, 1, 2
"""ω = ω' + ω'', ω + ω' = ω'' and ω + ω'' = ω'."""

Integration = Literal["tetrahedra", "cells"]


class OnShell(NamedTuple):
    """What of one point and one kind conserves energy, on the CPU.

    =========  ========  =====================================================================================
    field      shape     content
    =========  ========  =====================================================================================
    kind       –         `DECAY`, `ABSORB_SECOND` or `ABSORB_THIRD`
    places     (4, n)    32-bit whole numbers: place among the point's triplets, bands of the point, q' and q''
    densities  (n,)      of the delta function, THz⁻¹
    =========  ========  =====================================================================================
    """

    kind: int
    places: np.ndarray
    densities: np.ndarray

    @classmethod
    def of(cls, kind: int, found: Sequence[torch.Tensor], densities: torch.Tensor) -> OnShell:
        """Take what torch found, on any device."""
        return cls(kind, torch.stack(list(found)).to(torch.int32).cpu().numpy(), densities.cpu().numpy())


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
            found = (off.abs() < widths.sum(dim=-1)[:, None] / 2).nonzero(as_tuple=True)
            triplet, _, second, third = found
            yield OnShell.of(kind, found, spread_density(off[found], widths[triplet, second, third]))


class TetrahedronDeltas:
    """Deltas by the linear tetrahedron method (`kappaforge.transport.tetrahedra`)."""

    def __init__(self, grid: PhononGrid) -> None:
        self.frequencies = np.ascontiguousarray(grid.frequencies_thz)
        self.tetrahedra = tetrahedra_around_a_point(grid.bz_grid)
        steps = self.tetrahedra.steps
        self.neighbours = grid.neighbours(steps), grid.neighbours(-steps)

    def __call__(self, point: int, triplets: Triplets) -> Iterator[OnShell]:
        """Find what conserves energy at a point."""
        pairs = np.ascontiguousarray(triplets.second), np.ascontiguousarray(triplets.third)
        for kind, signs in ((DECAY, (1.0, 1.0)), (ABSORB_SECOND, (-1.0, 1.0)), (ABSORB_THIRD, (1.0, -1.0))):
            places, densities = on_shell(
                *signs,
                self.frequencies[point],
                *pairs,
                self.frequencies,
                *self.neighbours,
                self.tetrahedra.corners,
                self.tetrahedra.shares,
            )
            yield OnShell(kind, places, densities)


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

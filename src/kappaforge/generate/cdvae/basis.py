"""Radial and angular basis functions of DimeNet++ and GemNet."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import spherical_jn


def envelope(scaled: torch.Tensor, power: int) -> torch.Tensor:
    """Return 1 at distance 0, falling to 0 with two vanishing derivatives at 1 and beyond (arXiv 2003.03123, eq. 8)."""
    a, b, c = -(power + 1) * (power + 2) / 2, power * (power + 2), -power * (power + 1) / 2
    return torch.where(scaled < 1, 1 + scaled**power * (a + b * scaled + c * scaled**2), torch.zeros_like(scaled))


def gaussians(scaled: torch.Tensor, n: int) -> torch.Tensor:
    """Return n Gaussians, evenly spaced and wide over [0, 1], under the envelope; shape (..., n)."""
    centres = torch.linspace(0, 1, n, dtype=scaled.dtype, device=scaled.device)
    waves = torch.exp(-0.5 * ((scaled[..., None] - centres) * (n - 1)) ** 2)
    return envelope(scaled, 5)[..., None] * waves


def zonal_harmonics(cosines: torch.Tensor, n: int, dim: int) -> torch.Tensor:
    """Return the spherical harmonics Y_l0 for l < n of the cosines of angles, stacked along a new dimension."""
    legendre = [torch.ones_like(cosines), cosines]
    for order in range(2, n):
        legendre.append(((2 * order - 1) * cosines * legendre[-1] - (order - 1) * legendre[-2]) / order)
    scaled = [math.sqrt((2 * order + 1) / (4 * math.pi)) * p for order, p in enumerate(legendre[:n])]
    return torch.stack(scaled, dim=dim)


class BesselBasis(torch.nn.Module):
    """Waves sin(kx)/x under the envelope, with k to learn (arXiv 2003.03123, eq. 7); shape (n_edges, n)."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.frequencies = torch.nn.Parameter(torch.arange(1, n + 1) * math.pi)

    def forward(self, scaled: torch.Tensor) -> torch.Tensor:
        """Evaluate at distances over the cutoff, shape (n_edges,)."""
        x = scaled[:, None]
        return envelope(x, 6) / x * torch.sin(self.frequencies * x)


class SphericalBesselBasis(torch.nn.Module):
    """Normalised spherical Bessel functions j_l(z_ln x) under the envelope (arXiv 2003.03123, eq. 6)."""

    zeros: torch.Tensor
    norms: torch.Tensor

    def __init__(self, orders: int, n: int) -> None:
        super().__init__()
        zeros = bessel_zeros(orders, n)
        norms = [np.sqrt(2) / abs(spherical_jn(order + 1, row)) for order, row in enumerate(zeros)]
        self.register_buffer("zeros", torch.from_numpy(zeros), persistent=False)
        self.register_buffer("norms", torch.from_numpy(np.array(norms)), persistent=False)

    def forward(self, scaled: torch.Tensor) -> torch.Tensor:
        """Evaluate at distances over the cutoff, shape (n_edges,); returns shape (n_edges, orders, n)."""
        x = scaled.double()[:, None]
        waves = torch.stack([bessel(order, row * x) for order, row in enumerate(self.zeros.double())], dim=1)
        return (waves * self.norms.double() * (envelope(x, 6) / x)[:, None]).to(scaled.dtype)


def bessel(order: int, x: torch.Tensor) -> torch.Tensor:
    """Return the spherical Bessel function j of that order for x > 0 in double precision, to 1e-6."""
    sines, cosines = torch.sin(x), torch.cos(x)
    if order == 0:
        return sines / x
    # The recurrence loses digits for small x, where the series' first terms are enough.
    safe = x.clamp(min=0.5)
    sines, cosines = torch.sin(safe), torch.cos(safe)
    before, now = sines / safe, sines / safe**2 - cosines / safe
    for n in range(1, order):
        before, now = now, (2 * n + 1) / safe * now - before
    half, step = x**2 / 2, 2 * order
    first = x**order / math.prod(range(1, step + 2, 2))
    series = first * (1 - half / (step + 3) * (1 - half / (2 * (step + 5)) * (1 - half / (3 * (step + 7)))))
    return torch.where(x < 0.5, series, now)


def bessel_zeros(orders: int, n: int) -> np.ndarray:
    """Return the first n zeros of the spherical Bessel functions below `orders`, shape (orders, n)."""
    row = np.arange(1, n + orders) * np.pi
    rows = [row[:n]]
    for order in range(1, orders):  # the zeros of one order lie between those of the order before
        row = np.array([brentq(lambda x, o=order: spherical_jn(o, x), *ends) for ends in pairwise(row)])
        rows.append(row[:n])
    return np.array(rows)

"""Scattering of phonons on a grid: which triplets conserve energy, and how strongly each scatters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from phonopy.physical_units import get_physical_units

from kappaforge.transport.energy import NARROWEST_THZ, CellDeltas, Integration, TetrahedronDeltas, spread_density
from kappaforge.transport.interaction import ThreePhonon
from kappaforge.transport.phonon_grid import PhononGrid


@dataclass(frozen=True, eq=False)
class Scattering:
    """All scattering that conserves energy, one entry for each three modes.

    The first is a mode of an irreducible point. Modes count as point times n_bands plus band.

    Parameters
    ----------
    first
        Place among the modes of the irreducible points, shape (n,).
    second, third
        Modes of any points, shape (n,).
    kind
        Decay or absorption, see `kappaforge.transport.energy`; shape (n,).
    rate_thz
        Half width at half maximum without the occupations, THz; shape (n,).
    """

    first: np.ndarray
    second: np.ndarray
    third: np.ndarray
    kind: np.ndarray
    rate_thz: np.ndarray


def three_phonon_scattering(three_phonon: ThreePhonon, integration: Integration = "tetrahedra") -> Scattering:
    """Find the scattering of three phonons."""
    grid, device = three_phonon.grid, three_phonon.device
    frequencies = torch.from_numpy(grid.frequencies_thz).to(device)
    inverse = torch.where(frequencies > 0, 1 / frequencies, 0.0)
    n_bands = frequencies.shape[1]
    deltas = CellDeltas(grid, device) if integration == "cells" else TetrahedronDeltas(grid, device)
    found: list[tuple[np.ndarray, ...]] = []
    for place, (point, triplets, strengths) in enumerate(three_phonon.each()):
        pairs = torch.from_numpy(np.stack([triplets.second, triplets.third, triplets.weights])).to(device)
        for kind, triplet, first, second, third, density in deltas(point, triplets):
            one, two, weight = pairs[:, triplet]
            rate = density * strengths[triplet, first, second, third] * weight
            rate *= inverse[point, first] * inverse[one, second] * inverse[two, third]
            kept = rate > 0
            columns = place * n_bands + first, one * n_bands + second, two * n_bands + third, rate
            *modes, rates = (each[kept].cpu().numpy() for each in columns)
            short = [each.astype(np.int32) for each in modes]  # up to 1e8 numbers of far fewer modes
            found.append((*short, np.full(len(rates), kind, dtype=np.int8), rates))
    ones, twos, threes, kinds, rates = (np.concatenate(column) for column in zip(*found, strict=True))
    return Scattering(ones, twos, threes, kinds, rates * _rate_factor() / len(grid.points))


def isotope_rates_thz(grid: PhononGrid, mass_variances: np.ndarray) -> np.ndarray:
    """Return the rates at which isotopes scatter the modes of the irreducible points (Phys. Rev. B 27, 858 (1983)).

    Parameters
    ----------
    grid
        The phonons.
    mass_variances
        Σ share (1 - m / average)² of each atom, shape (n_atoms,).

    Returns
    -------
    ndarray
        Half widths at half maximum, THz, shape (n_irreducible, n_bands).
    """
    widths = torch.from_numpy(np.maximum(np.abs(grid.velocities_thz_ang @ grid.steps_per_ang.T), NARROWEST_THZ))
    vectors = grid.eigenvectors.reshape(len(grid.points), len(mass_variances), 3, -1)
    rates = np.zeros((len(grid.irreducible), grid.frequencies_thz.shape[1]))
    for place, point in enumerate(grid.irreducible):
        overlap = np.einsum("kal,qkam->qklm", vectors[point].conj(), vectors, optimize=True)
        strength = np.einsum("k,qklm->qlm", mass_variances, np.abs(overlap) ** 2)
        off = torch.from_numpy(grid.frequencies_thz[point][:, None] - grid.frequencies_thz[:, None, :])
        density = spread_density(off, widths[:, None].expand(*off.shape, 3)).numpy()
        density *= (grid.frequencies_thz > 0)[:, None]
        rates[place] = (strength * density).sum(axis=(0, 2)) * grid.frequencies_thz[point] ** 2
    return np.pi / 4 * rates / len(grid.points)


def _rate_factor() -> float:
    """Return 18π/ħ² |Φ|², with Φ in eV/Å³ over frequencies in THz and masses in u, as a rate in THz."""
    units = get_physical_units()
    squared = (units.Hbar * units.EV) ** 3 / 36 / 8 / units.Angstrom**6 / units.AMU**3 * units.EV**2
    return float(18 * np.pi * squared / units.Hbar**2 / units.EV**2 / (2 * np.pi * units.THz) ** 5)

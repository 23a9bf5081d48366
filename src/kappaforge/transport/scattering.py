"""Scattering of phonons on a grid: which triplets conserve energy, and how strongly each scatters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
import torch
from phonopy.physical_units import get_physical_units

from kappaforge.transport.energy import (
    ABSORB_SECOND,
    DECAY,
    NARROWEST_THZ,
    CellDeltas,
    Integration,
    TetrahedronDeltas,
    spread_density,
)
from kappaforge.transport.interaction import ThreePhonon
from kappaforge.transport.phonon_grid import PhononGrid


@dataclass(frozen=True, eq=False)
class Scattering:
    """Scattering of three phonons at one temperature, summed up.

    The list of all triplets that conserve energy would be tens of times as long as these sums.

    Parameters
    ----------
    temperature_k
        Temperature in K.
    linewidths_thz
        Half widths at half maximum of the modes of the irreducible points, THz, shape (n_irreducible, n_bands).
    back_thz
        What all other modes (points times n_bands plus band) give back to those of the irreducible points, THz, in
        single precision: shape (n_irreducible * n_bands, n_points * n_bands). None for the relaxation-time
        approximation.
    """

    temperature_k: float
    linewidths_thz: np.ndarray
    back_thz: np.ndarray | None


def three_phonon_scattering(
    three_phonon: ThreePhonon,
    temperatures_k: Sequence[float],
    integration: Integration = "tetrahedra",
    *,
    whole: bool = True,
) -> list[Scattering]:
    """Find the scattering of three phonons at each temperature.

    Parameters
    ----------
    three_phonon
        Interaction strengths.
    temperatures_k
        In K.
    integration
        How energy is conserved.
    whole
        Whether for the whole transport equation, or for the relaxation-time approximation alone.
    """
    grid, device = three_phonon.grid, three_phonon.device
    n_points, n_bands = grid.frequencies_thz.shape
    frequencies = torch.from_numpy(grid.frequencies_thz).to(device)
    inverse = torch.where(frequencies > 0, 1 / frequencies, 0.0)
    deltas = CellDeltas(grid, device) if integration == "cells" else TetrahedronDeltas(grid, device)
    quanta = np.stack([grid.quanta(temperature_k).ravel() for temperature_k in temperatures_k])
    with np.errstate(over="ignore", divide="ignore"):
        occupations, halves = 1 / np.expm1(quanta), 1 / (2 * np.sinh(quanta / 2))
    shape = len(temperatures_k), len(grid.irreducible), n_bands
    linewidths = np.zeros(shape)
    back = np.zeros((*shape, n_points * n_bands if whole else 0), dtype=np.float32)
    factor = _rate_factor() / n_points
    for place, (point, triplets, strengths) in enumerate(three_phonon.each()):
        pairs = torch.from_numpy(np.stack([triplets.second, triplets.third, triplets.weights])).to(device)
        for kind, triplet, first, second, third, density in deltas(point, triplets):
            one, two, weight = pairs[:, triplet]
            rate = density * strengths[triplet, first, second, third] * (weight * factor)
            rate *= inverse[point, first] * inverse[one, second] * inverse[two, third]
            ones, twos = one * n_bands + second, two * n_bands + third
            _add(
                kind,
                _short(first),
                _short(ones),
                _short(twos),
                rate.cpu().numpy(),
                occupations,
                halves,
                linewidths[:, place],
                back[:, place],
            )
    flat = back.reshape(len(temperatures_k), shape[1] * n_bands, -1)
    return [
        Scattering(temperature_k, widths, matrix if whole else None)
        for temperature_k, widths, matrix in zip(temperatures_k, linewidths, flat, strict=True)
    ]


def _short(numbers: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(numbers.to(torch.int32).cpu().numpy())


@numba.njit(cache=True)
def _add(
    kind: int,
    first: np.ndarray,
    second: np.ndarray,
    third: np.ndarray,
    rates: np.ndarray,
    occupations: np.ndarray,
    halves: np.ndarray,
    linewidths: np.ndarray,
    back: np.ndarray,
) -> None:
    """Add what one point's triplets of one kind scatter, for each temperature (the first axis of the last four).

    ``halves`` are 1 / (2 sinh x) of each mode with x = ħω / 2kT; they are halves since exchanged triplets are
    not counted twice.
    """
    whole = back.shape[2] > 0
    for temperature in range(len(occupations)):
        for place in range(len(rates)):
            band, one, two, rate = first[place], second[place], third[place], rates[place]
            at_one, at_two = occupations[temperature, one], occupations[temperature, two]
            if kind == DECAY:
                thermal = at_one + at_two + 1.0
            elif kind == ABSORB_SECOND:
                thermal = at_one - at_two
            else:
                thermal = at_two - at_one
            linewidths[temperature, band] += rate * thermal
            if whole:
                back[temperature, band, one] += rate * halves[temperature, two]
                back[temperature, band, two] += rate * halves[temperature, one]


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

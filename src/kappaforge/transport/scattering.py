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
from kappaforge.transport.phonon_grid import PhononGrid, Triplets


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
    inverse = np.divide(1, grid.frequencies_thz, where=grid.frequencies_thz > 0, out=np.zeros((n_points, n_bands)))
    deltas = CellDeltas(grid, device) if integration == "cells" else TetrahedronDeltas(grid)
    quanta = np.stack([grid.quanta(temperature_k).ravel() for temperature_k in temperatures_k])
    with np.errstate(over="ignore", divide="ignore"):
        occupations, halves = 1 / np.expm1(quanta), 1 / (2 * np.sinh(quanta / 2))
    shape = len(temperatures_k), len(grid.irreducible), n_bands
    linewidths = np.zeros(shape)
    back = np.zeros((*shape, n_points * n_bands if whole else 0), dtype=np.float32)
    factor = _rate_factor() / n_points
    mean = DegenerateMean(grid, device)
    for place, (point, triplets, strengths) in enumerate(three_phonon.each()):
        weights, on_cpu = triplets.weights * factor, mean(strengths, point, triplets).cpu().numpy()
        for kind, places, densities in deltas(point, triplets):
            _add(
                kind,
                places,
                densities,
                on_cpu,
                inverse[point],
                inverse,
                triplets.second,
                triplets.third,
                weights,
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


class DegenerateMean:
    """Means of strengths over degenerate bands of each of the three points.

    Which eigenvectors stand for degenerate modes is the solver's choice, and the strengths depend on it. The densities
    of energy, which differ between these modes as their neighbours on the grid do, would carry that into κ.

    Parameters
    ----------
    grid
        The phonons.
    device
        Of the strengths.
    """

    def __init__(self, grid: PhononGrid, device: torch.device) -> None:
        self._means = torch.from_numpy(grid.means).to(device)
        self._is_mixed = np.array((grid.means != np.eye(grid.means.shape[1])).any(axis=(1, 2)))

    def __call__(self, strengths: torch.Tensor, point: int, triplets: Triplets) -> torch.Tensor:
        """Return the means, of the shape that `ThreePhonon.each` yields; what it is given may be overwritten."""
        if self._is_mixed[point]:
            strengths = torch.einsum("ab,tbcd->tacd", self._means[point].to(strengths.dtype), strengths)
        mixed = np.flatnonzero(self._is_mixed[triplets.second] | self._is_mixed[triplets.third])
        if len(mixed):
            second, third = (
                self._means[points[mixed], None].to(strengths.dtype) for points in (triplets.second, triplets.third)
            )
            at = torch.from_numpy(mixed).to(strengths.device)
            strengths[at] = second @ strengths[at] @ third
        return strengths


@numba.njit(cache=True)
def _add(
    kind: int,
    places: np.ndarray,
    densities: np.ndarray,
    strengths: np.ndarray,
    inverse_here: np.ndarray,
    inverse: np.ndarray,
    ones: np.ndarray,
    twos: np.ndarray,
    weights: np.ndarray,
    occupations: np.ndarray,
    halves: np.ndarray,
    linewidths: np.ndarray,
    back: np.ndarray,
) -> None:
    """Add what one point's triplets of one kind scatter, for each temperature (the first axis of the last four).

    ``inverse_here`` and ``inverse`` are over the frequencies of the point and of all points, ``ones`` and ``twos`` the
    points q' and q'' of each triplet. ``halves`` are 1 / (2 sinh x) of each mode with x = ħω / 2kT; they are halves
    since exchanged triplets are not counted twice.
    """
    n_bands = inverse.shape[1]
    whole = back.shape[2] > 0
    for number in range(len(densities)):
        triplet, band, second, third = places[0, number], places[1, number], places[2, number], places[3, number]
        at_one, at_two = ones[triplet], twos[triplet]
        rate = densities[number] * strengths[triplet, band, second, third] * weights[triplet]
        rate *= inverse_here[band] * inverse[at_one, second] * inverse[at_two, third]
        one, two = at_one * n_bands + second, at_two * n_bands + third
        for temperature in range(len(occupations)):
            if kind == DECAY:
                thermal = occupations[temperature, one] + occupations[temperature, two] + 1.0
            elif kind == ABSORB_SECOND:
                thermal = occupations[temperature, one] - occupations[temperature, two]
            else:
                thermal = occupations[temperature, two] - occupations[temperature, one]
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

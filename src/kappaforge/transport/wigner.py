"""Heat that tunnels between modes: the coherences of the Wigner transport equation.

The equation of Simoncelli, Marzari and Mauri, Nat. Phys. 15, 809 (2019), 10.1038/s41567-019-0520-x, adds to the
populations' κ, which `solution.py` solves for, that of pairs of modes at one q point:

    κ_C = 1/(N V) Σ_q Σ_s≠s' (ω + ω')/4 (C/ω + C'/ω') V_ss' V_s's (γ + γ') / ((ω - ω')² + (γ + γ')²),

with half widths γ, heat capacities C, and the velocity operator V, the gradient of the root of the dynamical matrix.
"""

from __future__ import annotations

import numpy as np
from phonopy import Phonopy
from phonopy.harmonic.derivative_dynmat import DerivativeOfDynamicalMatrix
from phonopy.phonon.degeneracy import get_degenerate_ids

from kappaforge.transport.modes import heat_capacities_ev_per_k, w_per_mk
from kappaforge.transport.phonon_grid import DEGENERATE_THZ, PhononGrid


def velocity_operators_thz_ang(phonopy: Phonopy, grid: PhononGrid) -> np.ndarray:
    """Return the velocity operators in the basis of the modes at the irreducible points.

    phonopy's dynamical matrix has the phases of the atoms' positions (the smooth convention), without which the result
    would depend on the choice of cell (Phys. Rev. X 12, 041011; 10.1103/PhysRevX.12.041011).

    Parameters
    ----------
    phonopy
        The crystal that the grid was made of.
    grid
        Its phonons.

    Returns
    -------
    ndarray
        Complex and Hermitian in the bands, THz Å, shape (n_irreducible, 3, n_bands, n_bands); 0 for modes of frequency
        0. Its diagonal are the group velocities where modes are not degenerate.
    """
    assert phonopy.dynamical_matrix is not None, "a grid is made of force constants"
    derivative = DerivativeOfDynamicalMatrix(phonopy.dynamical_matrix, lang=phonopy.dynamical_matrix.lang)
    frequencies, eigenvectors = grid.frequencies_thz[grid.irreducible], grid.eigenvectors[grid.irreducible]
    alive = (frequencies[:, :, None] > 0) & (frequencies[:, None, :] > 0)
    sums = np.where(alive, frequencies[:, :, None] + frequencies[:, None, :], np.inf)
    operators = np.zeros((len(grid.irreducible), 3, *sums.shape[1:]), dtype=complex)
    for place, point in enumerate(grid.irreducible):
        derivative.run(grid.points[point])
        vectors = eigenvectors[place]
        # D = √D √D gives the gradient of √D in D's own basis
        operators[place] = vectors.conj().T @ derivative.d_dynamical_matrix @ vectors / sums[place]
    operators *= phonopy.unit_conversion_factor**2
    return (operators + operators.conj().swapaxes(2, 3)) / 2


def coherence_kappa_w_per_mk(
    phonopy: Phonopy, grid: PhononGrid, linewidths_thz: np.ndarray, temperature_k: float
) -> np.ndarray:
    """Return what coherences add to κ, whether that is of the relaxation-time approximation or of the whole equation.

    Parameters
    ----------
    phonopy
        The crystal that the grid was made of.
    grid
        Its phonons.
    linewidths_thz
        Half widths at half maximum, of `kappaforge.transport.solution.Solution`; shape (n_irreducible, n_bands). They
        are averaged over degenerate modes, whose mixture is arbitrary.
    temperature_k
        Temperature in K.

    Returns
    -------
    ndarray
        Averaged over the point group, shape (3, 3), W/(m·K).
    """
    frequencies = grid.frequencies_thz[grid.irreducible]
    # these are populations: phonopy's group velocities take the same ones for degenerate, so that none counts twice
    sets = get_degenerate_ids(frequencies, cutoff=DEGENERATE_THZ)
    same = sets[:, :, None] == sets[:, None, :]
    widths = np.einsum("qlm,qm->ql", same, linewidths_thz) / same.sum(axis=2)
    sums = widths[:, :, None] + widths[:, None, :]
    apart = np.where(same, 1.0, frequencies[:, :, None] - frequencies[:, None, :])
    spectrum = np.where(same, 0.0, sums / (apart**2 + sums**2)) / (2 * np.pi)

    alive = frequencies > 0
    over = heat_capacities_ev_per_k(grid, temperature_k) / np.where(alive, frequencies, 1.0)
    capacities = (frequencies[:, :, None] + frequencies[:, None, :]) * (over[:, :, None] + over[:, None, :]) / 4
    weights = grid.multiplicity[:, None, None] / len(grid.points) * capacities * spectrum
    operators = velocity_operators_thz_ang(phonopy, grid)
    summed = np.einsum("qlm,qalm,qblm->ab", weights, operators, operators.conj(), optimize=True).real
    turned = (grid.rotations @ summed @ grid.rotations.transpose(0, 2, 1)).mean(axis=0)
    return w_per_mk(grid.volume_ang3) * (turned + turned.T) / 2

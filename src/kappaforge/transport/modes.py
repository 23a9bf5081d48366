"""What each mode carries in the relaxation-time approximation, and how far.

All arrays are for the modes of the irreducible points, shape (n_irreducible, n_bands, …).
"""

from __future__ import annotations

import numpy as np
from phonopy.physical_units import get_physical_units

from kappaforge.transport.phonon_grid import PhononGrid
from kappaforge.transport.solution import Solution


def heat_capacities_ev_per_k(grid: PhononGrid, temperature_k: float) -> np.ndarray:
    """Return heat capacities of harmonic modes, eV/K, shape (n_irreducible, n_bands); 0 where the frequency is."""
    units = get_physical_units()
    frequencies = grid.frequencies_thz[grid.irreducible]
    alive = frequencies > 0
    x = np.where(alive, frequencies, 1.0) * units.THzToEv / (units.KB * temperature_k)
    # x² eˣ / (eˣ - 1)² without the overflow of cold modes
    return np.where(alive, units.KB * x**2 * np.exp(-x) / np.expm1(-x) ** 2, 0.0)


def lifetimes_ps(linewidths_thz: np.ndarray) -> np.ndarray:
    """Return 1 / (4π half width at half maximum), ps.

    It is 0 where nothing scatters the mode: on a finite grid that says nothing of how long it lives, and
    `kappaforge.transport.solution.solve` leaves such modes out of κ.
    """
    scattered = linewidths_thz > 0
    return np.where(scattered, 1 / (4 * np.pi * np.where(scattered, linewidths_thz, 1.0)), 0.0)


def mean_free_paths_ang(grid: PhononGrid, linewidths_thz: np.ndarray) -> np.ndarray:
    """Return speed times lifetime, Å, shape (n_irreducible, n_bands)."""
    return np.linalg.norm(grid.velocities_thz_ang[grid.irreducible], axis=2) * lifetimes_ps(linewidths_thz)


def velocity_products_thz2_ang2(grid: PhononGrid) -> np.ndarray:
    """Return v vᵀ averaged over the point group, THz² Å², shape (n_irreducible, n_bands, 3, 3)."""
    velocities = grid.velocities_thz_ang[grid.irreducible]
    products = velocities[..., :, None] * velocities[..., None, :]
    average = np.einsum("rac,rbd->abcd", grid.rotations, grid.rotations) / len(grid.rotations)
    return np.einsum("abcd,qlcd->qlab", average, products)


def w_per_mk(volume_ang3: float) -> float:
    """Return what eV/K THz² Å² ps over the volume of the primitive cell is in W/(m·K)."""
    return float(get_physical_units().EV * 1e24 * 1e-20 * 1e-12 / (volume_ang3 * 1e-30))


def conduction_w_per_mk_per_ps(grid: PhononGrid, temperature_k: float) -> float:
    """Return a third of the trace of Σ C v v / V: what κ would be for each ps of lifetime."""
    squares = (grid.velocities_thz_ang[grid.irreducible] ** 2).sum(axis=2) / 3
    capacities = heat_capacities_ev_per_k(grid, temperature_k)
    total = np.einsum("q,ql,ql->", grid.multiplicity, capacities, squares) / len(grid.points)
    return w_per_mk(grid.volume_ang3) * float(total)


def mode_kappas_w_per_mk(grid: PhononGrid, solution: Solution) -> np.ndarray:
    """Return the share of each mode, with all modes equivalent to it, in κ of the relaxation-time approximation.

    Returns
    -------
    ndarray
        Tensors averaged over the point group, whose sum is `Solution.kappa_rta_w_per_mk`; W/(m·K), shape
        (n_irreducible, n_bands, 3, 3).
    """
    shares = grid.multiplicity[:, None] / len(grid.points)
    carried = heat_capacities_ev_per_k(grid, solution.temperature_k) * lifetimes_ps(solution.linewidths_thz) * shares
    return w_per_mk(grid.volume_ang3) * carried[..., None, None] * velocity_products_thz2_ang2(grid)

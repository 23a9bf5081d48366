"""The linearised Boltzmann transport equation: in the relaxation-time approximation, and solved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from phonopy.physical_units import get_physical_units
from scipy.sparse.linalg import LinearOperator, cg

from kappaforge.transport.failure import TransportError
from kappaforge.transport.phonon_grid import PhononGrid
from kappaforge.transport.scattering import Scattering

TOLERANCE = 1e-5
MOST_ITERATIONS = 500


@dataclass(frozen=True, eq=False)
class Solution:
    """κ at one temperature.

    Parameters
    ----------
    temperature_k
        Temperature in K.
    kappa_rta_w_per_mk, kappa_lbte_w_per_mk
        Tensors of the relaxation-time approximation and of the whole equation (None where it was not asked for), in the
        frame of the grid's crystal, averaged over its point group; shape (3, 3).
    linewidths_thz
        Half widths at half maximum of the modes of the irreducible points, THz, shape (n_irreducible, n_bands); a
        lifetime is 1 / (4π) of its inverse.
    iterations
        Of the conjugate gradients.
    """

    temperature_k: float
    kappa_rta_w_per_mk: np.ndarray
    kappa_lbte_w_per_mk: np.ndarray | None
    linewidths_thz: np.ndarray
    iterations: int


def solve(
    grid: PhononGrid,
    scattering: Scattering,
    *,
    isotope_rates_thz: np.ndarray | None = None,
    boundary_length_um: float | None = None,
) -> Solution:
    """Solve the transport equation at one temperature.

    In the form of Phys. Rev. Lett. 110, 265506 (10.1103/PhysRevLett.110.265506) the collision operator is symmetric. On
    a grid it is so only nearly, and its symmetric part is taken. Conjugate gradients never need it written down: the
    modes of the irreducible points are turned to all others, and the scattering brings them back. Degenerate modes give
    and take their mean.

    Parameters
    ----------
    grid, scattering
        The phonons and how they scatter.
    isotope_rates_thz
        Added to the linewidths, shape (n_irreducible, n_bands).
    boundary_length_um
        Mean free path that boundaries allow, µm; a mode lives no longer than the length over |v|.

    Raises
    ------
    TransportError
        Where the conjugate gradients do not converge.
    """
    units = get_physical_units()
    temperature_k = scattering.temperature_k
    linewidths = scattering.linewidths_thz
    if isotope_rates_thz is not None:
        linewidths = linewidths + isotope_rates_thz
    linewidths = np.einsum("qml,ql->qm", grid.means[grid.irreducible], linewidths)
    velocities = grid.velocities_thz_ang[grid.irreducible]
    if boundary_length_um is not None:
        # Å THz over µm
        linewidths = linewidths + np.linalg.norm(velocities, axis=2) * 1e-4 / (4 * np.pi * boundary_length_um)

    x = grid.quanta(temperature_k)[grid.irreducible] / 2
    with np.errstate(over="ignore", invalid="ignore"):
        weights = np.where(np.isfinite(x), x / np.sinh(x), 0.0)
    driving = velocities * weights[:, :, None]
    scattered = linewidths > 0
    rates = np.where(scattered, linewidths, np.inf)[:, :, None]
    # κ = k_B / V of Σ (x / sinh x)² v v / (4π linewidth), from THz² Å² / THz and eV / K
    factor = units.KB * units.EV * 1e12 * 1e-20 / (grid.volume_ang3 * 1e-30) / (4 * np.pi) / len(grid.points)

    def tensor(response: np.ndarray) -> np.ndarray:
        summed = np.einsum("q,qla,qlb->ab", grid.multiplicity, driving, response)
        turned = (grid.rotations @ summed @ grid.rotations.transpose(0, 2, 1)).mean(axis=0)
        return factor * (turned + turned.T) / 2

    rta = tensor(driving / rates)
    if scattering.back_thz is None:
        return Solution(temperature_k, rta, None, linewidths, 0)
    response, iterations = _conjugate_gradients(grid, scattering.back_thz, driving, rates)
    return Solution(temperature_k, rta, tensor(response), linewidths, iterations)


def _conjugate_gradients(
    grid: PhononGrid, back: np.ndarray, driving: np.ndarray, rates: np.ndarray
) -> tuple[np.ndarray, int]:
    """Solve for the response of all irreducible modes; both sides are scaled by the root of the multiplicity."""
    shape = driving.shape
    many = grid.multiplicity[:, None, None]
    roots = np.sqrt(many)
    alive = np.isfinite(rates)
    diagonal = np.where(alive, rates, 1.0)

    def collisions(vector: np.ndarray) -> np.ndarray:
        each = vector.reshape(shape) / roots
        response = grid.averaged(each * alive)
        every = grid.expanded(response).reshape(-1, 3).astype(back.dtype)
        given = (back @ every).reshape(shape).astype(float)
        transposed = (back.T @ (response * many).reshape(-1, 3).astype(back.dtype)).astype(float)
        given += grid.folded(transposed.reshape(len(grid.points), -1, 3)) / many
        return (roots * (diagonal * each + alive * grid.averaged(given) / 2)).ravel()

    size = driving.size
    iterations = 0

    def count(_: np.ndarray) -> None:
        nonlocal iterations
        iterations += 1

    known = (roots * driving * alive).ravel()
    if not known.any():  # points of the zone's boundary alone, where nothing moves
        return np.zeros(shape), 0
    spread = np.broadcast_to(diagonal, shape).ravel()
    found, unfinished = cg(
        LinearOperator((size, size), matvec=collisions, dtype=float),
        known,
        x0=known / spread,
        rtol=TOLERANCE,
        maxiter=MOST_ITERATIONS,
        M=LinearOperator((size, size), matvec=lambda vector: vector / spread, dtype=float),
        callback=count,
    )
    if unfinished:
        raise TransportError(
            "failed", f"the transport equation is not solved after {MOST_ITERATIONS} iterations: take a finer mesh"
        )
    return found.reshape(shape) / roots, iterations

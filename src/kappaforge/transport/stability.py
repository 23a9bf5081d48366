"""Which frequencies are imaginary, and whether that makes a crystal unstable."""

from __future__ import annotations

import numpy as np
from phonopy import Phonopy
from phonopy.harmonic.dynmat_to_fc import get_commensurate_points

from kappaforge.transport.record import Mesh
from kappaforge.transport.settings import KappaSettings


def spectrum(phonopy: Phonopy, mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies at the q points that fit into the supercell and on a mesh that keeps the symmetry.

    Returns
    -------
    q_points, frequencies_thz
        In fractional coordinates, (n, 3), Γ first; shape (n, n_bands), imaginary ones negative.
    """
    exact = get_commensurate_points(phonopy.supercell_matrix)
    sampled = phonopy.run_mesh(list(mesh), is_mesh_symmetry=True, is_gamma_center=True)
    solved = phonopy.run_qpoints(np.concatenate([np.zeros((1, 3)), exact])).frequencies
    away = [np.abs(points).max(axis=1) > 1e-8 for points in (exact, sampled.qpoints)]
    q_points = [np.zeros((1, 3)), exact[away[0]], sampled.qpoints[away[1]]]
    frequencies = [solved[:1], solved[1:][away[0]], sampled.frequencies[away[1]]]
    return np.concatenate(q_points), np.concatenate(frequencies)


def imaginary_mode(q_points: np.ndarray, frequencies_thz: np.ndarray, settings: KappaSettings) -> str:
    """Return the most imaginary mode in words; empty where all are real within the tolerances.

    Parameters
    ----------
    q_points
        Shape (n, 3), fractional; the first is Γ.
    frequencies_thz
        Shape (n, n_bands); imaginary ones negative. The three smallest at Γ are the acoustic ones.
    """
    allowed = np.full(frequencies_thz.shape, settings.imaginary_tolerance_thz)
    allowed[0, np.argsort(np.abs(frequencies_thz[0]), kind="stable")[:3]] = settings.acoustic_tolerance_thz
    imaginary = np.where(frequencies_thz < -allowed, frequencies_thz, 0.0)
    if not imaginary.any():
        return ""
    point, band = np.unravel_index(np.argmin(imaginary), imaginary.shape)
    inside = q_points[point] - np.ceil(q_points[point] - 0.5)  # each part above -1/2, up to 1/2
    where = ", ".join(f"{part:.3g}" for part in inside + 0.0)
    kind = "acoustic mode" if point == 0 and allowed[point, band] == settings.acoustic_tolerance_thz else "mode"
    return (
        f"imaginary {kind} {band + 1} of {-imaginary[point, band]:.3f}i THz at q = ({where}); "
        f"{np.count_nonzero(imaginary)} of {imaginary.size} modes are imaginary"
    )

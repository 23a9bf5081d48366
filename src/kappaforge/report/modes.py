"""Figures of phonons mode by mode, from the file that `kappaforge kappa --modes` and phono3py write."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from matplotlib.figure import Figure

from kappaforge.report.phonons import cumulative_kappa_figure, lifetimes_figure, linewidths_figure, speeds_figure

DIRECTIONS = {"κ_xx": 0, "κ_yy": 1, "κ_zz": 2}
"""Places in phono3py's order of a tensor's six components."""


def mode_figures(file: Path) -> dict[str, Figure]:
    """Return lifetimes, linewidths and speeds over frequency, and κ(RTA) over mean free paths.

    Parameters
    ----------
    file
        ``kappa-mNNN.hdf5``; of several temperatures the first is drawn.
    """
    with h5py.File(file) as stored:
        frequencies_thz = stored["frequency"][:]
        linewidths_thz = stored["gamma"][0]
        velocities_thz_ang = stored["group_velocity"][:]
        # phono3py divides by the number of points after the sum over modes
        mode_kappas_w_per_mk = stored["mode_kappa"][0] / np.prod(stored["mesh"][:])
    scattered = linewidths_thz > 0
    lifetimes_ps = np.where(scattered, 1 / (4 * np.pi * np.where(scattered, linewidths_thz, 1.0)), np.nan)
    mean_free_paths_ang = np.linalg.norm(velocities_thz_ang, axis=-1) * lifetimes_ps
    kappas = {name: mode_kappas_w_per_mk[..., place] for name, place in DIRECTIONS.items()}
    return {
        "lifetimes": lifetimes_figure(frequencies_thz, lifetimes_ps),
        "linewidths": linewidths_figure(frequencies_thz, {"all scattering": linewidths_thz}),
        "speeds": speeds_figure(frequencies_thz, velocities_thz_ang),
        "cumulative-kappa": cumulative_kappa_figure(mean_free_paths_ang, kappas),
    }

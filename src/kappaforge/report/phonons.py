"""Figures and tables of the phonons of one crystal, one function each over plain arrays.

Two sets of curves differ in lightness and in dashes, so that every figure can be read in greyscale.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kappaforge.report.canvas import empty, new_axes, styled

CURVES: tuple[dict[str, Any], ...] = (
    {"color": "black", "linestyle": "-", "linewidth": 1.0, "zorder": 3},
    {"color": "0.55", "linestyle": "--", "linewidth": 1.3, "zorder": 2},
    {"color": "0.3", "linestyle": ":", "linewidth": 1.5, "zorder": 2},
)
IMAGINARY_THZ = 0.01
"""Below minus this a figure calls frequencies imaginary; round-off of acoustic modes at Γ is smaller."""

KM_PER_S_PER_THZ_ANG = 0.1
_RASTERISE_BEYOND = 2000


@styled
def dispersion_figure(
    distances_per_ang: np.ndarray,
    frequencies_thz: Mapping[str, np.ndarray],
    segments: np.ndarray,
    labels: Sequence[str],
    label_rows: np.ndarray,
) -> Figure:
    """Draw phonon dispersion along a path, of one model or of several on top of each other (paper, Fig. 5).

    Parameters
    ----------
    distances_per_ang
        Length of the path up to each point, shape (n,), Å⁻¹ without 2π.
    frequencies_thz
        By the name of what they come from, such as a potential or DFT: frequencies at these points, shape
        (n, n_bands), imaginary ones negative; at most three.
    segments
        Rows of the parts without a jump, first and one beyond the last, shape (n_segments, 2).
    labels, label_rows
        Names of the special points, and their rows.
    """
    distances = np.asarray(distances_per_ang, dtype=float)
    figure, axes = new_axes((6.4, 4.2))
    for (name, values), look in zip(frequencies_thz.items(), CURVES, strict=False):
        for first, beyond in segments:
            lines = axes.plot(distances[first:beyond], np.asarray(values)[first:beyond], **look)
        lines[0].set_label(name)
    _mark_special_points(axes, distances[label_rows], labels)
    lowest = min(float(np.nanmin(values)) for values in frequencies_thz.values())
    imaginary = lowest < -IMAGINARY_THZ
    if imaginary:
        axes.axhline(0, color="0.6", linewidth=0.7, zorder=1)
    else:
        axes.set_ylim(bottom=0)
    axes.set(
        xlim=(distances[0], distances[-1]),
        xlabel=f"wave vector (path of {distances[-1]:.2f} Å⁻¹ without 2π)",
        ylabel="frequency (THz; imaginary below 0)" if imaginary else "frequency (THz)",
    )
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return figure


@styled
def density_figure(densities: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Draw densities of states.

    Parameters
    ----------
    densities
        By the name of what they come from: frequencies (THz) and states per THz and primitive cell, each of shape
        (n,); at most three.
    """
    figure, axes = new_axes((6.4, 3.6))
    for (name, (frequencies_thz, states_per_thz)), look in zip(densities.items(), CURVES, strict=False):
        axes.plot(frequencies_thz, states_per_thz, label=name, **look)
    axes.set(xlabel="frequency (THz)", ylabel="states (1/THz per primitive cell)")
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return figure


@styled
def lifetimes_figure(frequencies_thz: np.ndarray, lifetimes_ps: np.ndarray) -> Figure:
    """Draw lifetimes over frequencies, with the line below which a mode does not live for one oscillation.

    Parameters
    ----------
    frequencies_thz, lifetimes_ps
        Of all modes, of one shape; those without a finite lifetime above 0 are left out.
    """
    frequencies, lifetimes = _finite(frequencies_thz, lifetimes_ps)
    if not len(frequencies):
        return empty("No mode has a finite lifetime")
    figure, axes = _modes(frequencies, lifetimes, "lifetime (ps)", "mode")
    across = np.linspace(frequencies.max() / 200, frequencies.max(), 200)
    axes.plot(across, 1 / across, color="0.4", linestyle="--", linewidth=0.9, label="one oscillation")
    axes.set_ylim(lifetimes.min() / 2, lifetimes.max() * 2)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


@styled
def linewidths_figure(frequencies_thz: np.ndarray, linewidths_thz: Mapping[str, np.ndarray]) -> Figure:
    """Draw linewidths over frequencies.

    Parameters
    ----------
    frequencies_thz
        Of all modes.
    linewidths_thz
        By what broadens them, such as "three phonons" and "isotopes": linewidths of the same shape; at most three.
        Those that are not above 0 are left out.
    """
    pairs = {name: _finite(frequencies_thz, values) for name, values in linewidths_thz.items()}
    pairs = {name: pair for name, pair in pairs.items() if len(pair[0])}
    if not pairs:
        return empty("No mode has a linewidth above 0")
    figure, axes = new_axes((6.4, 4.2))
    for (name, (frequencies, widths)), (marker, colour) in zip(
        pairs.items(), (("o", "0.3"), ("^", "0.65"), ("x", "black")), strict=False
    ):
        _scatter(axes, frequencies, widths, marker=marker, c=colour, label=name)
    axes.set(xlabel="frequency (THz)", ylabel="linewidth (THz)", yscale="log")
    axes.set_xlim(left=0)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return figure


@styled
def speeds_figure(frequencies_thz: np.ndarray, velocities_thz_ang: np.ndarray) -> Figure:
    """Draw the speeds of phonons over their frequencies.

    Parameters
    ----------
    frequencies_thz
        Of all modes, any shape.
    velocities_thz_ang
        Group velocities, of that shape and three components; THz·Å.
    """
    speeds = np.linalg.norm(velocities_thz_ang, axis=-1) * KM_PER_S_PER_THZ_ANG
    frequencies, speeds = _finite(frequencies_thz, speeds)
    if not len(frequencies):
        return empty("No mode moves")
    figure, axes = _modes(frequencies, speeds, "group velocity (km/s)", "mode")
    axes.set_yscale("linear")
    axes.set_ylim(bottom=0)
    return figure


@styled
def cumulative_kappa_figure(mean_free_paths_ang: np.ndarray, mode_kappas_w_per_mk: Mapping[str, np.ndarray]) -> Figure:
    """Draw how much of κ phonons carry whose mean free path is no longer than some length.

    Parameters
    ----------
    mean_free_paths_ang
        Of all modes, Å, any shape.
    mode_kappas_w_per_mk
        By the name of the direction, such as "κ_xx": what each mode adds to κ, of the same shape, W/(m·K); they sum up
        to κ. At most three.
    """
    curves = {name: cumulative(mean_free_paths_ang, values) for name, values in mode_kappas_w_per_mk.items()}
    curves = {name: curve for name, curve in curves.items() if len(curve[0])}
    if not curves:
        return empty("No mode has a finite mean free path")
    figure, axes = new_axes((6.4, 4.0))
    for (name, (lengths_ang, sums)), look in zip(curves.items(), CURVES, strict=False):
        half_nm = lengths_ang[np.searchsorted(sums, sums[-1] / 2)] / 10
        half = f"{half_nm:.3g}" if half_nm < 1000 else f"{half_nm:.0f}"
        axes.step(lengths_ang / 10, sums, where="post", label=f"{name} (half by {half} nm)", **look)
    # modes that stand still but for round-off have mean free paths of 1e-40 nm and carry nothing
    first_ang = min(lengths[np.searchsorted(sums, SHOWN_FROM * sums[-1])] for lengths, sums in curves.values())
    axes.set_xlim(left=first_ang / 20)
    axes.set(xscale="log", xlabel="mean free path up to (nm)", ylabel="cumulative κ (W/(m·K))")
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return figure


SHOWN_FROM = 1e-4
"""Share of κ from which a cumulative curve is shown."""


def cumulative(mean_free_paths_ang: np.ndarray, mode_kappas_w_per_mk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean free paths in ascending order, Å, and κ of all modes up to each, W/(m·K), both of shape (n,).

    Modes without a finite mean free path above 0 carry nothing and are left out.
    """
    lengths, kappas = np.ravel(mean_free_paths_ang), np.ravel(mode_kappas_w_per_mk)
    kept = np.isfinite(lengths) & (lengths > 0) & np.isfinite(kappas)
    order = np.argsort(lengths[kept], kind="stable")
    return lengths[kept][order], np.cumsum(kappas[kept][order])


def dispersion_csv(
    q_points: np.ndarray, distances_per_ang: np.ndarray, frequencies_thz: np.ndarray, labels: Mapping[int, str]
) -> str:
    """Return one line for each point of a path: its label if it has one, where it is, and its frequencies.

    Parameters
    ----------
    q_points, distances_per_ang, frequencies_thz
        Shapes (n, 3), (n,) and (n, n_bands).
    labels
        Names of the special points by row.
    """
    bands = [f"band_{band + 1}_thz" for band in range(np.shape(frequencies_thz)[1])]
    rows = (
        [labels.get(row, ""), f"{distance:.6f}", *(f"{part:.6f}" for part in q), *(f"{value:.6f}" for value in values)]
        for row, (distance, q, values) in enumerate(zip(distances_per_ang, q_points, frequencies_thz, strict=True))
    )
    return _csv(["label", "distance_per_ang", "q_1", "q_2", "q_3", *bands], rows)


def density_csv(frequencies_thz: np.ndarray, states_per_thz: np.ndarray) -> str:
    """Return one line for each frequency: states per THz and primitive cell."""
    rows = ([f"{one:.6f}", f"{two:.6f}"] for one, two in zip(frequencies_thz, states_per_thz, strict=True))
    return _csv(["frequency_thz", "states_per_thz"], rows)


def _csv(header: Sequence[str], rows: Any) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows(rows)
    return text.getvalue()


def _mark_special_points(axes: Axes, places: np.ndarray, labels: Sequence[str]) -> None:
    """A thin line and a name at each; both ends of a jump, which stand at one place, share them."""
    names: dict[float, list[str]] = {}
    for place, label in zip(places, labels, strict=True):
        at = next((known for known in names if abs(known - place) < 1e-9), float(place))
        names.setdefault(at, []).append(_with_subscripts(label))
    for place in names:
        axes.axvline(place, color="0.8", linewidth=0.7, zorder=1)
    axes.set_xticks(list(names), ["|".join(dict.fromkeys(both)) for both in names.values()])
    axes.tick_params(axis="x", length=0)


def _with_subscripts(label: str) -> str:
    return label.translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def _finite(frequencies_thz: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and values of the modes that have both, above 0."""
    frequencies, values = np.ravel(frequencies_thz), np.ravel(values)
    kept = np.isfinite(frequencies) & np.isfinite(values) & (frequencies > 0) & (values > 0)
    return frequencies[kept], values[kept]


def _modes(frequencies_thz: np.ndarray, values: np.ndarray, label: str, name: str) -> tuple[Figure, Axes]:
    figure, axes = new_axes((6.4, 4.2))
    _scatter(axes, frequencies_thz, values, marker="o", c="0.3", label=name)
    axes.set(xlabel="frequency (THz)", ylabel=label, yscale="log", xlim=(0, None))
    return figure, axes


def _scatter(axes: Axes, frequencies_thz: np.ndarray, values: np.ndarray, **look: Any) -> None:
    many = len(values) > _RASTERISE_BEYOND
    axes.scatter(frequencies_thz, values, s=7, linewidths=0.6 if look["marker"] == "x" else 0, rasterized=many, **look)

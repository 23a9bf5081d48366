"""The figures of a report, one function each over plain arrays.

Colour runs through *viridis*, whose lightness rises with the value, and roles differ in shape, so that every figure
can be read in greyscale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from kappaforge.report.canvas import empty, new_axes, styled
from kappaforge.report.labels import name_points

ULTRAHIGH_KAPPA_W_PER_MK = 800.0
"""The paper's limit of an ultrahigh conductor (doi 10.1038/s41524-025-01592-8, Results)."""

KAPPA_LABEL = "largest eigenvalue of κ(RTA) (W/(m·K))"
MARKERS = {"benchmark": "s", "neighbour": "^", "": "o"}
FILLS = {"benchmark": "0.35", "neighbour": "white", "": "0.75"}
ROLE_NAMES = {"benchmark": "benchmark", "neighbour": "neighbour", "": "crystal"}
_RASTERISE_BEYOND = 2000
"""More points than this go into an SVG as one image: the file stays small and browsers stay quick."""


@styled
def crystal_map(
    xy: np.ndarray,
    kappa_w_per_mk: np.ndarray,
    roles: Sequence[str],
    names: Sequence[str],
) -> Figure:
    """Draw the map of all candidates: grey points, with shapes for the roles and colour for κ where it is known.

    Parameters
    ----------
    xy
        Map coordinates (t-SNE of the averaged SOAP), shape (n, 2), arbitrary units; NaN for crystals not on the map.
    kappa_w_per_mk
        Largest eigenvalue of κ, shape (n,), W/(m·K); NaN where unknown.
    roles
        For each crystal ``benchmark``, ``neighbour`` or nothing.
    names
        For each crystal the name to write beside it, or nothing.
    """
    xy = np.reshape(np.asarray(xy, dtype=float), (-1, 2))
    kappa = np.asarray(kappa_w_per_mk, dtype=float)
    role_of = known_roles(roles)
    placed = np.isfinite(xy).all(axis=1)
    if not placed.any():
        return empty("No crystal is on the map yet")
    known = np.isfinite(kappa)
    figure, axes = new_axes((7.2, 5.4))
    background = placed & (role_of == "") & ~known
    many = bool(background.sum() > _RASTERISE_BEYOND)
    axes.scatter(xy[background, 0], xy[background, 1], s=9, c="0.72", linewidths=0, zorder=2, rasterized=many)
    legend = [_key("o", "0.72", "candidate", size=3.5, edge="none")] if background.any() else []
    limits = _colour_limits(kappa[placed & known])
    drawn = None
    for role, marker in MARKERS.items():
        of_role = placed & (role_of == role)
        coloured, hollow = of_role & known, of_role & ~known & (role != "")
        style: dict[str, Any] = {"marker": marker, "s": 46, "edgecolors": "black", "linewidths": 0.7}
        if coloured.any():
            order = np.flatnonzero(coloured)[np.argsort(kappa[coloured], kind="stable")]  # the best on top
            drawn = axes.scatter(
                xy[order, 0],
                xy[order, 1],
                c=kappa[order],
                cmap="viridis",
                vmin=limits[0],
                vmax=limits[1],
                zorder=4,
                **style,
            )
            legend.append(_key(marker, "0.6", ROLE_NAMES[role]))
        if hollow.any():
            axes.scatter(xy[hollow, 0], xy[hollow, 1], c="white", zorder=3, **style)
            legend.append(_key(marker, "white", f"{ROLE_NAMES[role]} without κ"))
    if drawn is not None:
        figure.colorbar(drawn, ax=axes, label=KAPPA_LABEL, fraction=0.05, pad=0.02)
    axes.set(xlabel="t-SNE 1 (arbitrary units)", ylabel="t-SNE 2 (arbitrary units)", xticks=[], yticks=[])
    axes.margins(0.08)
    axes.legend(handles=legend, loc="upper center", bbox_to_anchor=(0.5, -0.07), ncols=3)
    name_points(axes, xy, names, marked=placed & ((role_of != "") | known))
    return figure


@styled
def kappa_histogram(groups: Mapping[str, np.ndarray]) -> Figure:
    """Draw how κ is distributed in each group of crystals.

    Parameters
    ----------
    groups
        Largest eigenvalues of κ, W/(m·K), by the role of their crystals (``benchmark``, ``neighbour`` or nothing).
    """
    values = {role: np.asarray(kappa)[np.isfinite(kappa)] for role, kappa in groups.items()}
    values = {role: kappa for role, kappa in values.items() if len(kappa)}
    if not values:
        return empty("κ of no crystal is known yet")
    looks: tuple[dict[str, Any], ...] = (
        {"facecolor": "0.8", "edgecolor": "0.25"},
        {"facecolor": "none", "edgecolor": "black", "hatch": "////"},
        {"facecolor": "none", "edgecolor": "0.45", "hatch": "...."},
    )
    everything = np.concatenate(list(values.values()))
    edges = _bins(float(everything.max()))
    figure, axes = new_axes((6.4, 4.0))
    for (role, kappa), look in zip(values.items(), looks, strict=False):
        share = np.mean(kappa > ULTRAHIGH_KAPPA_W_PER_MK)
        label = f"{ROLE_NAMES[role]} (n = {len(kappa)}, {share:.0%} ultrahigh)"
        axes.hist(kappa, bins=edges.tolist(), histtype="stepfilled", linewidth=1.1, label=label, **look)
    mark_ultrahigh(axes, vertical=True)
    axes.set(xlabel=KAPPA_LABEL, ylabel="number of crystals", xlim=(0, edges[-1]))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.16), ncols=2)
    return figure


@styled
def kappa_ranking(names: Sequence[str], eigenvalues_w_per_mk: np.ndarray, limit: int = 25) -> Figure:
    """Draw the best conductors with the three eigenvalues of their κ: how good, and how anisotropic.

    Parameters
    ----------
    names
        One for each crystal.
    eigenvalues_w_per_mk
        Eigenvalues of κ, shape (n, 3), W/(m·K); NaN where unknown.
    limit
        Draw at most so many.
    """
    values = np.sort(np.reshape(np.asarray(eigenvalues_w_per_mk, dtype=float), (-1, 3)), axis=1)
    finite = np.flatnonzero(np.isfinite(values).all(axis=1))
    if not len(finite):
        return empty("κ of no crystal is known yet")
    best = finite[np.argsort(-values[finite, 2], kind="stable")][:limit]
    rows = np.arange(len(best))
    figure, axes = new_axes((6.4, 1.5 + 0.2 * max(len(best), 4)))
    axes.hlines(rows, values[best, 0], values[best, 2], color="0.6", linewidth=1.2, zorder=2)
    looks = (("|", "black", "smallest eigenvalue"), ("o", "white", "middle"), ("D", "black", "largest"))
    for column, (marker, colour, label) in enumerate(looks):
        edge = "black" if marker != "|" else None
        axes.scatter(values[best, column], rows, marker=marker, c=colour, edgecolors=edge, s=26, zorder=3, label=label)
    axes.set(xlabel="eigenvalues of κ (W/(m·K))", xlim=(0, round_up(1.03 * float(values[best, 2].max()))))
    mark_ultrahigh(axes, vertical=True)
    axes.set_ylim(max(len(best), 4) - 0.4, -0.6)
    axes.set_yticks(rows, [_shortened(names[index]) for index in best])
    axes.grid(axis="y", color="0.92")
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=4)  # of the axes it would not fit beside long names
    return figure


@styled
def kappa_over_density(
    density_g_per_cm3: np.ndarray,
    kappa_w_per_mk: np.ndarray,
    roles: Sequence[str],
    names: Sequence[str],
) -> Figure:
    """Draw κ over the mass density: stiff, dense networks conduct best.

    Parameters
    ----------
    density_g_per_cm3, kappa_w_per_mk
        Shape (n,), g/cm³ and W/(m·K) (largest eigenvalue); NaN where unknown.
    roles, names
        As in `crystal_map`.
    """
    xy = np.column_stack([np.asarray(density_g_per_cm3, dtype=float), np.asarray(kappa_w_per_mk, dtype=float)])
    shown = np.isfinite(xy).all(axis=1)
    if not shown.any():
        return empty("κ of no crystal is known yet")
    figure, axes = new_axes((6.4, 4.4))
    scatter_by_role(axes, xy, shown, known_roles(roles))
    axes.margins(0.1)
    axes.set_ylim(0, round_up(float(xy[shown, 1].max()) * 1.05))
    mark_ultrahigh(axes, vertical=False)
    axes.set(xlabel="density (g/cm³)", ylabel=KAPPA_LABEL)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=3)
    name_points(axes, xy, names, marked=shown)
    return figure


@styled
def uncertainty_evolution(
    n_labels: Sequence[int], uncertainty_mev_per_atom: np.ndarray, limit_mev_per_atom: float
) -> Figure:
    """Draw how a committee grows sure of the crystals while labels come in (paper, Fig. 3b and c).

    Parameters
    ----------
    n_labels
        Labels known in each round.
    uncertainty_mev_per_atom
        Shape (n_rounds, n_crystals), meV/atom; NaN where a crystal was not in question.
    limit_mev_per_atom
        Where a crystal counts as known.
    """
    values = np.asarray(uncertainty_mev_per_atom, dtype=float)
    values = np.where(np.isfinite(values), values, np.nan)
    if not np.isfinite(values).any():
        return empty("No committee was asked")
    figure, axes = new_axes((6.4, 4.0))
    rounds = np.arange(1, len(values) + 1)
    axes.plot(rounds, values, color="0.72", linewidth=0.8, zorder=2)
    axes.plot([], [], color="0.72", linewidth=0.8, label="each crystal")
    for share, style, label in ((100, "k-", "largest"), (50, "k:", "median")):
        shown = np.array([np.nanpercentile(row, share) if np.isfinite(row).any() else np.nan for row in values])
        axes.plot(rounds, shown, style, marker="o", markersize=4, linewidth=1.3, zorder=3, label=label)
    axes.axhline(
        limit_mev_per_atom, color="0.4", linestyle="--", linewidth=0.9, label=f"{limit_mev_per_atom:g} meV/atom"
    )
    axes.set_yscale("log")
    axes.set(xlabel="round", ylabel="uncertainty of the energy (meV/atom)")
    ticks = rounds if len(rounds) <= 12 else rounds[:: int(np.ceil(len(rounds) / 12))]
    axes.set_xticks(ticks, [f"{tick}\n{n_labels[tick - 1]} labels" if len(ticks) <= 8 else f"{tick}" for tick in ticks])
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    return figure


def scatter_by_role(axes: Axes, xy: np.ndarray, shown: np.ndarray, role_of: np.ndarray) -> None:
    """Draw the points that are `shown`, with a marker for each role; all of shape (n, …)."""
    for role, marker in MARKERS.items():
        of_role = shown & (role_of == role)
        if of_role.any():
            axes.scatter(
                xy[of_role, 0],
                xy[of_role, 1],
                marker=marker,
                s=40,
                c=FILLS[role],
                edgecolors="black",
                linewidths=0.7,
                zorder=3,
                clip_on=False,  # whole markers at κ = 0
                label=f"{ROLE_NAMES[role]} (n = {of_role.sum()})",
            )


def known_roles(roles: Sequence[str]) -> np.ndarray:
    """Return roles as an array; one without a marker of its own counts as none."""
    return np.array([role if role in MARKERS else "" for role in roles], dtype=str)


def _key(marker: str, colour: str, label: str, size: float = 6.5, edge: str = "black") -> Line2D:
    return Line2D(
        [], [], linestyle="none", marker=marker, markersize=size, markerfacecolor=colour, markeredgecolor=edge,
        markeredgewidth=0.7, label=label,
    )  # fmt: skip


def mark_ultrahigh(axes: Axes, vertical: bool) -> None:
    """Draw a dashed line at the limit of ultrahigh κ, where the axis reaches it."""
    low, high = axes.get_xlim() if vertical else axes.get_ylim()
    if low < ULTRAHIGH_KAPPA_W_PER_MK < high:
        line = axes.axvline if vertical else axes.axhline
        line(
            ULTRAHIGH_KAPPA_W_PER_MK, color="0.4", linestyle="--", linewidth=0.9, zorder=1, label="limit of ultrahigh κ"
        )


def _bins(largest: float) -> np.ndarray:
    """At most about thirty bins from zero, one edge of which is the limit of ultrahigh κ."""
    parts = next((parts for parts in (64, 32, 16, 8, 4, 2, 1) if largest * parts <= 32 * ULTRAHIGH_KAPPA_W_PER_MK), 1)
    width = ULTRAHIGH_KAPPA_W_PER_MK / parts
    return width * np.arange(np.floor(largest / width) + 2)


def _colour_limits(kappa: np.ndarray) -> tuple[float, float]:
    """From zero, so that a colour means the same ratio in every map of one run."""
    return (0.0, round_up(float(kappa.max()))) if len(kappa) else (0.0, 1.0)


def round_up(value: float) -> float:
    """Return the next value with two digits, so that axes end on a round number."""
    if value <= 0:
        return 1.0
    step = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(np.ceil(value / step) * step)


def _shortened(name: str, length: int = 28) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"

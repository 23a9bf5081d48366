"""Figures of what became of generated crystals: how far relaxation moved them, how many are unique and novel."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kappaforge.report.canvas import empty, new_row, styled

SHOWN_PERCENT = 99.0
"""Share of the values that a violin's axis holds: a few cells that came far would squeeze all others into a line."""

FEW = 5
"""Fewer values than these are drawn as points: they have no density worth the name."""


@styled
def deviations_figure(lengths: np.ndarray, angles: np.ndarray, fractional: np.ndarray) -> Figure:
    """Draw how far relaxation moved crystals from where they were generated, as violins (paper, Fig. 2a-c).

    Parameters
    ----------
    lengths, angles
        Relative changes of the three lattice lengths and angles, shape (n_crystals, 3).
    fractional
        Changes of the fractional coordinates, shape (n_atoms, 3).
    """
    if not len(lengths):
        return empty("No generated crystal has been relaxed yet")
    figure, panels = new_row((9.6, 3.6), 3)
    _violins(panels[0], 100 * lengths, ("a", "b", "c"), "change of the lattice lengths (%)")
    _violins(panels[1], 100 * angles, ("α", "β", "γ"), "change of the lattice angles (%)")
    _violins(panels[2], fractional, ("x", "y", "z"), "change of the fractional coordinates (1)")
    panels[0].set_title(f"{len(lengths)} crystals")
    panels[2].set_title(f"{len(fractional)} atoms")
    return figure


def _violins(axes: Axes, values: np.ndarray, names: tuple[str, ...], label: str) -> None:
    columns = [column[np.isfinite(column)] for column in np.asarray(values, dtype=float).T]
    places = np.arange(1, len(names) + 1)
    for place, column in zip(places, columns, strict=True):
        if len(column) < FEW or np.ptp(column) < 1e-9:
            axes.plot(np.full(len(column), place), column, "o", color="0.4", markersize=4)
            continue
        parts = axes.violinplot(column, [place], widths=0.8, showextrema=False)
        for body in parts["bodies"]:  # type: ignore[attr-defined]
            body.set(facecolor="0.8", edgecolor="0.25", alpha=1.0, linewidth=0.8)
        low, middle, high = np.percentile(column, (25, 50, 75))
        axes.vlines(place, low, high, color="0.25", linewidth=4)
        axes.plot(place, middle, "o", color="white", markeredgecolor="black", markersize=5, zorder=3)
    axes.axhline(0, color="0.5", linewidth=0.7, zorder=0)
    axes.set_xticks(places, names)
    axes.set(ylabel=label, xlim=(0.4, len(names) + 0.6))
    everything = np.abs(np.concatenate(columns))
    reach = float(np.percentile(everything, SHOWN_PERCENT)) * 1.1
    if reach > 0:
        axes.set_ylim(-reach, reach)
    beyond = float((everything > reach).mean()) if reach > 0 else 0.0
    mean = float(everything.mean())
    unit = " %" if "%" in label else ""
    outside = f"; {beyond:.1%} lie outside" if beyond else ""
    axes.set_xlabel(f"mean of the size {mean:.2g}{unit}{outside}")


@styled
def growth_figure(n_unique: np.ndarray, n_novel: np.ndarray) -> Figure:
    """Draw how unique and novel crystals grow with what is generated, in numbers and as shares (paper, Fig. 2e).

    Parameters
    ----------
    n_unique, n_novel
        Unique crystals, and those of them that are novel, among the first 1, 2, … generated ones, shape
        (n_generated,).
    """
    if not len(n_unique):
        return empty("No crystal has been generated yet")
    figure, (numbers, shares) = new_row((8.4, 3.6), 2)
    generated = np.arange(1, len(n_unique) + 1)
    for name, counts, style in (("unique", n_unique, "k-"), ("unique and novel", n_novel, "k--")):
        numbers.plot(generated, counts, style, linewidth=1.3, label=f"{name} ({int(counts[-1])})")
        shares.plot(generated, 100 * np.asarray(counts) / generated, style, linewidth=1.3, label=name)
    numbers.plot(generated, generated, color="0.7", linewidth=0.9, zorder=1, label="generated")
    numbers.set(xlabel="generated crystals", ylabel="number of crystals", ylim=(0, max(1, 1.15 * int(n_unique[-1]))))
    shares.set(xlabel="generated crystals", ylabel="share of the generated crystals (%)", ylim=(0, 105))
    for axes in (numbers, shares):
        axes.set_xlim(0, max(len(generated), 2))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    numbers.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=2)
    shares.legend(loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=2)
    return figure

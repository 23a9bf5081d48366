"""What all figures share: the style, an empty canvas, and files that do not change from run to run."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kappaforge.files import replacing

styled = matplotlib.rc_context(
    {
        "svg.hashsalt": "kappaforge",  # without it the ids inside an SVG change from run to run
        "font.family": "DejaVu Sans",  # shipped with matplotlib: the same text on every machine
        "font.size": 9.0,
        "axes.titlesize": 10.0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "hatch.linewidth": 0.8,
    }
)
"""Decorates every function that draws or writes."""


@styled
def save(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Write ``stem.png`` and ``stem.svg``, the same bytes for the same figure; return their paths."""
    # not with_suffix, which would cut off what follows a dot in a crystal's name
    paths = stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.svg")
    for path, metadata in zip(paths, ({"Software": None}, {"Date": None}), strict=True):
        with replacing(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=200, metadata=metadata)
        figure.set_layout_engine("none")  # it is laid out now: half of the time
    return paths


def new_axes(size_inches: tuple[float, float]) -> tuple[Figure, Axes]:
    """Return an empty figure of that size and its axes."""
    figure = Figure(figsize=size_inches, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def new_row(size_inches: tuple[float, float], n: int) -> tuple[Figure, list[Axes]]:
    """Return an empty figure of that size and `n` axes beside each other."""
    figure = Figure(figsize=size_inches, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, n, squeeze=False)[0])


@styled
def empty(message: str) -> Figure:
    """Return a figure that says why there is nothing in it."""
    figure, axes = new_axes((6.4, 2.0))
    axes.set_axis_off()
    axes.text(0.5, 0.5, message, ha="center", va="center", fontsize=12, color="0.35", transform=axes.transAxes)
    return figure

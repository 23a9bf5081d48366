"""Names beside the points of a plot, placed so that none hides another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import Bbox

DIRECTIONS = tuple((np.cos(angle), np.sin(angle)) for angle in np.linspace(0, 2 * np.pi, 16, endpoint=False))
DISTANCES_POINTS = (9, 14, 20, 28, 38, 50, 65, 85, 110)
MARKER_RADIUS_POINTS = 4.5


def name_points(axes: Axes, xy: np.ndarray, names: Sequence[str], marked: np.ndarray) -> list[Bbox]:
    """Write a name beside each point, joined to it by a thin line.

    Each name takes the nearest place, going round its point, that lies within the axes and covers neither a name
    or line placed before nor a marker; a name for which there is no such place is left out.

    Parameters
    ----------
    axes
        With its final limits and size.
    xy
        The points in data coordinates, shape (n, 2); those that are not finite get no name.
    names
        One for each point; empty for none.
    marked
        Where a marker stands that must stay visible, shape (n,), bool.

    Returns
    -------
    list of Bbox
        The names' boxes in pixels, in the order of placing.
    """
    canvas = FigureCanvasAgg(axes.get_figure(root=True))
    canvas.draw()
    renderer = canvas.get_renderer()
    pixels_per_point = canvas.figure.dpi / 72
    frame = axes.get_window_extent(renderer)
    finite = np.isfinite(xy).all(axis=1)
    wanted = finite & np.array([bool(name) for name in names], dtype=bool)
    markers = axes.transData.transform(xy[finite & (marked | wanted)])
    radius = MARKER_RADIUS_POINTS * pixels_per_point
    taken: list[Bbox] = []
    lines: list[Path] = []
    for index in np.flatnonzero(wanted).tolist():
        label = axes.annotate(
            names[index],
            xy=(float(xy[index, 0]), float(xy[index, 1])),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=8,
            ha="center",
            va="center",
            zorder=6,
            arrowprops={"arrowstyle": "-", "linewidth": 0.6, "color": "0.25", "shrinkA": 0, "shrinkB": 3},
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        )
        size = Text.get_window_extent(label, renderer)
        half = np.array([size.width, size.height]) / 2 + pixels_per_point
        anchor = axes.transData.transform(xy[index])
        for offset in _offsets(half / pixels_per_point):
            centre = anchor + offset * pixels_per_point
            box = Bbox([centre - half, centre + half])
            line = Path(np.array([anchor, centre]))
            crossed = any(line.intersects_bbox(other) for other in taken) or any(
                other.intersects_bbox(box) for other in lines
            )
            if not crossed and _is_free(box, frame, taken, markers, radius):
                label.set_position((float(offset[0]), float(offset[1])))
                taken.append(box)
                lines.append(line)
                break
        else:
            label.remove()
    return taken


def _offsets(half_size_points: np.ndarray) -> list[np.ndarray]:
    """Centres to try, nearest first, so that the box's edge (not its centre) is at the distance wanted."""
    return [
        np.array([x, y]) * distance + half_size_points * np.array([x, y])
        for distance in DISTANCES_POINTS
        for x, y in DIRECTIONS
    ]


def _is_free(box: Bbox, frame: Bbox, taken: list[Bbox], markers: np.ndarray, radius: float) -> bool:
    inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
    if not inside or any(box.overlaps(other) for other in taken):
        return False
    near = (markers > np.array(box.min) - radius) & (markers < np.array(box.max) + radius)
    return not near.all(axis=1).any()

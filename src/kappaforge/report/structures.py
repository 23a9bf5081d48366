"""Crystals as they are drawn: in conventional cells, as balls and sticks seen from afar."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import spglib
from ase import Atoms
from ase.data import covalent_radii
from ase.data.colors import jmol_colors
from ase.neighborlist import natural_cutoffs, neighbor_list
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kappaforge.bonds import NEIGHBOUR_RADII
from kappaforge.crystal import Crystal
from kappaforge.report.canvas import FigureCanvasAgg, empty, styled
from kappaforge.spglib_answer import or_none

SYMPREC_ANG = 0.01
"""Tolerance for the conventional cell that is drawn."""
REACH_ANG = 7.0
"""Cells are repeated along each direction until they are about so long."""
MOST_ATOMS = 220
"""In one drawing, before the ends of the box are closed."""
BALL_RADIUS = 0.30
"""Of an atom's covalent radius."""
STICK_ANG = 0.20
SIDEWAYS, ABOVE = 0.22, 0.14
SMALL_PIECE = 0.25
"""Of the largest connected piece: smaller ones are ends that the box has cut off."""
SCALE_BAR_ANG = 2.0
FOG = 0.62
"""How far the farthest atoms fade towards the white ground."""
_CIRCLE = np.column_stack([f(np.linspace(0, 2 * np.pi, 28, endpoint=False)) for f in (np.cos, np.sin)])


def conventional(crystal: Crystal) -> Atoms:
    """Return a crystal in its conventional cell, which shows more than a slanted primitive one, atoms inside."""
    standard = or_none(
        spglib.standardize_cell,
        (crystal.cell.tolist(), crystal.fractional.tolist(), crystal.numbers.tolist()),
        no_idealize=True,
        symprec=SYMPREC_ANG,
    )
    if standard is None:  # no symmetry could be determined
        atoms = crystal.to_ase()
    else:
        cell, fractional, numbers = standard
        atoms = Atoms(numbers=numbers, scaled_positions=fractional, cell=cell, pbc=True)
    atoms.wrap(eps=1e-6)
    return atoms


@styled
def structures_figure(crystals: Sequence[Crystal], titles: Sequence[str]) -> Figure:
    """Draw crystals beside each other, with their conventional cells (paper, Fig. 4).

    Parameters
    ----------
    crystals
        In any of their cells.
    titles
        What stands above each.
    """
    if not crystals:
        return empty("κ of no crystal is known yet")
    columns = min(3, len(crystals))
    rows = -(-len(crystals) // columns)
    figure = Figure(figsize=(3.4 * columns, 3.7 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, crystal, title in zip(panels, crystals, titles, strict=False):
        _draw(axes, conventional(crystal))
        axes.set_title(title, fontsize=8.5)
    for axes in panels:
        axes.set_axis_off()
    numbers = sorted({int(number) for crystal in crystals for number in crystal.numbers})
    if len(numbers) > 1:
        figure.legend(handles=[_legend(number) for number in numbers], loc="outside lower center", ncols=8)
    return figure


def _draw(axes: Axes, atoms: Atoms) -> None:
    """Draw atoms, bonds and the cell, the far ones first and paler."""
    cell = atoms.cell.array
    box, first, second = _bonded(_closed(atoms))
    view = _view(cell)
    flat = box.positions @ view
    radii = BALL_RADIUS * covalent_radii[box.numbers]
    colours = np.array([_colour(number) for number in box.numbers])
    far, near = flat[:, 2].min(), flat[:, 2].max()

    def faded(colour: np.ndarray, depth: float) -> np.ndarray:
        pale = FOG * (near - depth) / max(near - far, 1e-9)
        return (1 - pale) * colour + pale

    drawn = [
        (depth, radius * _CIRCLE + (x, y), faded(colour, depth), faded(np.zeros(3), depth))
        for (x, y, depth), radius, colour in zip(flat, radii, colours, strict=True)
    ]
    for one, other in zip(first, second, strict=True):
        if one < other:
            ends = flat[[one, other]]
            depth = float(ends[:, 2].mean()) - 0.05  # below the ball at its nearer end
            shade = faded(np.full(3, 0.55), depth)
            drawn.append((depth, _stick(ends[:, :2]), shade, faded(np.full(3, 0.3), depth)))
    drawn.sort(key=lambda each: each[0])
    _, outlines, faces, edges = zip(*drawn, strict=True)
    axes.add_collection(PolyCollection(outlines, facecolors=faces, edgecolors=edges, linewidths=0.5, zorder=2))
    corners = np.indices((2, 2, 2)).reshape(3, -1).T
    for corner in corners:
        for axis in range(3):
            if not corner[axis]:
                ends = np.array([corner, corner + np.eye(3)[axis]]) @ cell @ view
                axes.plot(ends[:, 0], ends[:, 1], color="black", linewidth=0.8, linestyle=(0, (3, 2)), zorder=3)
    left, low = flat[:, 0].min(), flat[:, 1].min() - 1.6
    axes.plot([left, left + SCALE_BAR_ANG], [low, low], color="black", linewidth=1.5)
    axes.text(left + SCALE_BAR_ANG + 0.3, low, f"{SCALE_BAR_ANG:g} Å", va="center", fontsize=8)
    axes.set_aspect("equal")
    axes.autoscale_view()


def _closed(atoms: Atoms) -> Atoms:
    """Repeat a cell to about `REACH_ANG`, with the atoms of the far faces, and forget that it is periodic."""
    heights = 1 / np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)
    times = np.maximum(1, np.rint(REACH_ANG / heights)).astype(int)
    while times.prod() * len(atoms) > MOST_ATOMS and times.max() > 1:
        times[np.argmax(np.where(times > 1, times * heights, 0))] -= 1
    images = np.indices(times + 1).reshape(3, -1).T
    fractional = (atoms.get_scaled_positions(wrap=False)[None] + images[:, None]).reshape(-1, 3)
    inside = (fractional < times + 1e-4).all(axis=1)
    numbers = np.tile(atoms.numbers, len(images))[inside]
    return Atoms(numbers=numbers, positions=fractional[inside] @ atoms.cell.array, cell=atoms.cell, pbc=False)


def _bonded(box: Atoms) -> tuple[Atoms, np.ndarray, np.ndarray]:
    """Return atoms and the pairs that are bonded, without the small pieces that the box has cut off."""
    first, second = neighbor_list("ij", box, natural_cutoffs(box, mult=NEIGHBOUR_RADII))
    bonds = coo_array((np.ones(len(first)), (first, second)), shape=(len(box), len(box)))
    _, piece = connected_components(bonds, directed=False)
    sizes = np.bincount(piece)
    kept = np.flatnonzero(sizes[piece] >= SMALL_PIECE * sizes.max())
    within = np.isin(first, kept)
    return box[kept], np.searchsorted(kept, first[within]), np.searchsorted(kept, second[within])


def _view(cell: np.ndarray) -> np.ndarray:
    """Return what turns positions to right, up and towards the eye.

    The eye looks along the shortest cell vector, along which most shows of a crystal, a little from the side and from
    above; the longest one goes up.
    """
    lengths = np.linalg.norm(cell, axis=1)
    near, side, high = (axis / length for axis, length in zip(cell[np.argsort(lengths)], np.sort(lengths), strict=True))
    up = high - (high @ near) * near
    up /= np.linalg.norm(up)
    right = np.cross(up, near)
    right *= np.sign(right @ side)  # and with it the side that the eye is on
    towards = np.cross(right, up) + SIDEWAYS * right + ABOVE * up
    towards /= np.linalg.norm(towards)
    right = np.cross(up, towards)
    right /= np.linalg.norm(right)
    return np.column_stack([right, np.cross(towards, right), towards])


def _stick(ends: np.ndarray) -> np.ndarray:
    along = ends[1] - ends[0]
    length = np.linalg.norm(along)
    across = np.array([-along[1], along[0]]) / max(float(length), 1e-9) * STICK_ANG / 2
    return np.array([ends[0] + across, ends[1] + across, ends[1] - across, ends[0] - across])


def _colour(number: int) -> np.ndarray:
    return np.asarray(jmol_colors[number], dtype=float)


def _legend(number: int) -> Line2D:
    return Line2D(
        [], [], linestyle="none", marker="o", markeredgecolor="black", markerfacecolor=_colour(number).tolist(),
        markersize=16 * BALL_RADIUS * float(covalent_radii[number]) / 0.3, label=Atoms([number]).get_chemical_formula(),
    )  # fmt: skip

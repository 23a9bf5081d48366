"""The figures over plain arrays: what they show, and that they say so where there is nothing to show."""

import re
import sys
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.report.canvas import save
from kappaforge.report.figures import (
    ULTRAHIGH_KAPPA_W_PER_MK,
    crystal_map,
    kappa_histogram,
    kappa_over_density,
    kappa_ranking,
    uncertainty_evolution,
)
from kappaforge.report.structures import conventional, structures_figure

NOTHING = np.array([np.nan])


def texts_of(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts if text.get_text()]


def map_of(rng, n=120, n_named=12):
    roles = ["benchmark"] * 30 + ["neighbour"] * 30 + [""] * (n - 60)
    kappa = np.where(np.arange(n) < 60, rng.uniform(5, 2500, n), np.nan)
    names = [f"known-{index}" if index < n_named else "" for index in range(n)]
    return crystal_map(rng.normal(size=(n, 2)), kappa, roles, names)


def test_map_labels_do_not_overlap_and_stay_in_the_axes(rng):
    figure = map_of(rng)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    axes = figure.axes[0]
    labels = [text for text in axes.texts if isinstance(text, Annotation)]
    assert len(labels) == 12
    boxes = [super(Annotation, label).get_window_extent(canvas.get_renderer()) for label in labels]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    frame = axes.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1 for box in boxes)


def test_map_leaves_out_names_for_which_there_is_no_place():
    n = 400
    figure = crystal_map(
        np.zeros((n, 2)), np.full(n, 100.0), ["benchmark"] * n, [f"a rather long name {i}" for i in range(n)]
    )
    assert 0 < len(texts_of(figure)) < n


def test_map_colours_every_known_kappa_on_one_scale(rng):
    figure = map_of(rng)
    coloured = [points for points in figure.axes[0].collections if points.get_array() is not None]
    assert sum(len(points.get_array()) for points in coloured) == 60
    assert len({points.get_clim() for points in coloured}) == 1
    assert coloured[0].get_clim()[0] == 0


def test_map_draws_each_crystal_once(rng):
    figure = map_of(rng)
    assert sum(len(points.get_offsets()) for points in figure.axes[0].collections) == 120


def test_map_draws_crystals_of_a_role_it_does_not_know(rng):
    figure = crystal_map(rng.normal(size=(3, 2)), np.array([1.0, 2.0, np.nan]), ["of the user"] * 3, [""] * 3)
    assert sum(len(points.get_offsets()) for points in figure.axes[0].collections) == 3


def test_histogram_counts_every_crystal_and_has_an_edge_at_the_limit():
    benchmarks, neighbours = np.array([10.0, 799.0, 801.0, 2573.0]), np.array([900.0, np.nan])
    axes = kappa_histogram({"benchmark": benchmarks, "neighbour": neighbours}).axes[0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert "benchmark (n = 4, 50% ultrahigh)" in labels
    assert "neighbour (n = 1, 100% ultrahigh)" in labels
    edges = np.unique(np.concatenate([patch.get_xy()[:, 0] for patch in axes.patches]))
    assert ULTRAHIGH_KAPPA_W_PER_MK in edges
    assert edges[0] <= 10.0
    assert edges[-1] >= 2573.0


@pytest.mark.parametrize("largest", [0.02, 3.0, 45.0, 800.0, 5000.0, 60000.0])
def test_histogram_behaves_at_any_size_of_kappa(largest):
    axes = kappa_histogram({"": np.array([largest / 2, largest])}).axes[0]
    heights = axes.patches[0].get_xy()[:, 1]
    assert heights.max() in (1, 2)
    assert axes.get_xlim()[1] >= largest


def test_ranking_shows_the_best_first_and_no_more_than_its_limit(rng):
    eigenvalues = rng.uniform(1, 2000, size=(40, 3))
    eigenvalues[3] = np.nan
    axes = kappa_ranking([f"c{index}" for index in range(40)], eigenvalues, limit=10).axes[0]
    shown = [label.get_text() for label in axes.get_yticklabels()]
    largest = np.nan_to_num(eigenvalues.max(axis=1))
    assert shown == [f"c{index}" for index in np.argsort(-largest)[:10]]
    assert axes.yaxis_inverted()


def test_ranking_has_room_for_long_names():
    figure = kappa_ranking(["C-148219-4273-38 (graphite-3R)"] * 25, np.tile([1.0, 2.0, 2569.0], (25, 1)))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    page = figure.bbox
    for box in (*(legend.get_window_extent() for legend in figure.legends), figure.axes[0].get_tightbbox()):
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
        assert page.y0 <= box.y0
        assert box.y1 <= page.y1


EMPTY = {
    "map": lambda: crystal_map(np.full((1, 2), np.nan), NOTHING, [""], [""]),
    "map without crystals": lambda: crystal_map(np.empty((0, 2)), np.empty(0), [], []),
    "histogram": lambda: kappa_histogram({"benchmark": NOTHING, "neighbour": np.empty(0)}),
    "ranking": lambda: kappa_ranking(["a"], np.full((1, 3), np.nan)),
    "ranking without crystals": lambda: kappa_ranking([], np.empty((0, 3))),
    "density": lambda: kappa_over_density(np.array([3.5]), NOTHING, [""], [""]),
}


@pytest.mark.parametrize("case", EMPTY)
def test_figures_say_that_there_is_nothing_rather_than_showing_empty_axes(case):
    figure = EMPTY[case]()
    assert re.search(r"\byet$", texts_of(figure)[0])
    assert not any(axes.axison for axes in figure.axes)


ONE = {
    "map": lambda: crystal_map(np.zeros((1, 2)), np.array([2573.0]), ["benchmark"], ["diamond"]),
    "map without κ": lambda: crystal_map(np.zeros((1, 2)), NOTHING, [""], ["diamond"]),
    "histogram": lambda: kappa_histogram({"benchmark": np.array([2573.0])}),
    "ranking": lambda: kappa_ranking(["diamond"], np.full((1, 3), 2573.0)),
    "density": lambda: kappa_over_density(np.array([3.5]), np.array([2573.0]), ["benchmark"], ["diamond"]),
}


@pytest.mark.parametrize("case", ONE)
def test_figures_of_one_crystal_have_units_on_every_axis(case, tmp_path):
    figure = ONE[case]()
    axes = figure.axes[0]
    labels = [axes.get_xlabel(), axes.get_ylabel()]
    units = r"\((W/\(m·K\)|g/cm³|arbitrary units)\)|number of crystals"
    assert all(re.search(units, label) for label in labels if label)
    assert labels[0]
    assert labels[1] or case == "ranking"
    png, svg = save(figure, tmp_path / "figure")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "<svg" in svg.read_text(encoding="utf-8")[:500]


def test_saved_figures_are_the_same_bytes_and_bear_no_date(tmp_path):
    contents = [
        [path.read_bytes() for path in save(map_of(np.random.default_rng(3)), tmp_path / name)] for name in ("a", "b")
    ]
    assert contents[0] == contents[1]
    assert b"<dc:date>" not in contents[0][1]


def test_figures_leave_pyplot_alone():
    """A figure made through pyplot stays in memory, and its state would leak into a user's notebook."""
    ONE["map"]()
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_uncertainty_is_drawn_for_every_round_and_crystal(rng):
    values = rng.uniform(5, 60, (6, 20)) * np.array([0.7**turn for turn in range(6)])[:, None]
    values[:3, 12:] = np.nan  # neighbours come into question later
    figure = uncertainty_evolution([100 + 8 * turn for turn in range(6)], values, 15.0)
    axes = figure.axes[0]
    largest = next(line for line in axes.lines if line.get_label() == "largest")
    assert np.allclose(largest.get_ydata(), np.nanmax(values, axis=1))
    assert axes.get_ylabel() == "uncertainty of the energy (meV/atom)"
    assert "15 meV/atom" in [text.get_text() for text in axes.get_legend().get_texts()]


def test_uncertainty_that_is_infinite_leaves_a_gap():
    figure = uncertainty_evolution([8, 16], np.array([[np.inf, 20.0], [10.0, 9.0]]), 15.0)
    largest = next(line for line in figure.axes[0].lines if line.get_label() == "largest")
    assert largest.get_ydata().tolist() == [20.0, 10.0]
    assert texts_of(uncertainty_evolution([8], np.array([[np.inf]]), 15.0)) == ["No committee was asked"]


def test_every_known_carbon_is_drawn_with_all_its_atoms():
    """Long cells among them, such as those of the polytypes 15R."""
    crystals = [entry.crystal for entry in known_carbons()]
    assert max(conventional(crystal).cell.lengths().max() for crystal in crystals) > 30
    for crystal in crystals:
        (axes,) = structures_figure([crystal], [crystal.id]).axes
        (drawn,) = (each for each in axes.collections if isinstance(each, PolyCollection))
        assert len(drawn.get_paths()) >= len(conventional(crystal)), crystal.id

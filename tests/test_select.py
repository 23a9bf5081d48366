"""Selection: farthest points and nearest neighbours against brute-force loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kappaforge.errors import InputError
from kappaforge.select.farthest import farthest_points
from kappaforge.select.neighbours import nearest_neighbours
from kappaforge.select.settings import SelectSettings

# Small whole numbers make duplicates and ties common, and all squared distances exact.
POINTS = hnp.arrays(np.float64, st.tuples(st.integers(1, 14), st.integers(1, 3)), elements=st.integers(-3, 3))


def squared(a, b):
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def farthest_by_loops(points, n, chosen, first):
    """Farthest-point sampling as its definition says, without a thought about speed."""
    taken, picks = list(dict.fromkeys(chosen)), []
    while len(picks) < n and len(taken) < len(points):
        left = [i for i in range(len(points)) if i not in taken]
        if not picks and first is not None:
            pick = first
        elif not taken:
            centre = points.mean(axis=0)
            pick = max(left, key=lambda i: (np.linalg.norm(points[i] - centre), -i))
        else:
            pick = max(left, key=lambda i: (min(squared(points[i], points[j]) for j in taken), -i))
        picks.append(pick)
        taken.append(pick)
    return picks


@settings(max_examples=150, deadline=None)
@given(points=POINTS, n=st.integers(0, 20), data=st.data())
def test_farthest_points_equal_the_brute_force_loop(points, n, data):
    indices = st.integers(0, len(points) - 1)
    chosen = data.draw(st.lists(indices, max_size=5))
    first = data.draw(st.none() | indices.filter(lambda i: i not in chosen)) if len(set(chosen)) < len(points) else None
    centre = points.mean(axis=0)
    rim = np.linalg.norm(points - centre, axis=1)
    if not chosen and first is None and np.sum(np.isclose(rim, rim.max(), atol=1e-9)) > 1:
        first = 0  # the mean is rounded, so which of equally far points comes first is not the loop's to say
    expected = farthest_by_loops(points, n, chosen, first)
    assert farthest_points(points, n, chosen, first).tolist() == expected


def test_farthest_points_start_at_the_rim_and_cover_a_line():
    points = np.array([[0.0], [1.0], [2.0], [3.0], [10.0]])
    assert farthest_points(points, 3).tolist() == [4, 0, 3]
    assert farthest_points(points, 2, chosen=[4, 0]).tolist() == [3, 1]


def test_farthest_points_never_return_an_index_twice_among_duplicates():
    assert sorted(farthest_points(np.zeros((6, 2)), 10)) == list(range(6))


def test_farthest_points_of_nothing_are_none():
    assert farthest_points(np.zeros((0, 3)), 5).shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": -1}, "n must be 0 or more, got -1"),
        ({"n": 1, "chosen": [3]}, r"indices must lie in 0\.\.2, got \[3\]"),
        ({"n": 1, "first": -1}, r"indices must lie in 0\.\.2"),
        ({"n": 1, "chosen": [1], "first": 1}, "the first pick, 1, is chosen already"),
    ],
)
def test_farthest_points_name_the_bad_argument(arguments, message):
    with pytest.raises(InputError, match=message):
        farthest_points(np.zeros((3, 2)), **arguments)


@settings(max_examples=150, deadline=None)
@given(points=POINTS, k=st.integers(0, 16), data=st.data())
def test_nearest_neighbours_equal_the_brute_force_loop(points, k, data):
    indices = st.lists(st.integers(0, len(points) - 1), max_size=6)
    queries, exclude = data.draw(indices), data.draw(indices)
    found = nearest_neighbours(points, queries, k, exclude)
    assert found.shape == (len(queries), k)
    for row, query in zip(found.tolist(), queries, strict=True):
        candidates = [i for i in range(len(points)) if i != query and i not in exclude]
        nearest = sorted(candidates, key=lambda i: (squared(points[i], points[query]), i))[:k]
        assert row == nearest + [-1] * (k - len(nearest))


def test_nearest_neighbours_equal_scikit_learn(rng):
    from sklearn.neighbors import NearestNeighbors

    points = rng.normal(size=(300, 40))
    queries = rng.choice(300, 20, replace=False)
    expected = NearestNeighbors(n_neighbors=11).fit(points).kneighbors(points[queries], return_distance=False)
    assert np.array_equal(nearest_neighbours(points, queries, 10), expected[:, 1:])


@pytest.mark.parametrize(("queries", "k", "exclude"), [([3], 1, []), ([-1], 1, []), ([0], 1, [7]), ([0], -1, [])])
def test_nearest_neighbours_refuse_indices_outside(queries, k, exclude):
    with pytest.raises(InputError, match="nearest_neighbours"):
        nearest_neighbours(np.zeros((3, 2)), queries, k, exclude)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("benchmarks", -1),
        ("benchmarks", 2.5),
        ("neighbours", "ten"),
        ("ultrahigh_kappa_w_per_mk", float("nan")),
        ("known", "diamond"),
        ("known", (1,)),
    ],
)
def test_select_settings_name_the_bad_field(field, value):
    with pytest.raises(InputError, match=f"select.{field}: expected .*, got "):
        SelectSettings(**{field: value})

"""The t-SNE map: scikit-learn's, deterministic, and defined for any number of points."""

import warnings

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from kappaforge.describe.map import tsne_map
from kappaforge.describe.settings import DescribeSettings

PAPER = DescribeSettings()


def test_map_is_bit_identical_for_the_same_seed(rng):
    features = rng.normal(size=(80, 20))
    assert np.array_equal(tsne_map(features, PAPER, seed=3), tsne_map(features.copy(), PAPER, seed=3))


def test_map_keeps_clusters_apart(rng):
    cluster = np.repeat([0, 1, 2], 30)
    features = rng.normal(size=(90, 15)) + 20.0 * np.eye(15)[cluster]
    mapped = tsne_map(features, PAPER, seed=0)
    assert trustworthiness(features, mapped, n_neighbors=5) > 0.9
    centres = np.array([mapped[cluster == i].mean(axis=0) for i in range(3)])
    nearest = np.linalg.norm(mapped[:, None] - centres, axis=-1).argmin(axis=1)
    assert np.array_equal(nearest, cluster)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 12, 31])
@pytest.mark.parametrize("n_features", [1, 2, 7])
def test_map_of_few_points_is_finite_and_quiet(rng, n, n_features):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mapped = tsne_map(rng.normal(size=(n, n_features)), PAPER, seed=1)
    assert mapped.shape == (n, 2)
    assert mapped.dtype == np.float64
    assert np.isfinite(mapped).all()
    assert len(np.unique(mapped, axis=0)) == n


@pytest.mark.parametrize("n", [2, 5, 40])
def test_equal_points_share_one_place(n):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mapped = tsne_map(np.ones((n, 4)), PAPER, seed=1)
    assert not mapped.any()


def test_three_points_keep_their_distances():
    features = np.array([[0.0, 0.0, 5.0], [3.0, 0.0, 5.0], [0.0, 4.0, 5.0]])
    mapped = tsne_map(features, PAPER, seed=1)
    assert np.linalg.norm(mapped[1] - mapped[2]) == pytest.approx(5.0)
    assert np.linalg.norm(mapped[0] - mapped[2]) == pytest.approx(4.0)


def test_perplexity_is_at_most_a_third_of_the_other_points(rng):
    features = rng.normal(size=(31, 6))
    assert np.array_equal(tsne_map(features, PAPER, 0), tsne_map(features, DescribeSettings(perplexity=99.0), 0))
    assert not np.array_equal(tsne_map(features, PAPER, 0), tsne_map(features, DescribeSettings(perplexity=5.0), 0))

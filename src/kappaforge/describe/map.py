"""A map of the crystals in the plane, similar ones side by side."""

from __future__ import annotations

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from kappaforge.describe.settings import DescribeSettings

FEWEST_FOR_TSNE = 4
"""Below this a perplexity of at least one neighbour is not possible."""


def tsne_map(features: np.ndarray, settings: DescribeSettings, seed: int) -> np.ndarray:
    """Return the t-SNE coordinates of each row of features (the paper's map: perplexity 10).

    The start is the plane of the two principal components. The perplexity is at most a third of the number of other
    points, as t-SNE needs. Fewer than four points, or points that are all the same, stay on the principal plane.

    Parameters
    ----------
    features
        Shape (n, n_features).
    settings
        The perplexity.
    seed
        The same seed gives the same map, bit for bit on the same machine.

    Returns
    -------
    np.ndarray
        Shape (n, 2), no unit.
    """
    with threadpool_limits(1):  # sums over threads end in different last digits
        plane = _principal_plane(features)
        spread = plane[:, 0].std() if len(plane) else 0.0
        if len(plane) < FEWEST_FOR_TSNE or spread == 0:
            return plane
        tsne = TSNE(
            perplexity=min(settings.perplexity, (len(features) - 1) / 3),
            init=(plane / spread * 1e-4).astype(np.float32),  # as small as scikit-learn's own start
            random_state=seed,
        )
        return np.asarray(tsne.fit_transform(features), dtype=np.float64)


def _principal_plane(features: np.ndarray) -> np.ndarray:
    n, n_features = features.shape
    plane = np.zeros((n, 2))
    if n > 1 and np.ptp(features, axis=0).any():
        n_components = min(2, n_features)
        plane[:, :n_components] = PCA(n_components, svd_solver="full").fit_transform(features)
    return plane

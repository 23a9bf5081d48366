"""Nearest neighbours in the space of the features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import cdist

from kappaforge.errors import InputError


def nearest_neighbours(features: np.ndarray, queries: Sequence[int], k: int, exclude: Sequence[int] = ()) -> np.ndarray:
    """Return the `k` nearest points (Euclidean) of each query, nearest first; of equally near ones the lowest index.

    A query is never its own neighbour. Every distance is computed: a tree gains nothing in the hundreds of dimensions
    of SOAP, and leaves ties to chance.

    Parameters
    ----------
    features
        Shape (n_points, n_features).
    queries
        Indices of the points whose neighbours are wanted, shape (n_queries,).
    k
        Number of neighbours.
    exclude
        Indices that are nobody's neighbour, such as crystals whose κ is known already.

    Returns
    -------
    np.ndarray
        Indices, shape (n_queries, k); -1 at the end of a row where there are fewer than `k` candidates.

    Raises
    ------
    InputError
        Where `k` is negative or an index is outside the features.
    """
    n_points = len(features)
    wanted = np.asarray(queries, dtype=np.int64)
    excluded = np.asarray(exclude, dtype=np.int64)
    named = np.concatenate([wanted, excluded])
    if len(named) and (named.min() < 0 or named.max() >= n_points):
        raise InputError(f"nearest_neighbours: indices must lie in 0..{n_points - 1}, got {named.tolist()}")
    if k < 0:
        raise InputError(f"nearest_neighbours: k must be 0 or more, got {k}")

    found = np.full((len(wanted), k), -1, dtype=np.int64)
    for row, query in zip(found, wanted, strict=True):
        distance = cdist(features[query][None, :], features)[0]
        distance[excluded] = np.inf
        distance[query] = np.inf
        nearest = np.argsort(distance, kind="stable")[:k]
        nearest = nearest[np.isfinite(distance[nearest])]
        row[: len(nearest)] = nearest
    return found

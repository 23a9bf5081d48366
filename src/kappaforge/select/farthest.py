"""Farthest-point sampling: the few that stand for the many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import cdist

from kappaforge.errors import InputError


def farthest_points(features: np.ndarray, n: int, chosen: Sequence[int] = (), first: int | None = None) -> np.ndarray:
    """Pick `n` points, each the farthest (Euclidean) from its nearest one among those picked before it.

    Of equally far points the lowest index is taken. Where nothing is chosen, the first pick is the point farthest from
    the mean of all, unless `first` names it: that depends on the set alone and starts at its rim, where the extremes
    are.

    Parameters
    ----------
    features
        Shape (n_points, n_features).
    n
        Number of new picks; all that are left where there are fewer.
    chosen
        Indices that count as picked already; they are not returned.
    first
        Index to pick first.

    Returns
    -------
    np.ndarray
        Indices in the order of picking, shape (min(n, n_points - n_chosen),); no index twice.

    Raises
    ------
    InputError
        Where `n` is negative, an index is outside the features, or `first` is chosen already.
    """
    if n < 0:
        raise InputError(f"farthest_points: n must be 0 or more, got {n}")
    n_points = len(features)
    start = np.unique(np.asarray(chosen, dtype=np.int64))
    named = start if first is None else np.append(start, first)
    if len(named) and (named.min() < 0 or named.max() >= n_points):
        raise InputError(f"farthest_points: indices must lie in 0..{n_points - 1}, got {named.tolist()}")
    if first is not None and first in start:
        raise InputError(f"farthest_points: the first pick, {first}, is chosen already")

    n_picks = min(n, n_points - len(start))
    picks: list[int] = []
    distance = np.full(n_points, np.inf)
    for index in start:
        distance = np.minimum(distance, _distances(features, features[index]))
    distance[start] = -np.inf  # never again, even among duplicates at distance zero
    while len(picks) < n_picks:
        if not picks and first is not None:
            pick = first
        elif not picks and not len(start):
            pick = int(np.argmax(_distances(features, features.mean(axis=0))))
        else:
            pick = int(np.argmax(distance))
        picks.append(pick)
        distance = np.minimum(distance, _distances(features, features[pick]))
        distance[pick] = -np.inf
    return np.array(picks, dtype=np.int64)


def _distances(features: np.ndarray, point: np.ndarray) -> np.ndarray:
    return cdist(features, point[None, :])[:, 0]

"""Are the crystals made like those of the data: coverage and distances between distributions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

from kappaforge.errors import InputError

CARBON_CUTOFF = 0.2
"""CDVAE's largest distance of fingerprints that counts as covered, for Carbon-24."""


@dataclass(frozen=True)
class Coverage:
    """How far crystals made and test crystals cover each other.

    Parameters
    ----------
    recall
        Fraction of the test crystals with a crystal made within the cutoff (COV-R).
    precision
        Fraction of the crystals made with a test crystal within the cutoff (COV-P).
    """

    recall: float
    precision: float


def coverage(
    made: Sequence[np.ndarray | None], test: Sequence[np.ndarray | None], cutoff: float = CARBON_CUTOFF
) -> Coverage:
    """Return COV-R and COV-P (arXiv 2110.06197, sec. 5.2) by structure; compositions are not compared.

    Parameters
    ----------
    made, test
        Fingerprints of all crystals, None for those without. One made without counts as far from everything; a test
        crystal without is left out, as nothing could cover it.
    cutoff
        Largest Euclidean distance of fingerprints that counts as covered.

    Raises
    ------
    InputError
        Where there are no crystals made, or no fingerprints of test crystals.
    """
    known = [fingerprint for fingerprint in test if fingerprint is not None]
    if not made or not known:
        raise InputError("coverage needs at least one crystal made and one test crystal with a fingerprint")
    found = [fingerprint for fingerprint in made if fingerprint is not None]
    if not found:
        return Coverage(0.0, 0.0)
    distances = cdist(np.array(found), np.array(known))
    recall = float((distances.min(axis=0) <= cutoff).mean())
    precision = float((distances.min(axis=1) <= cutoff).sum() / len(made))
    return Coverage(recall, precision)


def wasserstein(made: Sequence[float], test: Sequence[float]) -> float:
    """Return the first Wasserstein distance of two distributions, in their unit; NaN where one has no finite value."""
    one, other = (np.asarray(values, dtype=float) for values in (made, test))
    one, other = one[np.isfinite(one)], other[np.isfinite(other)]
    if not len(one) or not len(other):
        return float("nan")
    return float(wasserstein_distance(one, other))

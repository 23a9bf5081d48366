"""Do crystals come back: one by one, as CDVAE counts, and as a set, which polymorphs of one composition ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pymatgen.core.structure_matcher import StructureMatcher

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.generate.metrics.validity import structurally_valid
from kappaforge.similar import Library, reduced_crystals

LTOL, STOL, ANGLE_TOL_DEG = 0.3, 0.5, 10.0
"""CDVAE's tolerances of ``StructureMatcher``, which all later papers keep."""


@dataclass(frozen=True)
class MatchRate:
    """How many crystals were met, and how closely.

    Parameters
    ----------
    rate
        Fraction of the crystals that were met.
    rmse
        Mean RMS distance of those that were, in units of (volume per atom)^(1/3); NaN where none was.
    corrected_rmse
        Mean over all crystals, where one that was not met counts with the largest distance that matches, 0.5.
    n
        Number of crystals to meet.
    """

    rate: float
    rmse: float
    corrected_rmse: float
    n: int


def reconstruction(made: Sequence[Crystal | None], originals: Sequence[Crystal]) -> MatchRate:
    """Return the match rate one by one (arXiv 2110.06197, sec. 5.1).

    Parameters
    ----------
    made
        What each original was decoded to; None where nothing came out. Invalid crystals count as not matching.
    originals
        What was encoded.

    Raises
    ------
    InputError
        Where they differ in number, or there are none.
    """
    if len(made) != len(originals):
        raise InputError(f"expected one reconstruction for each of the {len(originals)} crystals, got {len(made)}")
    matcher = StructureMatcher(ltol=LTOL, stol=STOL, angle_tol=ANGLE_TOL_DEG)
    distances = [_distance(matcher, new, old) for new, old in zip(made, originals, strict=True)]
    return match_rate(distances)


def _distance(matcher: StructureMatcher, made: Crystal | None, original: Crystal) -> float | None:
    if made is None or not structurally_valid(made):
        return None
    try:
        found = matcher.get_rms_dist(made.to_pymatgen(), original.to_pymatgen())
    except ValueError:  # a cell too distorted for pymatgen to reduce
        return None
    return None if found is None else float(found[0])


def distances_to_nearest(references: Sequence[Crystal], made: Sequence[Crystal]) -> list[float | None]:
    """Return, for each reference, the smallest RMS distance to any crystal made, or None where none matches.

    Parameters
    ----------
    references
        The crystals to meet, unique ones: copies of one would count as often as they occur.
    made
        What was generated, in any number.
    """
    library = Library(LTOL, STOL, ANGLE_TOL_DEG)
    for reduced in reduced_crystals(made):
        library.add(reduced)
    distances: list[float | None] = [None] * len(references)
    for reduced in reduced_crystals(references):
        distances[reduced.index] = library.smallest_distance(reduced)
    return distances


def match_rate(distances: Sequence[float | None]) -> MatchRate:
    """Return rate and RMSE of distances, None for what was not met.

    Of `distances_to_nearest` these are METRe, its RMSE and cRMSE (match everyone to reference: arXiv 2509.12178).

    Raises
    ------
    InputError
        Where there are none.
    """
    if not distances:
        raise InputError("there is nothing to match: give at least one crystal")
    met = np.array([distance for distance in distances if distance is not None])
    missed = len(distances) - len(met)
    return MatchRate(
        rate=len(met) / len(distances),
        rmse=float(met.mean()) if len(met) else float("nan"),
        corrected_rmse=float((met.sum() + STOL * missed) / len(distances)),
        n=len(distances),
    )

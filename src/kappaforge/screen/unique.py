"""Which crystals are the same: uniqueness within a set, novelty against a reference.

Two crystals are the same when pymatgen's ``StructureMatcher`` maps one onto the other (as in the paper; Ong et al.,
doi 10.1016/j.commatsci.2012.10.028). That relation is neither symmetric nor transitive, so the groups depend on a rule.
Ours is pymatgen's: go through the crystals in order; each joins the first representative that fits it, tried as
``fit(representative, crystal)``, and becomes a representative itself where none does. The groups are therefore those of
``StructureMatcher.group_structures``, and crystals added at the end never change the groups of those before them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kappaforge.crystal import Crystal
from kappaforge.screen.settings import ScreenSettings
from kappaforge.similar import Library, reduced_crystals


def group(crystals: Sequence[Crystal], settings: ScreenSettings) -> np.ndarray:
    """Return the group of each crystal, named by the index of the group's first crystal, its representative.

    The unique crystals are ``np.unique(labels)``. A crystal without a reduced cell is a group of its own.

    Parameters
    ----------
    crystals
        In any of their cells; the order decides the representatives.
    settings
        The tolerances.

    Returns
    -------
    np.ndarray
        Integers, shape (n_crystals,).
    """
    representatives = _library(settings)
    labels = np.arange(len(crystals))
    for reduced in reduced_crystals(crystals):
        label = representatives.first_fitting(reduced)
        if label < 0:
            representatives.add(reduced)
        else:
            labels[reduced.index] = label
    return labels


def match(crystals: Sequence[Crystal], reference: Sequence[Crystal], settings: ScreenSettings) -> np.ndarray:
    """Return, for each crystal, the index of the first reference crystal that is the same, or -1: it is novel.

    Parameters
    ----------
    crystals, reference
        In any of their cells.
    settings
        The tolerances.

    Returns
    -------
    np.ndarray
        Integers, shape (n_crystals,).
    """
    known = _library(settings)
    for reduced in reduced_crystals(reference):
        known.add(reduced)
    found = np.full(len(crystals), -1)
    for reduced in reduced_crystals(crystals):
        found[reduced.index] = known.first_fitting(reduced)
    return found


def _library(settings: ScreenSettings) -> Library:
    return Library(settings.ltol, settings.stol, settings.angle_tol_deg)

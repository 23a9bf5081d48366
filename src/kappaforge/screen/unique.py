"""Which crystals are the same: uniqueness within a set, novelty against a reference.

Two crystals are the same when pymatgen's ``StructureMatcher`` maps one onto the other (as in the paper; Ong et al.,
doi 10.1016/j.commatsci.2012.10.028). That relation is neither symmetric nor transitive, so the groups depend on a rule.
Ours is pymatgen's: go through the crystals in order; each joins the first representative that fits it, tried as
``fit(representative, crystal)``, and becomes a representative itself where none does. The groups are therefore those of
``StructureMatcher.group_structures``, and crystals added at the end never change the groups of those before them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from kappaforge.crystal import Crystal
from kappaforge.packed import PackedCrystals
from kappaforge.screen.settings import ScreenSettings
from kappaforge.similar import Library, ReducedCrystal, reduced_crystals


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
    return _group(reduced_crystals(crystals), len(crystals), settings)


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
    return _match(reduced_crystals(crystals), len(crystals), reduced_crystals(reference), settings)


def reduce_cells(crystals: Sequence[Crystal]) -> PackedCrystals:
    """Return the crystals in their reduced primitive cells, what `group_packed` and `match_packed` compare."""
    return PackedCrystals.of(reduced_crystals(crystals), len(crystals))


def group_packed(crystals: PackedCrystals, settings: ScreenSettings) -> np.ndarray:
    """Do as `group` for crystals that are reduced already."""
    return _group(crystals, len(crystals), settings)


def match_packed(crystals: PackedCrystals, reference: PackedCrystals, settings: ScreenSettings) -> np.ndarray:
    """Do as `match` for crystals that are reduced already."""
    return _match(crystals, len(crystals), reference, settings)


def _group(reduced: Iterable[ReducedCrystal], n: int, settings: ScreenSettings) -> np.ndarray:
    representatives = _library(settings)
    labels = np.arange(n)
    for crystal in reduced:
        label = representatives.first_fitting(crystal)
        if label < 0:
            representatives.add(crystal)
        else:
            labels[crystal.index] = label
    return labels


def _match(
    reduced: Iterable[ReducedCrystal], n: int, reference: Iterable[ReducedCrystal], settings: ScreenSettings
) -> np.ndarray:
    known = _library(settings)
    for crystal in reference:
        known.add(crystal)
    found = np.full(n, -1)
    for crystal in reduced:
        found[crystal.index] = known.first_fitting(crystal)
    return found


def _library(settings: ScreenSettings) -> Library:
    return Library(settings.ltol, settings.stol, settings.angle_tol_deg)

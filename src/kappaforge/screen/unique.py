"""Which crystals are the same: uniqueness within a set, novelty against a reference.

Two crystals are the same when pymatgen's ``StructureMatcher`` maps one onto the other (as in the paper; Ong et al.,
doi 10.1016/j.commatsci.2012.10.028). That relation is neither symmetric nor transitive, so the groups depend on a rule.
Ours is pymatgen's: go through the crystals in order; each joins the first representative that fits it, tried as
``fit(representative, crystal)``, and becomes a representative itself where none does. The groups are therefore those of
``StructureMatcher.group_structures``, and crystals added at the end never change the groups of those before them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pymatgen.core import Structure
from pymatgen.core.structure_matcher import StructureMatcher

from kappaforge.crystal import Crystal
from kappaforge.screen.lattices import LatticeIndex, is_reduced
from kappaforge.screen.settings import ScreenSettings

_Composition = tuple[int, ...]
"""The sorted atomic numbers of a primitive cell; only crystals of the same can match."""


@dataclass(frozen=True, eq=False)
class _Reduced:
    """A crystal in its reduced primitive cell."""

    index: int
    structure: Structure
    composition: _Composition


class _Bucket:
    """The crystals of one composition that others are compared to, in their order."""

    def __init__(self, matcher: StructureMatcher) -> None:
        self._matcher = matcher
        self._members: list[_Reduced] = []
        self._lattices = LatticeIndex(matcher.ltol, matcher.angle_tol)

    def add(self, reduced: _Reduced) -> None:
        """Append a crystal."""
        self._members.append(reduced)
        self._lattices.add(reduced.structure.lattice.matrix)

    def first_fitting(self, reduced: _Reduced) -> int:
        """Return the index of the first member that fits, or -1.

        The matcher compares sites only in bases of the member's lattice that are close to the crystal's. Looking these
        up rejects early and never wrongly, and spares nine in ten of the full comparisons, which copy both structures.
        """
        cell = reduced.structure.lattice.matrix
        if is_reduced(cell):
            members: Iterable[_Reduced] = (self._members[number] for number in self._lattices.close_to(cell))
        else:  # the index does not list all bases close to such a cell
            members = self._members
        for member in members:
            if self._matcher.fit(member.structure, reduced.structure, skip_structure_reduction=True):
                return member.index
        return -1


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
    buckets = _buckets(settings)
    labels = np.arange(len(crystals))
    for reduced in _reduce(crystals):
        bucket = buckets[reduced.composition]
        labels[reduced.index] = bucket.first_fitting(reduced)
        if labels[reduced.index] < 0:
            labels[reduced.index] = reduced.index
            bucket.add(reduced)
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
    buckets = _buckets(settings)
    for reduced in _reduce(reference):
        buckets[reduced.composition].add(reduced)
    found = np.full(len(crystals), -1)
    for reduced in _reduce(crystals):
        found[reduced.index] = buckets[reduced.composition].first_fitting(reduced)
    return found


def _buckets(settings: ScreenSettings) -> defaultdict[_Composition, _Bucket]:
    matcher = StructureMatcher(ltol=settings.ltol, stol=settings.stol, angle_tol=settings.angle_tol_deg)
    return defaultdict(lambda: _Bucket(matcher))


def _reduce(crystals: Iterable[Crystal]) -> Iterable[_Reduced]:
    """Reduce each crystal once, as ``StructureMatcher`` would for every pair; skip those it cannot reduce."""
    for index, crystal in enumerate(crystals):
        try:
            niggli = crystal.to_pymatgen().get_reduced_structure(reduction_algo="niggli")
            structure = niggli.get_primitive_structure()
        except ValueError:  # pymatgen's way to say that the cell is too distorted for the reduction to end
            continue
        yield _Reduced(index, structure, tuple(sorted(structure.atomic_numbers)))

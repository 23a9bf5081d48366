"""Crystals to compare others to, as pymatgen's ``StructureMatcher`` does (doi 10.1016/j.commatsci.2012.10.028)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pymatgen.core import Structure
from pymatgen.core.structure_matcher import StructureMatcher

from kappaforge.crystal import Crystal
from kappaforge.lattices import LatticeIndex, is_reduced

Composition = tuple[int, ...]
"""The sorted atomic numbers of a primitive cell; only crystals of the same can match."""


@dataclass(frozen=True, eq=False)
class ReducedCrystal:
    """A crystal in its reduced primitive cell.

    Parameters
    ----------
    index
        Its place in the sequence it came from.
    structure
        The reduced primitive cell.
    composition
        The sorted atomic numbers.
    """

    index: int
    structure: Structure
    composition: Composition


def reduced_crystals(crystals: Iterable[Crystal]) -> Iterator[ReducedCrystal]:
    """Reduce each crystal once, as ``StructureMatcher`` would for every pair; skip those it cannot reduce."""
    for index, crystal in enumerate(crystals):
        try:
            niggli = crystal.to_pymatgen().get_reduced_structure(reduction_algo="niggli")
            structure = niggli.get_primitive_structure()
        except ValueError:  # pymatgen's way to say that the cell is too distorted for the reduction to end
            continue
        yield ReducedCrystal(index, structure, tuple(sorted(structure.atomic_numbers)))


class Library:
    """Crystals in the order in which they were added, to find those that others match.

    Parameters
    ----------
    ltol, stol, angle_tol_deg
        The tolerances of ``StructureMatcher``.
    """

    def __init__(self, ltol: float, stol: float, angle_tol_deg: float) -> None:
        # The cells are primitive already; `get_rms_dist` would reduce them again for every pair.
        self._matcher = StructureMatcher(ltol=ltol, stol=stol, angle_tol=angle_tol_deg, primitive_cell=False)
        self._members: defaultdict[Composition, list[ReducedCrystal]] = defaultdict(list)
        self._lattices: defaultdict[Composition, LatticeIndex] = defaultdict(lambda: LatticeIndex(ltol, angle_tol_deg))

    def add(self, reduced: ReducedCrystal) -> None:
        """Append a crystal."""
        self._members[reduced.composition].append(reduced)
        self._lattices[reduced.composition].add(reduced.structure.lattice.matrix)

    def first_fitting(self, reduced: ReducedCrystal) -> int:
        """Return the index of the first member for which ``fit(member, crystal)`` holds, or -1."""
        for member in self._candidates(reduced):
            if self._matcher.fit(member.structure, reduced.structure, skip_structure_reduction=True):
                return member.index
        return -1

    def smallest_distance(self, reduced: ReducedCrystal) -> float | None:
        """Return the smallest RMS distance to any member, in units of (volume per atom)^(1/3), or None without a match.

        It is the first number of ``get_rms_dist(member, crystal)``.
        """
        found = (
            self._matcher.get_rms_dist(member.structure, reduced.structure) for member in self._candidates(reduced)
        )
        return min((float(distances[0]) for distances in found if distances is not None), default=None)

    def _candidates(self, reduced: ReducedCrystal) -> Iterable[ReducedCrystal]:
        """Return the members that may match, in their order.

        The matcher compares sites only in bases of the member's lattice that are close to the crystal's. Looking these
        up rejects early and never wrongly, and spares nine in ten of the full comparisons, which copy both structures.
        """
        members = self._members.get(reduced.composition, [])
        cell = reduced.structure.lattice.matrix
        if not members or not is_reduced(cell):  # the index does not list all bases close to any other cell
            return members
        return (members[number] for number in self._lattices[reduced.composition].close_to(cell))

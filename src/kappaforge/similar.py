"""Crystals to compare others to, as pymatgen's ``StructureMatcher`` does (doi 10.1016/j.commatsci.2012.10.028)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from pymatgen.core import Structure
from pymatgen.core.structure_matcher import StructureMatcher

from kappaforge.crystal import Crystal
from kappaforge.fit import first_fit
from kappaforge.lattices import LatticeIndex, grown, is_reduced, row_of, unit_volume
from kappaforge.reduction import reduced_cell

Composition = tuple[int, ...]
"""The sorted atomic numbers of a primitive cell; only crystals of the same can match."""


@dataclass(frozen=True, eq=False)
class ReducedCrystal:
    """A crystal in its reduced primitive cell.

    Parameters
    ----------
    index
        Its place in the sequence it came from.
    cell
        Lattice vectors as rows, in Å, shape (3, 3).
    sites
        Fractional coordinates, shape (n_atoms, 3).
    numbers
        Atomic numbers, shape (n_atoms,).
    """

    index: int
    cell: np.ndarray
    sites: np.ndarray
    numbers: np.ndarray

    @property
    def composition(self) -> Composition:
        """The sorted atomic numbers."""
        return tuple(sorted(self.numbers.tolist()))

    @property
    def structure(self) -> Structure:
        """The same as a pymatgen structure."""
        return Structure(self.cell, [chemical_symbols[number] for number in self.numbers], self.sites)


def reduced_crystals(crystals: Iterable[Crystal]) -> Iterator[ReducedCrystal]:
    """Reduce each crystal once, as ``StructureMatcher`` would for every pair; skip those it cannot reduce."""
    for index, crystal in enumerate(crystals):
        reduced = reduced_cell(crystal)
        if reduced is not None:
            yield ReducedCrystal(index, *reduced)


class Library:
    """Crystals in the order in which they were added, to find those that others match.

    Parameters
    ----------
    ltol, stol, angle_tol_deg
        The tolerances of ``StructureMatcher``.
    """

    def __init__(self, ltol: float, stol: float, angle_tol_deg: float) -> None:
        self._tolerances = (ltol, stol, angle_tol_deg)
        # The cells are primitive already; `get_rms_dist` would reduce them again for every pair.
        self._matcher = StructureMatcher(ltol=ltol, stol=stol, angle_tol=angle_tol_deg, primitive_cell=False)
        self._shelves: defaultdict[Composition, _Shelf] = defaultdict(lambda: _Shelf(ltol, angle_tol_deg))

    def add(self, reduced: ReducedCrystal) -> None:
        """Append a crystal."""
        self._shelves[reduced.composition].add(reduced)

    def first_fitting(self, reduced: ReducedCrystal) -> int:
        """Return the index of the first member for which ``fit(member, crystal)`` holds, or -1."""
        shelf = self._shelves.get(reduced.composition)
        return -1 if shelf is None else shelf.first_fitting(reduced, self._tolerances)

    def offers(self, reduced: ReducedCrystal) -> bool:
        """Tell whether the lattice of any member has a basis close to the crystal's cell."""
        shelf = self._shelves.get(reduced.composition)
        return shelf is not None and any(True for _ in shelf.close_to(reduced))

    def smallest_distance(self, reduced: ReducedCrystal) -> float | None:
        """Return the smallest RMS distance to any member, in units of (volume per atom)^(1/3), or None without a match.

        It is the first number of ``get_rms_dist(member, crystal)``.
        """
        shelf = self._shelves.get(reduced.composition)
        if shelf is None:
            return None
        structure = reduced.structure
        found = (self._matcher.get_rms_dist(member, structure) for member in shelf.close_to(reduced))
        return min((float(distances[0]) for distances in found if distances is not None), default=None)


class _Shelf:
    """The members of one composition, in arrays that compiled code goes through."""

    def __init__(self, ltol: float, angle_tol_deg: float) -> None:
        self._lattices = LatticeIndex(ltol, angle_tol_deg)
        self._indices = np.empty(0, dtype=np.int64)
        self._cells = np.empty((0, 3, 3))
        self._sites = np.empty((0, 0, 3))
        self._numbers = np.empty((0, 0), dtype=np.int64)

    def add(self, reduced: ReducedCrystal) -> None:
        n = len(self._lattices)
        if n == 0:
            n_atoms = len(reduced.numbers)
            self._sites, self._numbers = np.empty((0, n_atoms, 3)), np.empty((0, n_atoms), dtype=np.int64)
        self._indices, self._cells = grown(self._indices, n + 1), grown(self._cells, n + 1)
        self._sites, self._numbers = grown(self._sites, n + 1), grown(self._numbers, n + 1)
        self._indices[n], self._cells[n] = reduced.index, unit_volume(reduced.cell)
        self._sites[n], self._numbers[n] = reduced.sites, reduced.numbers
        self._lattices.add(reduced.cell)

    def first_fitting(self, reduced: ReducedCrystal, tolerances: tuple[float, float, float]) -> int:
        n, cell = len(self._lattices), unit_volume(reduced.cell)
        number = first_fit(
            *self._lattices.bases,
            self._cells[:n],
            self._sites[:n],
            self._numbers[:n],
            cell,
            reduced.sites,
            reduced.numbers,
            row_of(cell),
            is_reduced(cell),
            self._lattices.log_tolerance,
            self._lattices.angle_tolerance_deg,
            tolerances,
        )
        return -1 if number < 0 else int(self._indices[number])

    def close_to(self, reduced: ReducedCrystal) -> Iterator[Structure]:
        """Yield the members that may match, in their order.

        The matcher compares sites only in bases of the member's lattice that are close to the crystal's. Looking these
        up rejects early and never wrongly.
        """
        for number in self._lattices.close_to(reduced.cell):
            member = (self._cells[number], self._sites[number], self._numbers[number])
            yield ReducedCrystal(int(self._indices[number]), *member).structure

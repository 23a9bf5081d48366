"""One attempt of PyXtal's at a crystal, bounded in work and time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import spglib
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from ase.neighborlist import neighbor_list
from pyxtal.crystal import random_crystal
from pyxtal.lattice import Lattice
from pyxtal.msg import VolumeError
from pyxtal.symmetry import Group
from pyxtal.tolerance import Tol_matrix

from kappaforge.spglib_answer import or_none

SYMPREC_ANG = 1e-3
"""The atoms sit on their sites exactly; this only absorbs rounding."""


class AttemptError(Exception):
    """An attempt gave no crystal; the message says why."""


@lru_cache(maxsize=230)
def group(number: int) -> Group:
    """Return PyXtal's space group (its Wyckoff positions take milliseconds to set up)."""
    return Group(number)


@lru_cache(maxsize=65536)
def compatible(number: int, counts: tuple[int, ...]) -> bool:
    """Tell whether the space group's sites can hold so many atoms of each element in the primitive cell."""
    space_group = group(number)
    return bool(space_group.check_compatible([count * space_group.cellsize() for count in counts])[0])


def covalent_spheres_ang3(counts: Mapping[str, int]) -> float:
    """Return the volume of the covalent spheres (doi 10.1039/b801115j) of these atoms, Å³."""
    radii = covalent_radii[[atomic_numbers[symbol] for symbol in counts]]
    return float(4 / 3 * np.pi * (np.array(list(counts.values())) * radii**3).sum())


@lru_cache(maxsize=64)
def _tolerances(symbols: tuple[str, ...], factor: float) -> Tol_matrix:
    radius = {symbol: covalent_radii[atomic_numbers[symbol]] for symbol in symbols}
    pairs = [(one, two, factor * (radius[one] + radius[two])) for one in symbols for two in symbols]
    return Tol_matrix(*pairs, prototype="atomic")


class _BoundedCrystal(random_crystal):
    """PyXtal's random crystal at a given volume, which gives up after so many placements or at a deadline.

    PyXtal's loops are bounded, but by thousands of slow steps. Both hooks run inside those loops, so they end an
    attempt in any thread, where a signal would need the main one.
    """

    def __init__(
        self,
        number: int,
        counts: Mapping[str, int],
        *,
        volume_ang3: float,
        min_distance_factor: float,
        max_placements: int,
        max_seconds: float,
        rng: np.random.Generator,
    ) -> None:
        self._volume_ang3 = volume_ang3 * group(number).cellsize()
        self._placements_left = max_placements
        self._deadline = time.monotonic() + max_seconds
        self._max_seconds = max_seconds
        super().__init__(
            dim=3,
            group=group(number),
            species=list(counts),
            numIons=list(counts.values()),
            conventional=False,
            tm=_tolerances(tuple(counts), min_distance_factor),
            random_state=rng,
        )

    def set_volume(self) -> None:
        """Take the volume given."""
        self._check_time()
        self.volume = self._volume_ang3

    def set_lattice(self, lattice: object) -> None:
        """Draw a cell of that volume, where PyXtal would go on to larger volumes."""
        self.lattice = Lattice(self.group.lattice_type, self.volume, unique_axis="c", random_state=self.rng)

    def check_wp(self, *args: object) -> bool:
        """Count the placement, and stop where it was one too many."""
        self._check_time()
        self._placements_left -= 1
        if self._placements_left < 0:
            raise AttemptError("no arrangement found that keeps the atoms apart")
        return bool(super().check_wp(*args))

    def _check_time(self) -> None:
        if time.monotonic() > self._deadline:
            raise AttemptError(f"stopped after {self._max_seconds:g} s")


def attempt(
    number: int,
    counts: Mapping[str, int],
    *,
    volume_ang3: float,
    min_distance_factor: float,
    max_placements: int,
    max_seconds: float,
    rng: np.random.Generator,
) -> Atoms:
    """Make one crystal of a space group, in a primitive cell.

    Parameters
    ----------
    number
        Space group; `compatible` with the counts.
    counts
        Atoms of each element in the primitive cell.
    volume_ang3
        Volume of the primitive cell in Å³.
    min_distance_factor
        No two atoms, images included, come closer than this times the sum of their covalent radii.
    max_placements, max_seconds
        Bounds of the attempt.
    rng
        Decides everything.

    Raises
    ------
    AttemptError
        Where it did not work out: too crowded, no cell, a cell smaller than asked for, out of time.
    """
    try:
        made = _BoundedCrystal(
            number,
            counts,
            volume_ang3=volume_ang3,
            min_distance_factor=min_distance_factor,
            max_placements=max_placements,
            max_seconds=max_seconds,
            rng=rng,
        )
    except VolumeError as error:
        raise AttemptError(f"no cell of {volume_ang3:.1f} Å³ found for space group {number}") from error
    if not made.valid:
        raise AttemptError("no arrangement found that keeps the atoms apart")
    atoms = _primitive(made)
    if len(atoms) != sum(counts.values()):
        raise AttemptError(f"the primitive cell has {len(atoms)} atoms, not {sum(counts.values())}")
    radii = min_distance_factor * covalent_radii[atoms.numbers]
    if len(neighbor_list("i", atoms, radii)):
        raise AttemptError("atoms are too close to images of their own")
    return atoms


def _primitive(made: random_crystal) -> Atoms:
    fractional = np.concatenate([site.coords for site in made.atom_sites])
    numbers = [atomic_numbers[site.specie] for site in made.atom_sites for _ in range(site.multiplicity)]
    conventional: Any = (made.lattice.matrix, fractional, numbers)
    primitive = or_none(spglib.standardize_cell, conventional, to_primitive=True, no_idealize=True, symprec=SYMPREC_ANG)
    if primitive is None:
        raise AttemptError("spglib finds no primitive cell")
    cell, scaled, kinds = primitive
    return Atoms(kinds, scaled_positions=np.array(scaled) % 1.0, cell=cell, pbc=True)

"""Which space groups, occupied sites and numbers of atoms crystals have: learned from data, completed from tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import gcd
from typing import Any

import numpy as np
import spglib
from ase.data import chemical_symbols

from kappaforge.crystal import Crystal
from kappaforge.generate.attempt import group
from kappaforge.generate.pattern import Pattern, pattern_of
from kappaforge.generate.wyckoff import ROOM_ANG3, random_pattern
from kappaforge.spglib_answer import or_none

NAMES = ("cells", "sizes", "groups", "operations", "weights", "numbers", "fractional")

MAX_DRAWS = 30
"""Draws of occupied sites before a proposal fails."""


@dataclass(frozen=True)
class Wish:
    """What a pattern has to be.

    Parameters
    ----------
    sizes
        Numbers of atoms in the primitive cell.
    elements
        Symbols; every pattern holds all of them.
    formula
        Reduced counts of `elements` in order; empty for any.
    groups
        Space groups; empty for all.
    min_operations
        Fewest operations of the point group.
    enumerated
        Share of patterns whose sites come from tables rather than from data.
    """

    sizes: tuple[int, ...]
    elements: tuple[str, ...]
    formula: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()
    min_operations: int = 1
    enumerated: float = 0.0


@dataclass(frozen=True, eq=False)
class PatternPrior:
    """The patterns of a data set, each as one random crystal of it, which tells nothing of the data's geometry.

    Parameters
    ----------
    cells
        Rows in Å, shape (n_patterns, 3, 3).
    sizes, groups, operations
        Atoms, space group and operations of the primitive cell of each pattern, shape (n_patterns,).
    weights
        How often each is drawn, relative to the others, shape (n_patterns,).
    numbers, fractional
        Of all atoms of all patterns one after another, shape (n_all,) and (n_all, 3).
    """

    cells: np.ndarray
    sizes: np.ndarray
    groups: np.ndarray
    operations: np.ndarray
    weights: np.ndarray
    numbers: np.ndarray
    fractional: np.ndarray
    _patterns: dict[int, Pattern] = field(default_factory=dict, repr=False)
    _fitting: dict[Wish, np.ndarray] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray]) -> PatternPrior:
        """Return the prior of what `arrays` gave."""
        content: Any = {name: arrays[name] for name in NAMES}
        return cls(**content)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all arrays by name, as the class is made of them."""
        return {name: getattr(self, name) for name in NAMES}

    def draw(self, wish: Wish, rng: np.random.Generator) -> Pattern | None:
        """Draw a pattern; None where there is none like it."""
        candidates = self._candidates(wish)
        grouped = candidates[_allowed(self.groups[candidates], self.operations[candidates], wish)]
        if len(grouped) and rng.random() >= wish.enumerated:
            shares = self.weights[grouped]
            return self._pattern(int(rng.choice(grouped, p=shares / shares.sum())))
        return self._enumerated(wish, candidates, rng)

    def _candidates(self, wish: Wish) -> np.ndarray:
        """Return the patterns with the elements, formula and sizes wished for, of any group."""
        if wish not in self._fitting:
            self._fitting[wish] = self._found(wish)
        return self._fitting[wish]

    def _found(self, wish: Wish) -> np.ndarray:
        fits = np.isin(self.sizes, wish.sizes)
        ends = np.cumsum(self.sizes)
        wanted = sorted(chemical_symbols.index(symbol) for symbol in wish.elements)
        for index in np.flatnonzero(fits):
            numbers = self.numbers[ends[index] - self.sizes[index] : ends[index]]
            counts = [int((numbers == chemical_symbols.index(symbol)).sum()) for symbol in wish.elements]
            same = sorted(set(numbers)) == wanted
            fits[index] = same and (not wish.formula or _reduced(counts) == wish.formula)
        return np.flatnonzero(fits)

    def _pattern(self, index: int) -> Pattern:
        if index not in self._patterns:
            end = int(self.sizes[: index + 1].sum())
            own = slice(end - int(self.sizes[index]), end)
            cell = self.cells[index]
            crystal = Crystal(cell, self.fractional[own] @ cell, self.numbers[own], id=f"pattern {index}")
            found = pattern_of(crystal, symprec_ang=1e-2)
            if found is None:
                raise RuntimeError(f"pattern {index} of the prior has lost its group")
            self._patterns[index] = found[0]
        return self._patterns[index]

    def _enumerated(self, wish: Wish, candidates: np.ndarray, rng: np.random.Generator) -> Pattern | None:
        """Draw sites for the atoms of a crystal of the data, or of as many atoms in the formula's proportions."""
        numbers = [number for number in wish.groups or range(1, 231) if _order(number) >= wish.min_operations]
        for _ in range(MAX_DRAWS if numbers else 0):
            counts = self._counts(wish, candidates, rng)
            if counts is None:
                return None
            pattern = random_pattern(int(rng.choice(numbers)), counts, rng)
            if pattern is not None:
                return pattern
        return None

    def _counts(self, wish: Wish, candidates: np.ndarray, rng: np.random.Generator) -> dict[str, int] | None:
        if len(candidates):
            shares = self.weights[candidates]
            index = int(rng.choice(candidates, p=shares / shares.sum()))
            end = int(self.sizes[: index + 1].sum())
            found = Counter(chemical_symbols[number] for number in self.numbers[end - self.sizes[index] : end])
            return {symbol: found[symbol] for symbol in wish.elements}
        unit = wish.formula or (1,) * len(wish.elements)
        fitting = [size for size in wish.sizes if size % sum(unit) == 0]
        if not fitting:
            return None
        times = int(rng.choice(fitting)) // sum(unit)
        return {symbol: times * part for symbol, part in zip(wish.elements, unit, strict=True)}


def _reduced(counts: Sequence[int]) -> tuple[int, ...]:
    divisor = gcd(*counts) or 1
    return tuple(count // divisor for count in counts)


def _allowed(groups: np.ndarray, operations: np.ndarray, wish: Wish) -> np.ndarray:
    allowed = operations >= wish.min_operations
    return allowed & np.isin(groups, wish.groups) if wish.groups else allowed


@lru_cache(maxsize=230)
def _order(number: int) -> int:
    """Return the number of operations of the point group of a space group."""
    space_group = group(number)
    return int(space_group[0].multiplicity) // int(space_group.cellsize())


def learn(patterns: Sequence[Pattern], cells: Sequence[np.ndarray], seed: int = 0) -> PatternPrior:
    """Learn the prior of a data set.

    A pattern weighs as its number of atoms, as larger cells hold more different crystals, times the square root of the
    number of crystals that have it, each volume per atom (to 1 %) counted once: copies of one crystal do not count, and
    rare patterns come up more often than in the data.

    Parameters
    ----------
    patterns, cells
        Of the crystals, as `kappaforge.generate.pattern.pattern_of` gives them.
    seed
        Of the random crystals that stand for the patterns.
    """
    kinds: dict[tuple[Any, ...], set[int]] = {}
    shown: dict[tuple[Any, ...], Pattern] = {}
    for pattern, cell in zip(patterns, cells, strict=True):
        key = _kind(pattern, cell)
        volume = abs(np.linalg.det(cell)) / len(pattern)
        kinds.setdefault(key, set()).add(round(100 * float(np.log(volume))))
        shown.setdefault(key, pattern)
    rng = np.random.default_rng(seed)
    made = [(key, stood) for key in sorted(kinds) if (stood := _stand_in(shown[key], rng)) is not None]
    return PatternPrior(
        cells=np.array([cell for _, (cell, _) in made]),
        sizes=np.array([len(shown[key]) for key, _ in made]),
        groups=np.array([shown[key].number for key, _ in made]),
        operations=np.array([len(shown[key].rotations) for key, _ in made]),
        weights=np.array([len(shown[key]) * np.sqrt(len(kinds[key])) for key, _ in made]),
        numbers=np.concatenate([shown[key].numbers for key, _ in made]),
        fractional=np.concatenate([fractional for _, (_, fractional) in made]),
    )


def _kind(pattern: Pattern, cell: np.ndarray) -> tuple[Any, ...]:
    """Return what equal patterns have in common: the group and the letters of the occupied sites."""
    given: Any = (cell, pattern.fractional, pattern.numbers)
    dataset = or_none(spglib.get_symmetry_dataset, given, symprec=1e-3)
    letters = dataset.wyckoffs if dataset is not None else ["?"] * len(pattern)
    sites = sorted((letters[first], int(pattern.numbers[first])) for first, _, _ in pattern.orbits)
    return (pattern.number, len(pattern), tuple(sites))


def _stand_in(pattern: Pattern, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    """Return cell and fractional positions of a random crystal that has the group and no higher one."""
    for _ in range(5):
        noise = rng.normal(scale=0.15, size=(3, 3))
        strain = pattern.strain(noise + noise.T)
        values, axes = np.linalg.eigh(strain)
        cell = np.cbrt(ROOM_ANG3 * len(pattern)) * pattern.reference_cell @ (axes * np.exp(values)) @ axes.T
        fractional = pattern.random_positions(rng)
        crystal = Crystal(cell, fractional @ cell, pattern.numbers, id="pattern")
        found = pattern_of(crystal, symprec_ang=1e-2)
        if found is not None and found[0].number == pattern.number and len(found[0]) == len(pattern):
            return cell, fractional
    return None

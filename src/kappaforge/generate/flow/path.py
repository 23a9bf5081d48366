"""The ways from random starts to known crystals that the flow learns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import spglib
import torch
from scipy.optimize import linear_sum_assignment

from kappaforge.crystal import Crystal
from kappaforge.generate.flow.settings import FlowSettings
from kappaforge.generate.pattern import Pattern, free_pattern, pattern_of
from kappaforge.generate.solvers import State

ON_SITE = 1e-4
"""Fractional difference up to which a displacement keeps a site's symmetry."""

FORBIDDEN = 1e6
"""Cost, Å², of a way between unlike atoms or sites."""


@dataclass(frozen=True, eq=False)
class Example:
    """A known crystal in two cells: Niggli's with no symmetry, and spglib's primitive one with its own.

    `types` are places in the list of elements, shape (n_atoms,).
    """

    free: Pattern
    free_cell: np.ndarray
    symmetric: Pattern
    symmetric_cell: np.ndarray
    types: np.ndarray


class Way(NamedTuple):
    """A start, and what leads from it to the end: fractional displacements and a strain of the cell."""

    fractional: np.ndarray
    cell: np.ndarray
    displacements: np.ndarray
    strain: np.ndarray


class Ways(NamedTuple):
    """Ways of a batch of crystals with one number of atoms; `types` has shape (n_crystals, n_atoms)."""

    types: torch.Tensor
    start: State
    displacements: torch.Tensor
    strains: torch.Tensor

    def to(self, device: torch.device) -> Ways:
        """Return the same on a device."""
        start = State(self.start.fractional.to(device), self.start.cells.to(device))
        return Ways(self.types.to(device), start, self.displacements.to(device), self.strains.to(device))

    def at(self, times: torch.Tensor) -> tuple[State, torch.Tensor, torch.Tensor]:
        """Return the states at these times, shape (n_crystals,), with the displacements (Å) and strains left."""
        left = 1 - times
        cells = self.start.cells @ torch.linalg.matrix_exp(times[:, None, None] * self.strains)
        state = State(self.start.fractional + times[:, None, None] * self.displacements, cells)
        return state, left[:, None, None] * (self.displacements @ cells), left[:, None, None] * self.strains


def example_of(crystal: Crystal, elements: Sequence[int]) -> Example | None:
    """Prepare a crystal; None where it has no consistent primitive cell."""
    found = pattern_of(crystal)
    if found is None:
        return None
    pattern, cell = found
    reduced = spglib.niggli_reduce(cell)
    if reduced is None:
        return None
    places = np.linalg.solve(reduced.T, (pattern.fractional @ cell).T).T
    free = free_pattern(pattern.numbers, places)
    types = np.array([elements.index(number) for number in pattern.numbers])
    return Example(free, np.asarray(reduced), pattern, cell, types)


def start_cell(pattern: Pattern, volume_ang3: float, settings: FlowSettings, rng: np.random.Generator) -> np.ndarray:
    """Draw a cell that the pattern allows, of about this volume."""
    noise: Any = rng.normal(scale=settings.strain_spread, size=(3, 3))
    strain = pattern.strain((noise + noise.T) / np.sqrt(2))
    strain -= np.eye(3) * np.trace(strain) / 3
    volume = volume_ang3 * np.exp(rng.normal(scale=settings.volume_spread))
    return np.cbrt(volume) * pattern.reference_cell @ _exponential(strain)


def symmetric_way(
    pattern: Pattern, cell: np.ndarray, volume_ang3: float, settings: FlowSettings, rng: np.random.Generator
) -> Way:
    """Draw a way that keeps the space group.

    Of all random orbits on alike sites, and of all images of their atoms that are on the site, each end takes the
    nearest for its start, so that the sum of squares is least (optimal transport).
    """
    ends = [pattern.fractional[first] for first, _, _ in pattern.orbits]
    freedoms = [freedom for _, _, freedom in pattern.orbits]
    drawn = [end + freedom @ rng.uniform(-0.5, 0.5, 3) for end, freedom in zip(ends, freedoms, strict=True)]
    alike = _alike(pattern)
    costs = np.full((len(ends), len(ends)), FORBIDDEN)
    offsets = np.zeros((len(ends), len(ends), 3))
    for end in range(len(ends)):
        for start in np.flatnonzero(alike == alike[end]):
            apart = pattern.rotations @ drawn[start] + pattern.translations - ends[end]
            apart -= np.round(apart)
            on_site = np.abs(apart - apart @ freedoms[end].T).max(axis=1) < ON_SITE
            squares = np.where(on_site, np.square(apart @ cell).sum(axis=1), FORBIDDEN)
            nearest = int(squares.argmin())
            costs[end, start], offsets[end, start] = squares[nearest], apart[nearest]
    _, starts = linear_sum_assignment(costs)
    chosen = [offsets[end, start] for end, start in enumerate(starts)]
    fractional = pattern.spread(chosen)
    displacements = np.empty_like(fractional)
    for (_, makers, freedom), offset in zip(pattern.orbits, chosen, strict=True):
        own = makers >= 0
        displacements[own] = -pattern.rotations[makers[own]] @ (freedom @ offset)
    start_at = start_cell(pattern, volume_ang3, settings, rng)
    return Way(fractional, start_at, displacements - displacements.mean(axis=0), strain_between(start_at, cell))


def _alike(pattern: Pattern) -> np.ndarray:
    """Number the orbits so that those of one element, one size and one number of free coordinates have one number."""
    kinds = [
        (int(pattern.numbers[first]), int((makers >= 0).sum()), round(float(np.trace(freedom))))
        for first, makers, freedom in pattern.orbits
    ]
    return np.array([kinds.index(each) for each in kinds])


def free_way(
    pattern: Pattern, cell: np.ndarray, volume_ang3: float, settings: FlowSettings, rng: np.random.Generator
) -> Way:
    """Draw a way from random positions, each atom's to the nearest place of its kind (optimal transport)."""
    fractional = rng.random((len(pattern), 3))
    apart = pattern.fractional[None] - fractional[:, None]
    unlike = pattern.numbers[:, None] != pattern.numbers[None, :]
    shift = np.zeros(3)
    for _ in range(2):  # the crystal's origin is free as well
        wrapped = apart - shift - np.round(apart - shift)
        costs = np.square(wrapped @ cell).sum(axis=-1) + FORBIDDEN * unlike
        ones, ends = linear_sum_assignment(costs)
        displacements = wrapped[ones, ends]
        shift = shift + displacements.mean(axis=0)
    start = start_cell(pattern, volume_ang3, settings, rng)
    return Way(fractional, start, displacements - displacements.mean(axis=0), strain_between(start, cell))


def strain_between(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the symmetric strain whose exponential takes a cell to one of the other's metric, shape (3, 3)."""
    inverse = np.linalg.inv(start)
    squares, axes = np.linalg.eigh(inverse @ (end @ end.T) @ inverse.T)
    return (axes * np.log(squares) / 2) @ axes.T


def _exponential(strain: np.ndarray) -> np.ndarray:
    values, axes = np.linalg.eigh(strain)
    return (axes * np.exp(values)) @ axes.T


def batches(
    examples: Sequence[Example],
    volumes_ang3: np.ndarray,
    settings: FlowSettings,
    batch_size: int,
    rng: np.random.Generator,
) -> Iterator[Ways]:
    """Yield random ways to all examples once, in batches of equal numbers of atoms and in random order.

    `volumes_ang3` are those of an atom of each element.
    """
    by_size: dict[int, list[int]] = {}
    for index in rng.permutation(len(examples)):
        by_size.setdefault(len(examples[index].free), []).append(int(index))
    cut = [members[at : at + batch_size] for members in by_size.values() for at in range(0, len(members), batch_size)]
    for place in rng.permutation(len(cut)):
        yield ways_of([examples[index] for index in cut[place]], volumes_ang3, settings, rng)


def ways_of(
    examples: Sequence[Example], volumes_ang3: np.ndarray, settings: FlowSettings, rng: np.random.Generator
) -> Ways:
    """Draw one way to each example."""
    ways = []
    for example in examples:
        volume = volumes_ang3[example.types].sum()
        if rng.random() < settings.symmetric:
            ways.append(symmetric_way(example.symmetric, example.symmetric_cell, volume, settings, rng))
        else:
            ways.append(free_way(example.free, example.free_cell, volume, settings, rng))
    fractional, cells, displacements, strains = (
        torch.from_numpy(np.stack(column)).float() for column in zip(*ways, strict=True)
    )
    return Ways(
        torch.from_numpy(np.stack([example.types for example in examples])),
        State(fractional, cells),
        displacements,
        strains,
    )

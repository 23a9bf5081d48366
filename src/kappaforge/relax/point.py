"""What a minimiser is told of a batch of crystals, and what it answers."""

from __future__ import annotations

from typing import NamedTuple, Protocol, Self

import numpy as np

from kappaforge.potentials.base import Batch


class Point(NamedTuple):
    """Where many minimisations stand; their coordinates are the rows of one array.

    ===========  ===========  ==========================================================================
    field        shape        content
    ===========  ===========  ==========================================================================
    forces       (n_rows, 3)  minus the gradient of the enthalpies, eV/Å
    energies_ev  (n,)         enthalpies
    owner        (n_rows,)    which minimisation each row belongs to, ascending; none feels another
    steps        (n,)         steps that each has taken
    geometry     –            cells and positions, in the same order
    ===========  ===========  ==========================================================================
    """

    forces: np.ndarray
    energies_ev: np.ndarray
    owner: np.ndarray
    steps: np.ndarray
    geometry: Batch

    def subset(self, which: np.ndarray) -> Point:
        """Return the minimisations that a mask of shape (n,) picks."""
        rows = which[self.owner]
        owner = (np.cumsum(which) - 1)[self.owner[rows]]
        return Point(self.forces[rows], self.energies_ev[which], owner, self.steps[which], self.geometry.subset(which))


class Minimiser(Protocol):
    """The state of many independent minimisations."""

    @classmethod
    def at_rest(cls, n_rows: int, n: int) -> Self:
        """Return the state before the first step."""

    def of(self, rows: np.ndarray, which: np.ndarray) -> Self:
        """Return the state of some of the minimisations, given the masks of their rows and of themselves."""

    def joined(self, others: Self) -> Self:
        """Return the state of these minimisations followed by others."""

    def step(self, point: Point, max_move_ang: float) -> tuple[Self, np.ndarray]:
        """Return the next state and what to add to the rows, shape (n_rows, 3), none longer than the limit."""

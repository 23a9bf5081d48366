"""FIRE as long as forces are large, then L-BFGS: slower than L-BFGS alone, but it stays in the valley it starts in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kappaforge.relax.fire import Fire
from kappaforge.relax.lbfgs import Lbfgs
from kappaforge.relax.point import Point

NEAR_EV_PER_ANG = 0.3
"""A crystal is near its minimum once no row of the gradient, of atoms or cell, is longer than this."""


class FireThenLbfgs(NamedTuple):
    """State of many minimisations, of which those that have come near their minimum stay with L-BFGS.

    ===========  =====  ==============================================================
    field        shape  content
    ===========  =====  ==============================================================
    fire         –      of all; of no more use for those that are near
    lbfgs        –      of all; at rest for those that are not near yet
    near_steps   (n,)   steps since they are near; -1 where they are not
    ===========  =====  ==============================================================
    """

    fire: Fire
    lbfgs: Lbfgs
    near_steps: np.ndarray

    @classmethod
    def at_rest(cls, n_rows: int, n: int) -> FireThenLbfgs:
        """Return the state before the first step."""
        return cls(Fire.at_rest(n_rows, n), Lbfgs.at_rest(n_rows, n), np.full(n, -1))

    def of(self, rows: np.ndarray, which: np.ndarray) -> FireThenLbfgs:
        """Return the state of some of the minimisations, given the masks of their rows and of themselves."""
        return FireThenLbfgs(self.fire.of(rows, which), self.lbfgs.of(rows, which), self.near_steps[which])

    def joined(self, others: FireThenLbfgs) -> FireThenLbfgs:
        """Return the state of these minimisations followed by others."""
        steps = np.concatenate([self.near_steps, others.near_steps])
        return FireThenLbfgs(self.fire.joined(others.fire), self.lbfgs.joined(others.lbfgs), steps)

    def step(self, point: Point, max_move_ang: float) -> tuple[FireThenLbfgs, np.ndarray]:
        """Return the next state and the moves of the rows."""
        longest = np.zeros(len(point.steps))
        np.maximum.at(longest, point.owner, np.linalg.norm(point.forces, axis=1))
        near = (self.near_steps >= 0) | (longest <= NEAR_EV_PER_ANG)
        near_steps = np.where(near, self.near_steps + 1, -1)
        fire, moves = self.fire.step(point, max_move_ang)
        if not near.any():
            return FireThenLbfgs(fire, self.lbfgs, near_steps), moves
        rows = near[point.owner]
        own = point.subset(near)._replace(steps=near_steps[near])
        lbfgs, moves[rows] = self.lbfgs.of(rows, near).step(own, max_move_ang)
        return FireThenLbfgs(fire, self.lbfgs.replaced(rows, near, lbfgs), near_steps), moves

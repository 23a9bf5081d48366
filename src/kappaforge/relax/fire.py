"""FIRE, the fast inertial relaxation engine, for many independent minimisations at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kappaforge.relax.point import Point

TIME_STEP, MAX_TIME_STEP = 0.1, 1.0
MIXING, MIXING_DECAY = 0.1, 0.99
GROWTH, SHRINKAGE, PATIENCE = 1.1, 0.5, 5
"""The constants of E. Bitzek et al. (doi 10.1103/PhysRevLett.97.170201), with ASE's choice of time steps."""


class Fire(NamedTuple):
    """State of many minimisations, whose coordinates are the rows of one array.

    ==============  ===========  ======================================================
    field           shape        content
    ==============  ===========  ======================================================
    velocities      (n_rows, 3)  velocity of each row
    time_steps      (n,)         time step of each minimisation
    mixings         (n,)         how much of the velocity is turned towards the force
    downhill_steps  (n,)         steps since the velocity last pointed uphill
    ==============  ===========  ======================================================
    """

    velocities: np.ndarray
    time_steps: np.ndarray
    mixings: np.ndarray
    downhill_steps: np.ndarray

    @classmethod
    def at_rest(cls, n_rows: int, n: int) -> Fire:
        """Return the state before the first step."""
        return cls(np.zeros((n_rows, 3)), np.full(n, TIME_STEP), np.full(n, MIXING), np.zeros(n, dtype=np.int64))

    def of(self, rows: np.ndarray, which: np.ndarray) -> Fire:
        """Return the state of some of the minimisations, given the masks of their rows and of themselves."""
        return Fire(self.velocities[rows], self.time_steps[which], self.mixings[which], self.downhill_steps[which])

    def joined(self, others: Fire) -> Fire:
        """Return the state of these minimisations followed by others."""
        return Fire(*(np.concatenate(pair) for pair in zip(self, others, strict=True)))

    def step(self, point: Point, max_move_ang: float) -> tuple[Fire, np.ndarray]:
        """Return the next state and the moves of the rows; see `fire_step`."""
        return fire_step(self, point.forces, point.owner, max_move_ang)


def fire_step(state: Fire, forces: np.ndarray, owner: np.ndarray, max_move: float) -> tuple[Fire, np.ndarray]:
    """Advance every minimisation by one step.

    Parameters
    ----------
    state
        Where they are.
    forces
        Downhill gradient of each row, shape (n_rows, 3).
    owner
        Which minimisation each row belongs to, shape (n_rows,); no minimisation feels another.
    max_move
        Longest move of a row; the moves of a minimisation are scaled down together.

    Returns
    -------
    state, moves
        The next state, and what to add to the rows, shape (n_rows, 3).
    """
    n = len(state.time_steps)

    def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.bincount(owner, (a * b).sum(axis=1), minlength=n)

    power = dot(forces, state.velocities)
    downhill = power > 0
    force_norms = np.sqrt(dot(forces, forces))
    speeds = np.sqrt(dot(state.velocities, state.velocities))
    turned = state.mixings * speeds / np.where(force_norms > 0, force_norms, 1.0)
    velocities = (1.0 - state.mixings)[owner, None] * state.velocities + turned[owner, None] * forces
    velocities = np.where(downhill[owner, None], velocities, 0.0)

    at_start = speeds == 0.0
    patient = downhill & (state.downhill_steps > PATIENCE)
    time_steps = np.where(patient, np.minimum(state.time_steps * GROWTH, MAX_TIME_STEP), state.time_steps)
    time_steps = np.where(downhill | at_start, time_steps, time_steps * SHRINKAGE)
    mixings = np.where(patient, state.mixings * MIXING_DECAY, np.where(downhill, state.mixings, MIXING))
    downhill_steps = np.where(downhill, state.downhill_steps + 1, 0)

    velocities = velocities + time_steps[owner, None] * forces
    moves = time_steps[owner, None] * velocities
    longest = np.zeros(n)
    np.maximum.at(longest, owner, np.sqrt((moves * moves).sum(axis=1)))
    moves = moves * np.minimum(1.0, max_move / np.maximum(longest, 1e-300))[owner, None]
    return Fire(velocities, time_steps, mixings, downhill_steps), moves

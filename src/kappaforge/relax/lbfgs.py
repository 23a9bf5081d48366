"""L-BFGS for many independent minimisations at once, each preconditioned and each with a line search of its own.

The two-loop recursion is that of J. Nocedal (doi 10.1090/S0025-5718-1980-0572855-7); in place of a multiple of the
identity it starts from the inverse of a model of the stiffness, as in D. Packwood et al. (doi 10.1063/1.4947024).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kappaforge.relax.point import Point
from kappaforge.relax.stiffness import inverse_stiffness

MEMORY = 20
"""Pairs of moves and changes of force that are remembered."""

MODEL_INTERVAL = 10
"""Steps after which the model of the stiffness is made anew, as bonds may have formed or broken."""

RISE_EV_PER_ATOM = 1e-5
"""A rise of the energy below this is taken for the noise of a potential in single precision."""

SMALL_MOVE_ANG = 1e-3
"""Moves of no more than this are never taken back: an energy that rises there has a step or is noisy."""

SHORTEST, LONGEST = 0.1, 0.5
"""What a move is shortened by that went uphill lies in between."""

LEAST_CURVATURE = 1e-3
"""A pair is remembered where the force fell along the move by more than this cosine: the stiffness stays positive."""

SOFTEST, STIFFEST = 0.01, 20.0
"""How far the true stiffness is believed to lie from the model's, as a factor."""


class Lbfgs(NamedTuple):
    """State of many minimisations, whose coordinates are the rows of one array.

    =============  ===================  =============================================================================
    field          shape                content
    =============  ===================  =============================================================================
    moves          (n_rows, 3)          last move, from the last point that was accepted
    forces         (n_rows, 3)          downhill gradient at that point
    energies       (n,)                 energy there; infinite before the first step
    past_moves     (MEMORY, n_rows, 3)  accepted moves, latest first
    past_changes   (MEMORY, n_rows, 3)  changes of minus the force along them
    past_weights   (MEMORY, n)          1 / (move · change); 0 where nothing is remembered
    scales         (n,)                 inverse stiffness, in units of the model's
    inverses       n × (own, own)       inverse of the model of the stiffness, own = 3 times the rows of each, or (own,)
    =============  ===================  =============================================================================
    """

    moves: np.ndarray
    forces: np.ndarray
    energies: np.ndarray
    past_moves: np.ndarray
    past_changes: np.ndarray
    past_weights: np.ndarray
    scales: np.ndarray
    inverses: tuple[np.ndarray, ...]

    @classmethod
    def at_rest(cls, n_rows: int, n: int) -> Lbfgs:
        """Return the state before the first step."""
        still, past = np.zeros((n_rows, 3)), np.zeros((MEMORY, n_rows, 3))
        unknown = (np.empty((0, 0)),) * n
        return cls(still, still, np.full(n, np.inf), past, past, np.zeros((MEMORY, n)), np.ones(n), unknown)

    def of(self, rows: np.ndarray, which: np.ndarray) -> Lbfgs:
        """Return the state of some of the minimisations, given the masks of their rows and of themselves."""
        return Lbfgs(
            self.moves[rows],
            self.forces[rows],
            self.energies[which],
            self.past_moves[:, rows],
            self.past_changes[:, rows],
            self.past_weights[:, which],
            self.scales[which],
            tuple(inverse for inverse, kept in zip(self.inverses, which, strict=True) if kept),
        )

    def replaced(self, rows: np.ndarray, which: np.ndarray, part: Lbfgs) -> Lbfgs:
        """Return the state with the part, of these masks, in place of what `of` returns for them."""
        inverses, own = list(self.inverses), iter(part.inverses)
        for place in np.flatnonzero(which).tolist():
            inverses[place] = next(own)

        new = self.of(np.ones(len(rows), dtype=bool), np.ones(len(which), dtype=bool))._replace(
            inverses=tuple(inverses)
        )
        new.moves[rows], new.forces[rows], new.energies[which] = part.moves, part.forces, part.energies
        new.past_moves[:, rows], new.past_changes[:, rows] = part.past_moves, part.past_changes
        new.past_weights[:, which], new.scales[which] = part.past_weights, part.scales
        return new

    def joined(self, others: Lbfgs) -> Lbfgs:
        """Return the state of these minimisations followed by others."""
        return Lbfgs(
            np.concatenate([self.moves, others.moves]),
            np.concatenate([self.forces, others.forces]),
            np.concatenate([self.energies, others.energies]),
            np.concatenate([self.past_moves, others.past_moves], axis=1),
            np.concatenate([self.past_changes, others.past_changes], axis=1),
            np.concatenate([self.past_weights, others.past_weights], axis=1),
            np.concatenate([self.scales, others.scales]),
            self.inverses + others.inverses,
        )

    def step(self, point: Point, max_move_ang: float) -> tuple[Lbfgs, np.ndarray]:
        """Return the next state and the moves of the rows; see `lbfgs_step`."""
        geometry = point.geometry
        inverses = tuple(
            inverse_stiffness(cell, geometry.positions[rows], geometry.numbers[rows]) if renewed else inverse
            for cell, rows, renewed, inverse in zip(
                geometry.cells, geometry.slices, point.steps % MODEL_INTERVAL == 0, self.inverses, strict=True
            )
        )
        noise = RISE_EV_PER_ATOM * geometry.counts
        state = self._replace(inverses=inverses)
        return lbfgs_step(state, point.forces, point.energies_ev, noise, point.owner, max_move_ang)


def lbfgs_step(
    state: Lbfgs,
    forces: np.ndarray,
    energies: np.ndarray,
    noise: np.ndarray,
    owner: np.ndarray,
    max_move: float,
) -> tuple[Lbfgs, np.ndarray]:
    """Advance every minimisation by one step: on from a point that is lower, back from one that is higher.

    Parameters
    ----------
    state
        Where they are.
    forces
        Downhill gradient of each row, shape (n_rows, 3).
    energies
        Shape (n,).
    noise
        How far an energy may rise without being taken for a rise, shape (n,).
    owner
        Which minimisation each row belongs to, ascending, shape (n_rows,); no minimisation feels another.
    max_move
        Longest move of a row; the moves of a minimisation are scaled down together.

    Returns
    -------
    state, moves
        The next state, and what to add to the rows, shape (n_rows, 3).
    """
    n = len(energies)

    def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.bincount(owner, (a * b).sum(axis=1), minlength=n)

    expected = dot(state.moves, state.forces)
    rise = energies - state.energies
    uphill = (rise > noise) & (_longest(state.moves, owner, n) > SMALL_MOVE_ANG)
    # The parabola through the last energy, its slope and the energy now has its minimum there.
    shorter = np.clip(0.5 * expected / np.where(uphill, rise + expected, 1.0), SHORTEST, LONGEST)
    shortened = shorter[owner, None] * state.moves
    back = uphill[owner, None]

    changes = state.forces - forces
    curvature, size = dot(state.moves, changes), np.sqrt(dot(state.moves, state.moves) * dot(changes, changes))
    good = ~uphill & (curvature > LEAST_CURVATURE * size)
    kept = np.where(good, 1.0 / np.where(good, curvature, 1.0), 0.0)
    past_weights = np.where(uphill, 0.0, np.concatenate([kept[None], state.past_weights[:-1]]))
    past_moves = np.concatenate([state.moves[None], state.past_moves[:-1]])
    past_changes = np.concatenate([changes[None], state.past_changes[:-1]])
    change = dot(changes, _times(state.inverses, changes, owner))
    scales = np.clip(np.where(good, curvature / np.where(good, change, 1.0), state.scales), 1 / STIFFEST, 1 / SOFTEST)

    moves, along = forces, np.zeros((MEMORY, n))
    for past in range(MEMORY):
        along[past] = past_weights[past] * dot(past_moves[past], moves)
        moves = moves - along[past][owner, None] * past_changes[past]
    moves = scales[owner, None] * _times(state.inverses, moves, owner)
    for past in reversed(range(MEMORY)):
        against = past_weights[past] * dot(past_changes[past], moves)
        moves = moves + (along[past] - against)[owner, None] * past_moves[past]
    moves = moves * np.minimum(1.0, max_move / np.maximum(_longest(moves, owner, n), 1e-300))[owner, None]

    moves = np.where(back, shortened, moves)
    following = Lbfgs(
        moves,
        np.where(back, state.forces, forces),
        np.where(uphill, state.energies, energies),
        past_moves,
        past_changes,
        past_weights,
        scales,
        state.inverses,
    )
    return following, np.where(back, shortened - state.moves, moves)


def _longest(moves: np.ndarray, owner: np.ndarray, n: int) -> np.ndarray:
    longest = np.zeros(n)
    np.maximum.at(longest, owner, np.sqrt((moves * moves).sum(axis=1)))
    return longest


def _times(matrices: Sequence[np.ndarray], rows: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Multiply the rows of each minimisation, taken as one vector, by its matrix or the diagonal of it."""
    ends = np.searchsorted(owner, np.arange(len(matrices) + 1))
    products = []
    for matrix, start, end in zip(matrices, ends[:-1], ends[1:], strict=True):
        vector = rows[start:end].ravel()
        products.append(matrix * vector if matrix.ndim == 1 else matrix @ vector)
    return np.concatenate(products).reshape(-1, 3)

"""From a random start to a crystal: solvers over whatever network says where a state ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch

from kappaforge.errors import InputError


class State(NamedTuple):
    """Crystals of one number of atoms on their way.

    `fractional` has shape (n_crystals, n_atoms, 3), not wrapped; `cells`, rows in Å, shape (n_crystals, 3, 3).
    """

    fractional: torch.Tensor
    cells: torch.Tensor


class Rest(NamedTuple):
    """What is left of the way of each crystal.

    `displacements_ang` in the frame of the present cell, shape (n_crystals, n_atoms, 3); `strains`, shape
    (n_crystals, 3, 3), symmetric: the cell at the end is the present one times the exponential of it.
    """

    displacements_ang: torch.Tensor
    strains: torch.Tensor


Predictor = Callable[[State, float], Rest]
"""Tells from a state at a time between 0 (random) and 1 (crystal) what is left of the way."""

Solver = Callable[[Predictor, State, Sequence[float]], State]


def moved(state: State, rest: Rest, share: float) -> State:
    """Go a share of what is left."""
    fractional = torch.linalg.solve(state.cells, rest.displacements_ang, left=False)
    cells = state.cells @ torch.linalg.matrix_exp(share * rest.strains)
    return State(state.fractional + share * fractional, cells)


def times(n_steps: int, power: float = 1.5) -> list[float]:
    """Return n + 1 times from 0 to 1, the denser near 1 the higher the power is above 1."""
    return [1 - (1 - step / n_steps) ** power for step in range(n_steps + 1)]


def euler(predict: Predictor, state: State, times: Sequence[float]) -> State:
    """Follow the flow by first-order steps; one prediction each."""
    for now, then in pairwise(times):
        state = moved(state, predict(state, now), (then - now) / (1 - now))
    return state


def heun(predict: Predictor, state: State, times: Sequence[float]) -> State:
    """Follow the flow by second-order steps, with two predictions each but the last."""
    for now, then in pairwise(times):
        here = predict(state, now)
        tried = moved(state, here, (then - now) / (1 - now))
        if then >= 1:
            return tried
        there = predict(tried, then)
        # what is left is a velocity times the time left; the mean of both velocities makes the step
        ratio = (1 - now) / (1 - then)
        strains = (here.strains + there.strains * ratio) / 2
        fractional = torch.linalg.solve(tried.cells, there.displacements_ang, left=False)
        displacements = (here.displacements_ang + fractional @ state.cells * ratio) / 2
        state = moved(state, Rest(displacements, strains), (then - now) / (1 - now))
    return state


def predictor_corrector(
    predict: Predictor, state: State, times: Sequence[float], *, corrections: int = 5, at: float = 0.95
) -> State:
    """Follow the flow by `euler`, then correct: as at a late time, go half of what is left again and again."""
    state = euler(predict, state, times)
    for _ in range(corrections):
        state = moved(state, predict(state, at), 0.5)
    return state


SOLVERS: dict[str, Solver] = {"euler": euler, "heun": heun, "predictor-corrector": predictor_corrector}


def solver(name: str) -> Solver:
    """Return the solver of that name; raises `InputError` for others."""
    if name not in SOLVERS:
        raise InputError(f"[generate] solver: expected {' or '.join(SOLVERS)}, got {name!r}")
    return SOLVERS[name]

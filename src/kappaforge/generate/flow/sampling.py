"""Crystals of a flow's network: starts, the way, and ends that obey their space group exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from ase.data import chemical_symbols

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.generate.base import Proposal, proposal_id
from kappaforge.generate.constraints import SpaceGroups, exact, unconstrained
from kappaforge.generate.distances import too_close
from kappaforge.generate.flow.network import FlowNetwork
from kappaforge.generate.flow.path import start_cell
from kappaforge.generate.pattern import Pattern
from kappaforge.generate.solvers import Rest, Solver, State, times

STEPS = 40
"""Predictions on the way, of which more change nothing that relaxation does not."""


class Draft(NamedTuple):
    """A crystal on its way: its pattern, fractional positions, and cell (rows, Å)."""

    pattern: Pattern
    fractional: np.ndarray
    cell: np.ndarray


class Sampler(NamedTuple):
    """What makes crystals of starts.

    Parameters
    ----------
    network
        Fitted.
    elements
        Symbols by the network's types.
    volumes_ang3
        Of an atom of each element, shape (n_elements,).
    solve
        A solver.
    steps
        Its number of steps.
    """

    network: FlowNetwork
    elements: tuple[str, ...]
    volumes_ang3: np.ndarray
    solve: Solver
    steps: int

    def start(self, pattern: Pattern, rng: np.random.Generator) -> Draft:
        """Draw a start."""
        cell = start_cell(pattern, self.volumes_ang3[self._types(pattern)].sum(), self.network.settings, rng)
        fractional = rng.random((len(pattern), 3)) if pattern.number == 1 else pattern.random_positions(rng)
        return Draft(pattern, fractional, cell)

    @torch.no_grad()
    def ends(self, starts: Sequence[Draft], latents: np.ndarray | None = None) -> list[Draft | None]:
        """Follow the flow, crystals of one size together; None for one whose cell collapsed on the way.

        `latents` has shape (n_crystals, n_latent).
        """
        ends: list[Draft | None] = [None] * len(starts)
        sizes = np.array([len(start.pattern) for start in starts])
        for size in np.unique(sizes):
            members = [int(place) for place in np.flatnonzero(sizes == size)]
            told = None if latents is None else torch.from_numpy(latents[members]).float()
            for place, end in zip(members, self._together([starts[m] for m in members], told), strict=True):
                ends[place] = end
        return ends

    def _together(self, starts: list[Draft], latents: torch.Tensor | None) -> list[Draft | None]:
        types = torch.tensor([self._types(start.pattern) for start in starts])

        def predict(state: State, time: float) -> Rest:
            rest: Rest = self.network(state, torch.full((len(starts),), time), types, latents)
            return rest

        patterns = [start.pattern for start in starts]
        constraint = SpaceGroups(patterns) if any(pattern.number > 1 for pattern in patterns) else unconstrained
        try:
            end = self.solve(constraint(predict), batch_of(starts), times(self.steps))
        except FloatingPointError:
            if len(starts) == 1:
                return [None]
            # one of them stops the batch: each for itself
            alone = [None if latents is None else latents[place : place + 1] for place in range(len(starts))]
            return [self._together([start], own)[0] for start, own in zip(starts, alone, strict=True)]
        parts = (part.double().numpy() for part in end)
        return [
            Draft(start.pattern, *exact(start.pattern, start.fractional, fractional, cell))
            for start, fractional, cell in zip(starts, *parts, strict=True)
        ]

    def _types(self, pattern: Pattern) -> list[int]:
        return [self.elements.index(chemical_symbols[number]) for number in pattern.numbers]


def batch_of(drafts: Sequence[Draft]) -> State:
    """Return the state of crystals of one size."""
    fractional, cells = (np.stack(part) for part in zip(*((d.fractional, d.cell) for d in drafts), strict=True))
    return State(torch.from_numpy(fractional).float(), torch.from_numpy(cells).float())


def proposal(number: int, end: Draft | None, source: str) -> Proposal:
    """Return a draft as proposal."""
    name = proposal_id(number)
    if end is not None and np.isfinite(end.cell).all() and np.isfinite(end.fractional).all():
        try:
            crystal = Crystal(end.cell, end.fractional % 1.0 @ end.cell, end.pattern.numbers, id=name, source=source)
        except InputError:
            pass  # no volume
        else:
            return Proposal(name, "ok", crystal, space_group_number=end.pattern.number)
    return Proposal(name, "failed", reason="its cell collapsed")


def propose(
    sampler: Sampler,
    draw: Callable[[np.random.Generator], Pattern | None],
    numbers: range,
    *,
    seed: int,
    source: str,
    latent: np.ndarray | None,
    max_attempts: int,
    min_distance_factor: float,
) -> list[Proposal]:
    """Make the proposals of these numbers; those whose atoms come too close are drawn anew, up to `max_attempts` times.

    `draw` gives a pattern, or None where there is none such as is wanted.
    """
    found: dict[int, Proposal] = {}
    for trial in range(max_attempts):
        starts: dict[int, Draft] = {}
        for number in numbers:
            if number in found and found[number].status == "ok":
                continue
            rng = np.random.default_rng([seed, number, trial])
            pattern = draw(rng)
            if pattern is None:
                reason = "no sites of the space groups asked for hold such atoms"
                found[number] = Proposal(proposal_id(number), "failed", reason=reason)
            else:
                starts[number] = sampler.start(pattern, rng)
        if not starts:
            break
        latents = None if latent is None else np.repeat(latent[None], len(starts), axis=0)
        for number, end in zip(starts, sampler.ends(list(starts.values()), latents), strict=True):
            made = proposal(number, end, source)
            if made.crystal is not None and too_close(made.crystal, min_distance_factor):
                made = Proposal(made.id, "failed", reason=f"its atoms come too close (in {trial + 1} attempts)")
            found[number] = made
    return [found[number] for number in numbers]

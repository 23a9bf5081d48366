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
from kappaforge.generate.flow.geometry import CollapsedCellsError
from kappaforge.generate.flow.judge import Judge
from kappaforge.generate.flow.network import FlowNetwork
from kappaforge.generate.flow.path import start_cell
from kappaforge.generate.pattern import Pattern
from kappaforge.generate.solvers import Rest, Solver, State, times

STEPS = 8
"""Predictions on the way, of which more change nothing that relaxation does not."""

JUDGED_AT = 0.9
"""Time that the network is told when it judges a draft; at later times it judges worse which relax to low energies."""


PATTERNS_AT_ONCE = 4
"""Drawn for a proposal before the judge is asked: about every fourth is to its liking, and large batches cost less."""


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
    judge
        Of drafts; None for the network's own judgement.
    """

    network: FlowNetwork
    elements: tuple[str, ...]
    volumes_ang3: np.ndarray
    solve: Solver
    steps: int
    judge: Judge | None = None

    @property
    def highest_doubt(self) -> float:
        """What a draft may have at most to be good enough, see `doubts`; infinite without a judge."""
        return float(self.judge.limit[0]) if self.judge else np.inf

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

    @torch.no_grad()
    def doubts(self, drafts: Sequence[Draft]) -> np.ndarray:
        """Return how bad these look to the network, told that the time is 0.9, shape (n,); infinite for no cell.

        The energy that the judge expects after relaxation, in eV/atom. Without a judge, how far they seem from
        crystals: the root mean square displacement that the network asks for, in cube roots of the volume per atom,
        plus the norm of the strain.
        """
        found = np.full(len(drafts), np.inf)
        sizes = np.array([len(draft.pattern) for draft in drafts])
        for size in np.unique(sizes):
            members = [int(place) for place in np.flatnonzero(sizes == size)]
            found[members] = self._doubts([drafts[m] for m in members])
        return found

    @torch.no_grad()
    def features(self, drafts: Sequence[Draft]) -> np.ndarray:
        """Return what a judge sees of drafts of one size, shape (n, n_features)."""
        types = torch.tensor([self._types(draft.pattern) for draft in drafts])
        seen = self.network.described(batch_of(drafts), torch.full((len(drafts),), JUDGED_AT), types)
        return np.asarray(seen.double())

    def _doubts(self, drafts: list[Draft]) -> np.ndarray:
        try:
            return (
                self._unrest(drafts) if self.judge is None else self.judge.energies_ev_per_atom(self.features(drafts))
            )
        except CollapsedCellsError as error:
            doubts, left = np.full(len(drafts), np.inf), np.flatnonzero(~error.which.numpy())
            if len(left):
                doubts[left] = self._doubts([drafts[place] for place in left])
            return doubts

    def _unrest(self, drafts: list[Draft]) -> np.ndarray:
        state = batch_of(drafts)
        types = torch.tensor([self._types(draft.pattern) for draft in drafts])
        rest = self.network(state, torch.full((len(drafts),), JUDGED_AT), types)
        lengths = (torch.linalg.det(state.cells).abs() / types.shape[1]) ** (1 / 3)
        moves = rest.displacements_ang.square().sum(-1).mean(-1).sqrt() / lengths
        unrest: np.ndarray = (moves + rest.strains.square().sum((-1, -2)).sqrt()).double().numpy()
        return unrest

    def _together(self, starts: list[Draft], latents: torch.Tensor | None) -> list[Draft | None]:
        types = torch.tensor([self._types(start.pattern) for start in starts])

        def predict(state: State, time: float) -> Rest:
            rest: Rest = self.network(state, torch.full((len(starts),), time), types, latents)
            return rest

        patterns = [start.pattern for start in starts]
        constraint = SpaceGroups(patterns) if any(pattern.number > 1 for pattern in patterns) else unconstrained
        try:
            end = self.solve(constraint(predict), batch_of(starts), times(self.steps))
        except CollapsedCellsError as error:  # the others once more, without these
            ends: list[Draft | None] = [None] * len(starts)
            left = torch.nonzero(~error.which).flatten().tolist()
            if left:
                told = None if latents is None else latents[left]
                for place, one in zip(left, self._together([starts[place] for place in left], told), strict=True):
                    ends[place] = one
            return ends
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
    best_of: int,
    max_attempts: int,
    min_distance_factor: float,
) -> list[Proposal]:
    """Make the proposals of these numbers, each the first draft that is good enough.

    A draft is good enough where no atoms come too close and the judge, if there is one, expects a low energy. Patterns
    are drawn anew until there is one, up to `max_attempts` times; of those that the judge does not like the best is
    taken then. `draw` gives a pattern, or None where there is none such as is wanted.
    """
    at_once = PATTERNS_AT_ONCE if sampler.judge else 1
    accepted: dict[int, Proposal] = {}
    second_best: dict[int, tuple[float, Proposal]] = {}
    for trial in range(0, max_attempts, at_once):
        owners: list[int] = []
        starts: list[Draft] = []
        for number in numbers:
            for attempt in range(trial, min(trial + at_once, max_attempts)):
                if number in accepted:
                    break
                rng = np.random.default_rng([seed, number, attempt])
                pattern = draw(rng)
                if pattern is None:
                    reason = "no sites of the space groups asked for hold such atoms"
                    second_best.setdefault(number, (np.inf, Proposal(proposal_id(number), "failed", reason=reason)))
                    continue
                # of one pattern: among different ones the network would prefer the simplest again and again
                starts += [sampler.start(pattern, rng) for _ in range(best_of)]
                owners += [number] * best_of
        if not starts:
            break
        latents = None if latent is None else np.repeat(latent[None], len(starts), axis=0)
        attempts = min(trial + at_once, max_attempts)
        for number, end, doubt in _best(sampler, owners, sampler.ends(starts, latents), best_of):
            made = _apart(proposal(number, end, source), min_distance_factor, attempts)
            worth = doubt if made.crystal is not None else np.inf
            if number not in second_best or worth < second_best[number][0]:
                second_best[number] = worth, made
            if made.crystal is not None and doubt <= sampler.highest_doubt:
                accepted.setdefault(number, made)
    return [accepted[number] if number in accepted else second_best[number][1] for number in numbers]


def _best(
    sampler: Sampler, owners: Sequence[int], ends: Sequence[Draft | None], best_of: int
) -> list[tuple[int, Draft | None, float]]:
    """Return owner, best draft (None: all collapsed) and its doubt for each pattern, which `best_of` in a row share."""
    doubts = np.full(len(ends), np.inf)
    whole = [place for place, end in enumerate(ends) if end is not None]
    doubts[whole] = sampler.doubts([end for end in ends if end is not None])
    places = np.arange(0, len(ends), best_of) + np.argmin(doubts.reshape(-1, best_of), axis=1)
    return [(owners[place], ends[place], float(doubts[place])) for place in places.tolist()]


def _apart(made: Proposal, min_distance_factor: float, attempts: int) -> Proposal:
    """Return the proposal, or a failed one where its atoms come too close."""
    if made.crystal is None or not too_close(made.crystal, min_distance_factor):
        return made
    return Proposal(made.id, "failed", reason=f"its atoms come too close (in {attempts} attempts)")

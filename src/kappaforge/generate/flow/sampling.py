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

STEPS = 25
"""Predictions on the way, of which more change nothing that relaxation does not."""


JUDGED_AT = 0.9
"""Time that the network is told when it judges a draft; at later times it judges worse which relax to low energies."""


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

    @torch.no_grad()
    def unrest(self, drafts: Sequence[Draft]) -> np.ndarray:
        """Return how far the network thinks these are from crystals, shape (n,); infinite for a collapsed cell.

        It is told that the time is 0.9. The root mean square displacement that it then asks for, in cube roots of the
        volume per atom, plus the norm of the strain.
        """
        found = np.full(len(drafts), np.inf)
        sizes = np.array([len(draft.pattern) for draft in drafts])
        for size in np.unique(sizes):
            members = [int(place) for place in np.flatnonzero(sizes == size)]
            found[members] = self._unrest([drafts[m] for m in members])
        return found

    def _unrest(self, drafts: list[Draft]) -> np.ndarray:
        state = batch_of(drafts)
        types = torch.tensor([self._types(draft.pattern) for draft in drafts])
        try:
            rest = self.network(state, torch.full((len(drafts),), JUDGED_AT), types)
        except FloatingPointError:
            if len(drafts) == 1:
                return np.array([np.inf])
            return np.concatenate([self._unrest([draft]) for draft in drafts])
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
    best_of: int,
    max_attempts: int,
    min_distance_factor: float,
) -> list[Proposal]:
    """Make the proposals of these numbers, each the best of some drafts by the network's own judgement.

    Those whose atoms come too close are drawn anew, up to `max_attempts` times. `draw` gives a pattern, or None where
    there is none such as is wanted.
    """
    found: dict[int, Proposal] = {}
    for trial in range(max_attempts):
        owners: list[int] = []
        starts: list[Draft] = []
        for number in numbers:
            if number in found and found[number].status == "ok":
                continue
            rng = np.random.default_rng([seed, number, trial])
            pattern = draw(rng)
            if pattern is None:
                reason = "no sites of the space groups asked for hold such atoms"
                found[number] = Proposal(proposal_id(number), "failed", reason=reason)
                continue
            # of one pattern: among different ones the network would prefer the simplest again and again
            starts += [sampler.start(pattern, rng) for _ in range(best_of)]
            owners += [number] * best_of
        if not starts:
            break
        latents = None if latent is None else np.repeat(latent[None], len(starts), axis=0)
        for number, end in _best(sampler, owners, sampler.ends(starts, latents)).items():
            made = proposal(number, end, source)
            if made.crystal is not None and too_close(made.crystal, min_distance_factor):
                made = Proposal(made.id, "failed", reason=f"its atoms come too close (in {trial + 1} attempts)")
            found[number] = made
    return [found[number] for number in numbers]


def _best(sampler: Sampler, owners: Sequence[int], ends: Sequence[Draft | None]) -> dict[int, Draft | None]:
    """Return the draft of each owner that is nearest to a crystal; None where all collapsed."""
    kept: dict[int, Draft | None] = dict.fromkeys(owners)
    whole = [(owner, end) for owner, end in zip(owners, ends, strict=True) if end is not None]
    unrest = sampler.unrest([end for _, end in whole])
    for place in np.argsort(-unrest, kind="stable"):  # the nearest comes last
        owner, end = whole[place]
        kept[owner] = end
    return kept

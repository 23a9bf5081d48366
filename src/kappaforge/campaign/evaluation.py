"""What a generator's crystals are worth after relaxation: unique, novel, symmetric, low in energy, and at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np

from kappaforge.campaign import distill, evaluation_tasks, tasks
from kappaforge.campaign.memo import Memo, chunks
from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.generate import registry as generators
from kappaforge.generate.perturbed import parents_of
from kappaforge.generate.settings import GenerateSettings
from kappaforge.potentials.base import Potential
from kappaforge.relax.relaxer import RelaxRecord
from kappaforge.relax.settings import RelaxSettings
from kappaforge.screen.energy import energies_above_lowest
from kappaforge.screen.settings import ScreenSettings
from kappaforge.screen.unique import match

LOW_ENERGY_EV_PER_ATOM = 0.5
"""Crystals up to this above the ground state count as low in energy."""

FALSE_MINIMUM_EV_PER_ATOM = 0.1
"""What lies further below the ground state than this is a minimum that only the potential has."""

SAME_ENERGY_EV_PER_ATOM = 0.02
"""A crystal is a known one where it matches and its energy is as close as this: matching alone is loose."""

LOOSE = RelaxSettings(fmax_ev_per_ang=0.02, stress_max_gpa=0.5, max_steps=500)
"""Enough to tell which crystal it is, and its energy to meV/atom, in fewer steps than a campaign's relaxation."""

CURVE_POINTS = 20


@dataclass(frozen=True, eq=False)
class KnownCrystals:
    """Known crystals at their minima of the potential, of which the lowest is the ground state.

    Parameters
    ----------
    crystals
        Relaxed.
    energies_ev_per_atom
        Shape (n_crystals,).
    """

    crystals: tuple[Crystal, ...]
    energies_ev_per_atom: np.ndarray


@dataclass(frozen=True)
class GrowthPoint:
    """How many distinct crystals the first `generated` proposals became."""

    generated: int
    distinct: int
    distinct_symmetric: int
    distinct_symmetric_low: int


@dataclass(frozen=True)
class Yield:
    """What became of a source's proposals.

    Parameters
    ----------
    name
        The source's.
    generated
        Number of proposals, failed ones too.
    crystals
        Those that gave a crystal.
    converged
        Those that relaxed.
    symmetric
        Relaxed ones that are small and symmetric, copies counted.
    symmetric_low
        Of these, those low in energy.
    distinct, distinct_novel
        Distinct relaxed crystals, and those that are not in the data set.
    distinct_symmetric, distinct_symmetric_novel
        Distinct ones that are small and symmetric, and those of them that are not in the data set.
    distinct_symmetric_low
        Distinct, symmetric and up to 0.5 eV/atom above the ground state.
    distinct_symmetric_false
        Distinct, symmetric and more than 0.1 eV/atom below the ground state: artefacts of the potential.
    cpu_seconds_generate, cpu_seconds_relax
        CPU time of all proposals and all relaxations.
    curve
        Growth with the number of proposals.
    known
        Names of the known crystals that appeared, each with the id of the first proposal that became it.
    missing
        Names of the known crystals that did not.
    """

    name: str
    generated: int
    crystals: int
    converged: int
    symmetric: int
    symmetric_low: int
    distinct: int
    distinct_novel: int
    distinct_symmetric: int
    distinct_symmetric_novel: int
    distinct_symmetric_low: int
    distinct_symmetric_false: int
    cpu_seconds_generate: float
    cpu_seconds_relax: float
    curve: tuple[GrowthPoint, ...]
    known: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]

    def per_thousand(self, count: int) -> float:
        """Return a count per 1,000 proposals."""
        return 1000 * count / self.generated

    def per_cpu_hour(self, count: int) -> float:
        """Return a count per CPU-hour of generation and relaxation."""
        return 3600 * count / (self.cpu_seconds_generate + self.cpu_seconds_relax)


@dataclass(frozen=True)
class EvaluationSettings:
    """How proposals are judged.

    Parameters
    ----------
    relax, screen
        Of relaxation and of uniqueness and symmetry; the window of energy is not taken from there.
    seed
        Of all proposals.
    batch_size
        Crystals in one task of relaxation.
    """

    relax: RelaxSettings = LOOSE
    screen: ScreenSettings = field(default_factory=ScreenSettings)
    seed: int = 0
    batch_size: int = 32


def propose(
    memo: Memo, settings: GenerateSettings, n: int, evaluation: EvaluationSettings
) -> list[evaluation_tasks.Proposed]:
    """Return the first `n` proposals of the generator that the settings name, batch by batch."""
    generator = generators.load(settings.generator, settings)
    arguments = [(settings, evaluation.seed, first, size) for first, size in _batches(n, generator.batch)]
    return memo.map("generate", 1, evaluation_tasks.propose, arguments, generator.digest)


def propose_perturbed(
    memo: Memo, data: Sequence[Crystal], n: int, evaluation: EvaluationSettings
) -> list[evaluation_tasks.Proposed]:
    """Return `n` perturbed crystals of the data set, the other control."""
    arguments = []
    for first, size in _batches(n, evaluation.batch_size):
        chosen = parents_of(len(data), size, first=first, seed=evaluation.seed)
        arguments.append(([data[index] for index in chosen], evaluation.seed, first))
    return memo.map("perturb training crystals", 1, evaluation_tasks.propose_perturbed, arguments)


def known_crystals(
    memo: Memo, crystals: Sequence[Crystal], potential: Potential, evaluation: EvaluationSettings
) -> KnownCrystals:
    """Relax the crystals that are known to exist, which define the ground state; those that do not relax are left out.

    Raises
    ------
    InputError
        Where none of them relaxes: nothing says then what is low in energy.
    """
    records, _ = relaxed(memo, "relax known crystals", crystals, potential, evaluation)
    minima = [record for record in records if record.status == "ok"]
    if not minima:
        raise InputError("none of the known crystals relaxes with this potential; give others with --data")
    return KnownCrystals(
        tuple(record.crystal for record in minima), np.array([record.energy_ev_per_atom for record in minima])
    )


def relaxed_yield(
    memo: Memo,
    name: str,
    proposed: Sequence[evaluation_tasks.Proposed],
    known: KnownCrystals,
    data: Sequence[Crystal],
    potential: Potential,
    evaluation: EvaluationSettings,
) -> Yield:
    """Relax a source's proposals and count what they became.

    Parameters
    ----------
    memo
        Where everything is looked up and stored.
    name
        The source's.
    proposed
        Its proposals.
    known
        Relaxed with the same potential and settings.
    data
        What is not novel, as it is: matching scales the volumes, and its tolerances are wide.
    potential, evaluation
        How to relax and judge.
    """
    proposals = [proposal for batch in proposed for proposal in batch.proposals]
    crystals = [proposal.crystal for proposal in proposals if proposal.crystal is not None]
    records, cpu_relax = relaxed(memo, f"relax {name}", crystals, potential, evaluation)
    good = [record for record in records if record.status == "ok"]
    minima = [record.crystal for record in good]
    reduced = distill.reduced(memo, f"reduce {name}", minima)
    labels = distill.groups(memo, f"unique {name}", reduced, evaluation.screen)
    first = np.flatnonzero(labels == np.arange(len(labels)))
    known_cells = distill.reduced(memo, "reduce the data set", data)
    found = distill.matches(memo, f"novel {name}", reduced.take(first), known_cells, evaluation.screen)
    new_labels = set(first[found < 0].tolist())
    symmetric = _symmetric(memo, f"symmetry {name}", minima, evaluation.screen)
    above = _above_ground(good, known)
    low = (above <= LOW_ENERGY_EV_PER_ATOM) & (above >= -FALSE_MINIMUM_EV_PER_ATOM)
    false = above < -FALSE_MINIMUM_EV_PER_ATOM
    place = {proposal.id: number for number, proposal in enumerate(proposals)}
    at = np.array([place[record.id] for record in good], dtype=int)
    appeared = _appeared(good, known, evaluation.screen)
    symmetric_labels = set(labels[symmetric].tolist())
    return Yield(
        name=name,
        generated=len(proposals),
        crystals=len(crystals),
        converged=len(good),
        symmetric=int(symmetric.sum()),
        symmetric_low=int((symmetric & low).sum()),
        distinct=len(first),
        distinct_novel=len(new_labels),
        distinct_symmetric=len(symmetric_labels),
        distinct_symmetric_novel=len(symmetric_labels & new_labels),
        distinct_symmetric_low=len(set(labels[symmetric & low].tolist())),
        distinct_symmetric_false=len(set(labels[symmetric & false].tolist())),
        cpu_seconds_generate=sum(batch.cpu_seconds for batch in proposed),
        cpu_seconds_relax=cpu_relax,
        curve=_curve(len(proposals), at, labels, symmetric, symmetric & low),
        known=tuple(appeared.items()),
        missing=tuple(crystal.id for crystal in known.crystals if crystal.id not in appeared),
    )


def _batches(n: int, size: int) -> list[tuple[int, int]]:
    return [(first, min(size, n - first)) for first in range(0, n, size)]


def first_proposals(proposed: Sequence[evaluation_tasks.Proposed], n: int) -> list[evaluation_tasks.Proposed]:
    """Return the batches that hold the first `n` proposals; the last may hold more."""
    starts = np.cumsum([0, *(len(batch.proposals) for batch in proposed)])
    return list(islice(proposed, int((starts < n).sum())))


def relaxed(
    memo: Memo, step: str, crystals: Sequence[Crystal], potential: Potential, evaluation: EvaluationSettings
) -> tuple[list[RelaxRecord], float]:
    """Relax crystals, batch by batch; return their records and the CPU time that they took, s."""
    arguments = [(batch, potential.name, evaluation.relax) for batch in chunks(crystals, evaluation.batch_size)]
    batches = memo.map(step, 1, evaluation_tasks.relax_timed, arguments, potential.digest)
    records = list(chain.from_iterable(batch.records for batch in batches))
    return records, sum(batch.cpu_seconds for batch in batches)


def _symmetric(memo: Memo, step: str, crystals: Sequence[Crystal], settings: ScreenSettings) -> np.ndarray:
    arguments = [(batch, settings) for batch in chunks(crystals, 256)]
    records = chain.from_iterable(memo.map(step, 1, tasks.find_symmetry, arguments))
    return np.array([record.passes for record in records], dtype=bool)


def _above_ground(records: Sequence[RelaxRecord], known: KnownCrystals) -> np.ndarray:
    """Return how far each lies above the lowest known crystal of its composition, eV/atom."""
    crystals = [*known.crystals, *(record.crystal for record in records)]
    energies = [*known.energies_ev_per_atom.tolist(), *(record.energy_ev_per_atom for record in records)]
    is_known = [True] * len(known.crystals) + [False] * len(records)
    return energies_above_lowest(crystals, energies, is_known)[len(known.crystals) :]


def _appeared(records: Sequence[RelaxRecord], known: KnownCrystals, settings: ScreenSettings) -> dict[str, str]:
    """Return, for each known crystal that appeared, the id of the first record that is the same and as high."""
    energies = np.array([record.energy_ev_per_atom for record in records])
    appeared = {}
    for crystal, energy in zip(known.crystals, known.energies_ev_per_atom, strict=True):
        near = np.flatnonzero(np.abs(energies - energy) < SAME_ENERGY_EV_PER_ATOM)
        close = [records[index] for index in near.tolist()]
        same = match([record.crystal for record in close], [crystal], settings) >= 0
        if same.any():
            appeared[crystal.id] = close[int(np.argmax(same))].id
    return appeared


def _curve(
    n: int, at: np.ndarray, labels: np.ndarray, symmetric: np.ndarray, symmetric_low: np.ndarray
) -> tuple[GrowthPoint, ...]:
    """Return the numbers of distinct labels among the first proposals, at evenly spaced numbers of them."""
    points = np.unique(np.ceil(np.linspace(0, n, CURVE_POINTS + 1)[1:]).astype(int))

    def distinct(chosen: np.ndarray, end: int) -> int:
        return len(np.unique(labels[chosen & (at < end)]))

    return tuple(
        GrowthPoint(
            int(end),
            distinct(np.ones(len(at), dtype=bool), end),
            distinct(symmetric, end),
            distinct(symmetric_low, end),
        )
        for end in points
    )

"""What a campaign will cost, before it is run: how much each step has to do, and the time that takes by measured rates.

Rates are those of the run folder's own finished tasks where it has any, and otherwise those that come with the package,
with the machine and the day they were measured on. Counts are those of the folder's last run where the same settings
were run, and otherwise expected from the shares of one campaign of known outcome.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from kappaforge.campaign.inputs import GENERATE_VERSION, proposal_batches, read_dataset
from kappaforge.campaign.past import Past
from kappaforge.campaign.rates import ReferenceRates, reference_rates
from kappaforge.config import CampaignSettings
from kappaforge.engine.executors import worker_count
from kappaforge.generate import registry as generators
from kappaforge.label import registry as labelers
from kappaforge.label.settings import NO_LABELER
from kappaforge.potentials import registry as potentials
from kappaforge.potentials.base import require_elements
from kappaforge.store.codec import task_key
from kappaforge.store.run_folder import RunFolder
from kappaforge.transport.settings import KappaSettings

HERE, REFERENCE = "this run", "reference"

WIDER_PER_KAPPA = 1.25
"""Time of larger supercells or of a wider cutoff over that of κ itself, each (docs/method/kappa-error.md)."""

GROWTH = 0.64
"""Distinct symmetric crystals grow with the proposals to this power (docs/method/generators.md, ``flow``)."""

AS_CHEAP: Mapping[str, Any] = {
    "level": "full",
    "temperature_k": 300.0,
    "more_temperatures_k": (),
    "isotope_scattering": False,
    "boundary_length_um": None,
    "follow_imaginary": 0,
}
"""Settings of κ that do not change what it costs by much, or are reckoned with."""

RELAXING = ("seed", "dataset", "generate", "potential", "relax", "engine.batch_size")
SCREENING = (*RELAXING, "screen")
SELECTING = (*SCREENING, "describe", "select")
CONDUCTING = (*SELECTING, "label", "learn", "training", "kappa")
DOUBTING = (*CONDUCTING, "error_bar")
"""Tables and keys of the settings that decide the tasks of a step."""


@dataclass(frozen=True)
class Cost:
    """What one step has to do.

    Parameters
    ----------
    step
        Its name.
    unit
        What is counted.
    total, done
        How many there will be, as far as that can be foreseen, and how many of them the run folder has.
    seconds_each
        Time of a worker for one of them, s; None where nobody has measured it.
    source
        Where that comes from: `HERE`, `REFERENCE`, or empty.
    pool
        Which workers do it.
    """

    step: str
    unit: str
    total: int
    done: int = 0
    seconds_each: float | None = None
    source: str = ""
    pool: str = "cpu"

    @property
    def left(self) -> int:
        """How many are left to do."""
        return max(self.total - self.done, 0)

    @property
    def seconds(self) -> float | None:
        """Time of all workers for what is left, s; None where it cannot be told."""
        if not self.left:
            return 0.0
        return None if self.seconds_each is None else self.left * self.seconds_each


@dataclass(frozen=True)
class Estimate:
    """What all steps cost, in their order; with the worker processes of each pool, and the package's own rates."""

    costs: tuple[Cost, ...]
    workers: Mapping[str, int]
    reference: ReferenceRates

    @property
    def seconds(self) -> float:
        """Time of all workers for all that can be told, s."""
        return sum(cost.seconds or 0.0 for cost in self.costs)

    @property
    def wall_s(self) -> float:
        """The same with as many of them at a time as there are, s."""
        return sum((cost.seconds or 0.0) / max(1, min(self.workers[cost.pool], cost.left)) for cost in self.costs)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Steps of which nobody has measured the time."""
        return tuple(cost.step for cost in self.costs if cost.seconds is None)


def estimate(settings: CampaignSettings, folder: RunFolder | None = None) -> Estimate:
    """Foresee what a campaign costs; settings, data set and models are checked on the way.

    Parameters
    ----------
    settings
        Of the campaign.
    folder
        Its run folder, opened to read; None where nothing has been computed yet.

    Raises
    ------
    InputError
        For settings, data or models with which the campaign could not begin.
    """
    potential = potentials.load(settings.potential.name)
    require_elements(potential, frozenset(settings.generate.elements))
    known, dataset = read_dataset(settings, potential)
    if settings.label.labeler != NO_LABELER:
        labelers.load(settings.label)
    past, reference = Past.of(folder), reference_rates()
    foresight = _Foresight(settings, past, reference)

    given = len(known) + len(dataset)
    proposals = foresight.proposals(folder)
    crystals = given + proposals.total
    candidates = foresight.candidates(given)
    first = len(known) + min(settings.select.benchmarks, max(candidates - len(known), 0))
    good = foresight.good(first)
    others = round(good * settings.select.neighbours * reference.shares["neighbours_each"])
    others = max(min(others, candidates - first), 0)
    atoms = foresight.atoms()
    relax_s = reference.relax_s.get(settings.potential.name)
    costs = [
        proposals,
        foresight.cost("relax", ("relax",), RELAXING, crystals, None if relax_s is None else relax_s * atoms),
        foresight.cost("screen", ("reduce", "unique", "novel", "symmetry"), SCREENING, crystals, reference.screen_s),
        foresight.cost("describe", ("describe", "map"), SELECTING, candidates, reference.describe_s),
        *foresight.learning(candidates),
        foresight.kappa("kappa of benchmarks", first, len(known) / max(first, 1)),
        foresight.kappa("kappa of neighbours", others, 0.0),
        *foresight.rest(candidates - first - others),
        *foresight.error_bars(good + round(others * reference.shares["good"])),
    ]
    workers = {pool: worker_count(settings.engine, pool) for pool in {cost.pool for cost in costs}}
    return Estimate(tuple(costs), workers, reference)


@dataclass(frozen=True)
class _Foresight:
    """What is expected of a campaign, from what its folder and the reference tell."""

    settings: CampaignSettings
    past: Past
    reference: ReferenceRates

    def repeats(self, tables: Sequence[str]) -> bool:
        """Return whether the folder's last run was one of the same settings, number of proposals included."""
        return self.past.is_same(self.settings, tables) and self.past.proposals == self.settings.generate.n

    def cost(
        self,
        step: str,
        parts: tuple[str, ...],
        tables: Sequence[str],
        expected: int,
        reference_s: float | None,
        *,
        unit: str = "crystals",
        pool: str = "cpu",
    ) -> Cost:
        """Return what a step costs whose tasks are those of the folder's steps that begin like `parts`."""
        part = self.past.part(*parts)
        if part.done and self.past.is_same(self.settings, tables):
            fraction = part.done / part.total
            if part.crystals is None:  # its tasks do not say how many: then as many as expected
                done = round(expected * fraction) if self.repeats(tables) else 0
                crystals = max(done, 1)
            else:
                done = crystals = part.crystals
            total = max(expected, done)
            if self.repeats(tables) and part.crystals is not None:
                total = round(done / fraction)
            return Cost(step, unit, total, done, part.seconds / crystals, HERE, pool)
        return Cost(step, unit, expected, 0, reference_s, REFERENCE if reference_s is not None else "", pool)

    def proposals(self, folder: RunFolder | None) -> Cost:
        """Return what generation costs; which of its tasks are done is known exactly."""
        settings = self.settings.generate
        generator = generators.load(settings.generator, settings)
        batches = proposal_batches(settings, self.settings.seed, generator.batch)
        sizes = {task_key("generate", GENERATE_VERSION, batch, generator.digest): batch[3] for batch in batches}
        done = sum(sizes[key] for key in folder.done(sizes)) if folder else 0
        part = self.past.part("generate")
        if part.done and self.past.is_same(self.settings, ("seed", "generate")):
            each = part.seconds / (part.crystals or self.past.proposals)
            return Cost("generate", "proposals", settings.n, done, each, HERE)
        reference_s = self.reference.generate_s.get(settings.generator)
        return Cost("generate", "proposals", settings.n, done, reference_s, REFERENCE if reference_s else "")

    def candidates(self, given: int) -> int:
        """Return how many crystals will pass the screening, the `given` ones among them."""
        wanted = self.settings.generate.n
        count = self.past.count("symmetric") if self.past.is_same(self.settings, SCREENING) else 0
        if count and self.past.proposals == wanted:
            return count
        made, of = self.reference.shares["candidates"], self.reference.shares["proposals"]
        if count > given:
            made, of = count - given, self.past.proposals
        return given + round(min(made * (wanted / of) ** GROWTH, wanted))

    def good(self, benchmarks: int) -> int:
        """Return how many benchmarks will be above the limit."""
        share = self.reference.shares["good"]
        if self.past.published and self.past.is_same(self.settings, CONDUCTING):
            rows = [row for row in self.past.published.rows if row.role == "benchmark" and row.stage == "kappa"]
            limit = self.settings.select.ultrahigh_kappa_w_per_mk
            share = fmean((row.kappa_rta_max_w_per_mk or 0.0) >= limit for row in rows) if rows else share
        return round(benchmarks * share)

    def atoms(self) -> float:
        """Return the atoms in a candidate's primitive cell, on average."""
        if self.past.published and self.past.is_same(self.settings, SCREENING):
            rows = [row for row in self.past.published.rows if row.stage in ("select", "kappa") and row.n_atoms]
            if rows:
                return fmean(row.n_atoms or 0 for row in rows)
        generate = self.settings.generate
        return (generate.min_atoms + min(generate.max_atoms, self.settings.screen.max_atoms)) / 2

    def kappa(self, step: str, expected: int, known: float) -> Cost:
        """Return what κ of so many crystals costs, of which the share `known` is stable and others may not be."""
        if self.repeats(CONDUCTING):
            expected = self.past.part(step).total or expected
        stable_s, harmonic_s = self._kappa_s(), self._kappa_s("harmonic")
        share = known + (1 - known) * self.reference.shares["stable"]
        each = stable_s
        if stable_s is not None and harmonic_s is not None:
            each = share * stable_s + (1 - share) * harmonic_s
        found = self.cost(step, (step,), CONDUCTING, expected, each)
        both = self.past.part("kappa of ")
        if found.source != HERE and both.crystals and self.past.is_same(self.settings, CONDUCTING):
            return Cost(step, found.unit, found.total, 0, both.seconds / both.crystals, HERE)
        return found

    def rest(self, crystals: int) -> list[Cost]:
        """Return what the ladder costs at most: who climbs only the run itself can tell."""
        if not self.settings.select.rest:
            return []
        stable = round(crystals * self.reference.shares["stable"])
        rungs = (
            ("phonons of the rest", "harmonic", crystals),
            ("RTA of the rest, at most", "rta", stable),
            ("whole equation of the rest, at most", "full", stable),
        )
        return [self.cost(step, (level,), CONDUCTING, n, self._kappa_s(level)) for step, level, n in rungs]

    def learning(self, candidates: int) -> list[Cost]:
        """Return what labels and trainings cost at least: how many rounds there will be nobody knows."""
        learn = self.settings.learn
        if self.settings.label.labeler == NO_LABELER:
            return []
        labels = 0 if learn.labels or learn.start else min(learn.initial, candidates)
        return [
            self.cost("label, at least", ("label",), SELECTING, labels, None, pool="dft"),
            self.cost("train, at least", ("train",), SELECTING, learn.members, None, unit="models", pool="gpu"),
        ]

    def error_bars(self, kappas: int) -> list[Cost]:
        """Return what it costs to tell how sure those κ are that may reach the limit."""
        wanted, costs = self.settings.error_bar, []
        learned = self.settings.label.labeler != NO_LABELER
        members = self.settings.learn.members if learned else len(potentials.committee(self.settings.potential.name))
        if wanted.committee and members:
            each = self._kappa_s("member")
            costs.append(self.cost("committee", ("committee",), DOUBTING, kappas * members, each, unit="κ"))
        if wanted.cutoffs and self.settings.kappa.method != "paper":
            each = self._kappa_s()
            each = None if each is None else each * WIDER_PER_KAPPA
            costs.append(self.cost("wider", ("wider",), DOUBTING, 2 * kappas, each, unit="κ"))
        return costs

    def _kappa_s(self, kind: str = "") -> float | None:
        """Return the reference time of a κ, s; where no kind is given, of that which the settings want.

        None where they want it otherwise than by default, as nobody has measured that.
        """
        kappa = self.settings.kappa
        if replace(kappa, **AS_CHEAP) != replace(KappaSettings(method=kappa.method), **AS_CHEAP):
            return None
        wanted = kind or ("paper" if kappa.method == "paper" else kappa.level)
        return self.reference.kappa_s(self.settings.potential.name, wanted, self.atoms())

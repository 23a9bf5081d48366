"""Query by committee: label where the members disagree, learn, ask again (doi 10.1038/s41524-025-01592-8, Methods).

The loop knows neither engine nor store: whoever calls it says how crystals are labelled and models are trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.label.base import Label
from kappaforge.learn.committee import Uncertainty, shares, uncertainty
from kappaforge.learn.rattle import rattled
from kappaforge.learn.settings import LearnSettings
from kappaforge.potentials.allegro import AllegroPotential
from kappaforge.potentials.allegro_model import AllegroModel
from kappaforge.potentials.allegro_settings import AllegroSettings, TrainingSettings
from kappaforge.potentials.base import Potential


@dataclass(frozen=True)
class TrainingJob:
    """One training: the arguments of `kappaforge.potentials.training.train` that decide its result."""

    labels: tuple[Label, ...]
    validation: tuple[Label, ...]
    model: AllegroSettings | AllegroModel
    settings: TrainingSettings
    seed: int


@dataclass(frozen=True)
class Round:
    """One turn of the loop.

    Parameters
    ----------
    number
        From 1.
    n_labels
        Labels the committee had learned from.
    ids
        The structures under question.
    uncertainty
        Of each of them.
    added
        Ids of those that were rattled and labelled after it; empty in the last round.
    n_failed
        Labels that failed or did not converge, of the added structures.
    """

    number: int
    n_labels: int
    ids: tuple[str, ...]
    uncertainty: Uncertainty
    added: tuple[str, ...] = ()
    n_failed: int = 0


@dataclass(frozen=True)
class Learned:
    """What came of the loop.

    Parameters
    ----------
    committee
        The members as last trained.
    labels
        All labels there are now, those to begin with first; only good ones.
    rounds
        Every turn.
    added
        Digests of all structures that were added.
    asked
        Labels the engine was asked for, good or not.
    ended
        Why the loop ended, in words.
    """

    committee: tuple[AllegroModel, ...]
    labels: tuple[Label, ...]
    rounds: tuple[Round, ...]
    added: frozenset[str]
    asked: int
    ended: str


def query_by_committee(
    pool: Sequence[Crystal],
    labels: Sequence[Label],
    settings: LearnSettings,
    training: TrainingSettings,
    seed: int,
    *,
    model: AllegroSettings | AllegroModel,
    label: Callable[[Sequence[Crystal]], Sequence[Label]],
    train: Callable[[Sequence[TrainingJob]], Sequence[AllegroModel]],
    committee: Sequence[AllegroModel] = (),
    added: Iterable[str] = (),
    budget: int | None = None,
    on_round: Callable[[Round], None] | None = None,
) -> Learned:
    """Let a committee ask for labels until it agrees on every structure of the pool.

    In each round the most uncertain structures above the threshold, each once, are rattled, labelled and added, and
    the members go on learning. It ends when none is above the threshold, when all above it have been added, or with
    the budget.

    Parameters
    ----------
    pool
        The structures that matter.
    labels
        To begin with.
    settings, training
        Of the loop, and of the members' first training.
    seed
        Decides subsets, weights, orders and displacements.
    model
        What a member begins with: a shape, or a trained model.
    label, train
        Called with all crystals or jobs of a round at once; the answers in the same order.
    committee
        Members that have learned from the labels already; trained here where empty.
    added
        Digests of structures that were added before and are not added again.
    budget
        Labels that may be asked for; `max_labels` of the settings where None.
    on_round
        Called as each round ends.

    Raises
    ------
    InputError
        For no labels to begin with.
    """
    known = [each for each in labels if each.status == "ok"]
    if not known:
        raise InputError("query by committee needs labels to begin with: none is there or all have failed")
    budget = settings.max_labels if budget is None else budget
    members = tuple(committee) or tuple(train(_jobs(known, [model] * settings.members, settings, training, seed, 0)))
    tuning = replace(training, epochs=settings.round_epochs)
    rounds: list[Round] = []
    done = set(added)
    asked = 0
    ended = ""
    while not ended:
        found = uncertainty(voters(members), pool)
        turn = Round(len(rounds) + 1, len(known), tuple(crystal.id for crystal in pool), found)
        above = np.flatnonzero(found.energy_std_mev_per_atom > settings.threshold_mev_per_atom)
        order = above[np.argsort(-found.energy_std_mev_per_atom[above], kind="stable")]
        fresh = [int(index) for index in order if pool[index].digest not in done]
        affordable = (budget - asked) // settings.rattles
        picks = fresh[: min(settings.batch, affordable)]
        limit = f"{settings.threshold_mev_per_atom:g} meV/atom"
        if not len(above):
            ended = f"all below {limit}"
        elif not fresh:
            ended = f"{len(above)} still above {limit}, all of them added"
        elif not picks:
            ended = f"{len(above)} still above {limit}, the budget of labels is spent"
        else:
            copies = [
                copy for index in picks for copy in rattled(pool[index], settings.rattles, settings.rattle_ang, seed)
            ]
            made = label(copies)
            good = [each for each in made if each.status == "ok"]
            asked += len(made)
            known += good
            done |= {pool[index].digest for index in picks}
            turn = replace(turn, added=tuple(pool[index].id for index in picks), n_failed=len(made) - len(good))
            if good:
                members = tuple(train(_jobs(known, members, settings, tuning, seed, turn.number)))
        rounds.append(turn)
        if on_round:
            on_round(turn)
    return Learned(members, tuple(known), tuple(rounds), frozenset(done), asked, ended)


def voters(members: Sequence[AllegroModel]) -> list[Potential]:
    """Return the members as potentials."""
    return [AllegroPotential(f"member {number}", each) for number, each in enumerate(members)]


def _jobs(
    labels: Sequence[Label],
    starts: Sequence[AllegroSettings | AllegroModel],
    settings: LearnSettings,
    training: TrainingSettings,
    seed: int,
    round_number: int,
) -> list[TrainingJob]:
    jobs = []
    for member, start in enumerate(starts):
        own, others = shares(labels, member, settings.subset_fraction, seed)
        training_seed = int(np.random.SeedSequence([seed, round_number, member]).generate_state(1)[0])
        jobs.append(TrainingJob(tuple(own), tuple(others), start, training, training_seed))
    return jobs

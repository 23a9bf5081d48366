"""Query by committee on the engine, every label and training stored: the ETC protocol's way to a better potential."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kappaforge.campaign import tasks
from kappaforge.campaign.memo import Memo
from kappaforge.campaign.progress import Progress
from kappaforge.config import CampaignSettings
from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.label import registry as labelers
from kappaforge.label.base import Label
from kappaforge.label.dataset import read_labels, same_engine, write_labels
from kappaforge.learn.calibration import Calibration, calibration, force_rms_mev_per_ang
from kappaforge.learn.loop import Learned, Round, TrainingJob, query_by_committee, voters
from kappaforge.learn.rattle import rattled
from kappaforge.potentials import registry as potentials
from kappaforge.potentials.allegro import AllegroPotential
from kappaforge.potentials.allegro_model import AllegroModel, ModelCard
from kappaforge.potentials.family import allegro_start, labels_file, read_committee, write_committee
from kappaforge.potentials.model_file import model_digest, write_model
from kappaforge.select.farthest import farthest_points
from kappaforge.store.published import LearningRound


@dataclass(frozen=True)
class Lessons:
    """What has been learned so far: labels, the committee that knows them, what was asked for, and every round."""

    labels: tuple[Label, ...] = ()
    committee: tuple[AllegroModel, ...] = ()
    added: frozenset[str] = frozenset()
    asked: int = 0
    rounds: tuple[Round, ...] = ()


class School:
    """Labels and trains for a campaign, each task at most once in the life of its run folder.

    Raises
    ------
    InputError
        For a labeler that is not installed, labels of another engine than its, or a model that cannot go on learning.
    """

    def __init__(self, settings: CampaignSettings, memo: Memo, progress: Progress) -> None:
        self.settings = settings
        self.memo = memo
        self.progress = progress
        self.fingerprint = labelers.load(settings.label).fingerprint
        self.start = allegro_start(settings.learn.start, settings.learn.preset)

    def first_lessons(self, structures: Sequence[Crystal], features: np.ndarray) -> Lessons:
        """Return what there is to begin with.

        That is the file of labels that the settings name; or else the labels and the committee beside the model to go
        on from; or else new labels of the farthest points.

        Parameters
        ----------
        structures
            To choose from, with their `features` of shape (n_structures, n_features).
        """
        learn = self.settings.learn
        if learn.labels:
            return Lessons(self._read("labels", learn.labels))
        model = potentials.model_file(learn.start)
        if model and labels_file(model).exists():
            return Lessons(self._read("start", labels_file(model)), read_committee(model))
        n_chosen = min(learn.initial, learn.max_labels)
        chosen = [structures[index] for index in farthest_points(features, n_chosen)]
        copies = [copy for each in chosen for copy in rattled(each, 1, learn.rattle_ang, self.settings.seed)]
        made = self.label(copies)
        good = tuple(each for each in made if each.status == "ok")
        self.progress.finish("initial labels", f"{len(good)} of {len(made)}")
        return Lessons(good, asked=len(made))

    def learn(self, pool: Sequence[Crystal], lessons: Lessons) -> Lessons:
        """Ask for labels until the committee agrees on every structure of the pool, or may ask no more."""
        learned = query_by_committee(
            pool,
            lessons.labels,
            self.settings.learn,
            self.settings.training,
            self.settings.seed,
            model=self.start,
            label=self.label,
            train=self.train,
            committee=lessons.committee,
            added=lessons.added,
            budget=self.settings.learn.max_labels - lessons.asked,
            on_round=self._tell,
        )
        self.progress.finish("learn", f"{learned.ended}; {learned.asked} labels asked for")
        return _added(lessons, learned)

    def final_model(self, lessons: Lessons) -> AllegroModel:
        """Train one model on all labels.

        The model that members go on from stays where nothing was asked for, and where it is the better one on the
        settings' test labels by their forces, which decide phonons.
        """
        if isinstance(self.start, AllegroModel) and not lessons.asked:
            return self.start
        job = TrainingJob(lessons.labels, (), self.start, self.settings.training, self.settings.seed)
        (model,) = self.memo.map("train on all labels", 1, tasks.train, [(job,)], checkpoints=True, pool="gpu")
        self.progress.finish("train on all labels", f"{len(lessons.labels)} labels")
        learned = replace(model, card=ModelCard(data=f"{len(lessons.labels)} labels", functional=self.fingerprint))
        if not (isinstance(self.start, AllegroModel) and self.settings.learn.test):
            return learned
        test = self._read("test", self.settings.learn.test)
        before, after = (force_rms_mev_per_ang(AllegroPotential("", each), test) for each in (self.start, learned))
        stays = before < after
        self.progress.finish(
            "test of the model",
            f"forces of {len(test)} labels off by {after:.0f} meV/Å (RMS), those of the model it went on from by "
            f"{before:.0f}: the {'old' if stays else 'new'} one is taken",
        )
        return self.start if stays else learned

    def in_use(self, model: AllegroModel, lessons: Lessons) -> tuple[str | AllegroModel, str, Sequence[Any]]:
        """Return a final model, what tells it from others, and its committee.

        Of the model that members went on from these are its name, and the committee beside it.
        """
        if model is self.start:
            name = self.settings.learn.start
            return name, potentials.load(name).digest, potentials.committee(name)
        return model, model_digest(model), lessons.committee

    def calibrate(self, lessons: Lessons) -> Calibration | None:
        """Compare the committee's uncertainty with its error on the settings' test labels; None without such."""
        if not self.settings.learn.test:
            return None
        found = calibration(voters(lessons.committee), self._read("test", self.settings.learn.test))
        self.progress.finish(
            "calibration",
            f"error {found.error_rms_mev_per_atom:.1f}, uncertainty {found.uncertainty_rms_mev_per_atom:.1f} meV/atom "
            f"(RMS) on {found.n} test labels; rank correlation {found.rank_correlation:.2f}; "
            f"{found.within_two:.0%} within twice the uncertainty",
        )
        return found

    def label(self, crystals: Sequence[Crystal]) -> list[Label]:
        """Label crystals in their order."""
        arguments = [(crystal, self.settings.label) for crystal in crystals]
        return self.memo.map("label", 1, tasks.label, arguments, self.fingerprint, pool="dft")

    def train(self, jobs: Sequence[TrainingJob]) -> list[AllegroModel]:
        """Train models in the order of the jobs."""
        return self.memo.map("train committee", 1, tasks.train, [(job,) for job in jobs], checkpoints=True, pool="gpu")

    def _read(self, key: str, name: str | Path) -> tuple[Label, ...]:
        labels = read_labels(Path(name))
        if not labels:
            raise InputError(f"[learn] {key}: {name} holds no labelled crystals; label some with: kappaforge label")
        if (engine := same_engine(labels)) != self.fingerprint:
            raise InputError(
                f"[learn] {key}: {name} was labelled by {engine!r}, not by {self.fingerprint!r}: labels cannot be mixed"
            )
        return tuple(labels)

    def _tell(self, turn: Round) -> None:
        found = turn.uncertainty.energy_std_mev_per_atom
        limit = self.settings.learn.threshold_mev_per_atom
        failed = f", {turn.n_failed} labels failed" if turn.n_failed else ""
        self.progress.finish(
            f"round {turn.number}",
            f"{np.sum(found > limit)} of {len(found)} above {limit:g} meV/atom, the largest {found.max():.1f}; "
            f"{len(turn.added)} added{failed}",
        )


def hand_over(folder: Path, lessons: Lessons, model: AllegroModel) -> list[Path]:
    """Write model, labels and committee, side by side for another campaign to go on from; return the paths."""
    file = folder / "model.safetensors"
    write_model(model, file)
    write_labels(lessons.labels, labels_file(file))
    return [file, labels_file(file), *write_committee(file, lessons.committee)]


def published(turn: Round) -> LearningRound:
    """Return what a report needs of a round."""
    return LearningRound(turn.number, turn.n_labels, turn.ids, turn.uncertainty.energy_std_mev_per_atom, turn.added)


def _added(lessons: Lessons, learned: Learned) -> Lessons:
    done = len(lessons.rounds)
    rounds = tuple(replace(turn, number=done + turn.number) for turn in learned.rounds)
    asked = lessons.asked + learned.asked
    return Lessons(learned.labels, learned.committee, learned.added, asked, lessons.rounds + rounds)

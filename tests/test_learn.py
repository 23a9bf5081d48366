"""Query by committee: rattling, uncertainty, subsets, calibration, and the loop with real labels and trainings."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk

from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.errors import InputError
from kappaforge.label.base import Label
from kappaforge.label.registry import load
from kappaforge.label.settings import LabelSettings
from kappaforge.learn.calibration import calibration, force_rms_mev_per_ang
from kappaforge.learn.committee import shares, uncertainty
from kappaforge.learn.rattle import rattled
from kappaforge.learn.settings import LearnSettings
from kappaforge.potentials.base import Batch
from kappaforge.potentials.registry import load as load_potential

EMT = LabelSettings(labeler="ase:ase.calculators.emt:EMT")


@pytest.fixture(scope="module")
def carbons() -> list[Crystal]:
    return [entry.crystal for entry in known_carbons() if len(entry.crystal) <= 4]


@pytest.fixture(scope="module")
def labels(carbons: list[Crystal]) -> list[Label]:
    engine = load(EMT)
    return [engine.label(copy) for crystal in carbons for copy in rattled(crystal, 6, 0.05, seed=1)]


def test_rattled_copies_do_not_depend_on_how_many_are_made(diamond: Crystal) -> None:
    few, many = rattled(diamond, 2, 0.05, seed=0), rattled(diamond, 5, 0.05, seed=0)
    assert [copy.digest for copy in few] == [copy.digest for copy in many[:2]]
    assert len({copy.digest for copy in [*many, *rattled(diamond, 5, 0.05, seed=1)]}) == 10
    assert many[4].parents == (diamond.digest,)
    assert many[4].source == "rattled diamond"


def test_rattling_has_the_stated_amplitude() -> None:
    large = Crystal.from_ase(bulk("C", "diamond", a=3.567, cubic=True).repeat(3))
    moves = np.array([copy.positions - large.positions for copy in rattled(large, 8, 0.05, seed=3)])
    assert moves.std() == pytest.approx(0.05, rel=0.03)
    assert abs(moves.mean()) < 0.002


def test_uncertainty_is_the_standard_deviation_of_the_members(carbons: list[Crystal]) -> None:
    members = [load_potential("tersoff"), load_potential("brenner")]
    crystals = [rattled(crystal, 1, 0.1, seed=5)[0] for crystal in carbons]
    found = uncertainty(members, crystals)
    for index, crystal in enumerate(crystals):
        alone = [member.compute(Batch.of([crystal])) for member in members]
        energies = [float(each.energies_ev[0]) / len(crystal) for each in alone]
        assert found.energy_ev_per_atom[index] == pytest.approx(np.mean(energies))
        assert found.energy_std_mev_per_atom[index] == pytest.approx(500 * abs(energies[0] - energies[1]))
        apart = alone[0].forces_ev_per_ang - alone[1].forces_ev_per_ang
        assert found.force_std_mev_per_ang[index] == pytest.approx(500 * np.sqrt(np.mean(apart**2)))


def test_crystal_without_an_answer_is_infinitely_uncertain(diamond: Crystal) -> None:
    collapsed = diamond.moved_to(diamond.cell, np.zeros((2, 3)))
    found = uncertainty([load_potential("tersoff"), load_potential("brenner")], [collapsed, diamond])
    assert np.isposinf([found.energy_std_mev_per_atom[0], found.force_std_mev_per_ang[0]]).all()
    assert np.isfinite(found.energy_std_mev_per_atom[1])


def test_shares_differ_between_members_and_stay_as_labels_come_in(labels: list[Label]) -> None:
    sides = [shares(labels, member, 0.7, seed=0) for member in range(4)]
    for own, others in sides:
        assert len(own) + len(others) == len(labels)
        assert own
    assert len({tuple(label.id for label in own) for own, _ in sides}) == 4
    assert np.mean([len(own) for own, _ in sides]) == pytest.approx(0.7 * len(labels), rel=0.2)
    early, _ = shares(labels[:10], 2, 0.7, seed=0)
    late, _ = shares(labels, 2, 0.7, seed=0)
    assert [label.id for label in early] == [label.id for label in late if label in labels[:10]]


def test_single_label_is_learnt_by_every_member(labels: list[Label]) -> None:
    for member in range(20):
        assert shares(labels[:1], member, 0.1, seed=0) == (labels[:1], [])


def test_calibration_of_a_committee_that_knows_its_error(labels: list[Label]) -> None:
    """The truth is put three deviations from the mean of every crystal: rank correlation 1, scale 3, none within 2."""
    members = [load_potential("tersoff"), load_potential("brenner")]
    found = uncertainty(members, [label.crystal for label in labels])
    truth = found.energy_ev_per_atom + 3e-3 * found.energy_std_mev_per_atom
    known = [replace(label, energy_ev=len(label.crystal) * energy) for label, energy in zip(labels, truth, strict=True)]
    result = calibration(members, known)
    assert result.n == len(labels)
    assert result.rank_correlation == pytest.approx(1)
    assert result.scale == pytest.approx(3)
    assert result.within_two == 0


def test_force_error_is_that_of_a_model_that_is_off_by_a_constant(labels: list[Label]) -> None:
    brenner = load_potential("brenner")
    found = brenner.compute(Batch.of([label.crystal for label in labels]))
    rows = Batch.of([label.crystal for label in labels]).slices
    off = [
        replace(each, forces_ev_per_ang=found.forces_ev_per_ang[some] + 0.02)
        for each, some in zip(labels, rows, strict=True)
    ]
    assert force_rms_mev_per_ang(brenner, off) == pytest.approx(20)


def test_calibration_of_two_labels_is_refused(labels: list[Label]) -> None:
    with pytest.raises(InputError, match="at least three"):
        calibration([load_potential("tersoff"), load_potential("brenner")], labels[:2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": 1}, r"\[learn\] members: expected a whole number of at least 2"),
        ({"subset_fraction": 1.0}, "members that learn from the same labels agree"),
        ({"threshold_mev_per_atom": float("nan")}, "expected a positive number"),
        ({"max_labels": -1}, "max_labels"),
        ({"rattles": True}, "rattles"),
    ],
)
def test_settings_refuse_what_cannot_be(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        LearnSettings(**change)


class Lessons:
    """The loop with real labels and real trainings of the smallest Allegro there is."""

    def __init__(self, fails: Sequence[str] = ()) -> None:
        self.engine = load(EMT)
        self.fails = fails
        self.labelled: list[str] = []

    def label(self, crystals: Sequence[Crystal]) -> list[Label]:
        self.labelled += [crystal.id for crystal in crystals]
        made = [self.engine.label(crystal) for crystal in crystals]
        failed = [any(name in label.id for name in self.fails) for label in made]
        return [
            replace(label, status="unconverged", reason="not self-consistent", energy_ev=None, forces_ev_per_ang=None)
            if bad
            else label
            for label, bad in zip(made, failed, strict=True)
        ]

    def train(self, jobs):
        from kappaforge.potentials.training import train

        return [
            train(job.labels, job.validation, model=job.model, settings=job.settings, seed=job.seed).model
            for job in jobs
        ]

    def run(self, pool, labels, **changes):
        from kappaforge.learn.loop import query_by_committee
        from kappaforge.potentials.allegro_settings import AllegroSettings, TrainingSettings

        settings = LearnSettings(members=2, rattles=2, round_epochs=2, threshold_mev_per_atom=1e-6)
        shape = AllegroSettings(l_max=1, tensor_features=2, scalar_features=4, cutoff_ang=3.0, readout_hidden=(8,))
        return query_by_committee(
            pool,
            labels,
            replace(settings, **changes),
            TrainingSettings(epochs=3),
            7,
            model=shape,
            label=self.label,
            train=self.train,
        )


def test_loop_adds_each_structure_once_and_the_most_uncertain_first(carbons, labels) -> None:
    lessons = Lessons()
    learned = lessons.run(carbons[:3], labels[:8], batch=1)
    assert learned.ended == "3 still above 1e-06 meV/atom, all of them added"
    assert [len(turn.added) for turn in learned.rounds] == [1, 1, 1, 0]
    assert len({name for turn in learned.rounds for name in turn.added}) == 3
    assert learned.asked == len(lessons.labelled) == 6
    assert [turn.n_labels for turn in learned.rounds] == [8, 10, 12, 14]
    first = learned.rounds[0]
    assert first.added[0] == first.ids[int(np.argmax(first.uncertainty.energy_std_mev_per_atom))]


def test_loop_ends_at_once_where_the_committee_agrees(carbons, labels) -> None:
    lessons = Lessons()
    learned = lessons.run(carbons[:3], labels[:8], threshold_mev_per_atom=1e6)
    assert learned.ended == "all below 1e+06 meV/atom"
    assert (lessons.labelled, len(learned.rounds), len(learned.committee)) == ([], 1, 2)


def test_loop_keeps_to_its_budget(carbons, labels) -> None:
    lessons = Lessons()
    learned = lessons.run(carbons[:3], labels[:8], max_labels=5, batch=3)
    assert learned.asked == len(lessons.labelled) == 4
    assert learned.ended.endswith("the budget of labels is spent")


def test_loop_goes_on_where_labels_fail(carbons, labels) -> None:
    learned = Lessons(fails=[carbons[0].id]).run(carbons[:2], labels[:8], batch=2)
    assert (learned.rounds[0].n_failed, learned.rounds[1].n_labels) == (2, 10)
    assert all(label.status == "ok" for label in learned.labels)


def test_loop_without_any_label_is_refused(carbons, labels) -> None:
    failed = [replace(label, status="failed", reason="no") for label in labels[:3]]
    with pytest.raises(InputError, match="needs labels to begin with"):
        Lessons().run(carbons[:2], failed)

"""A short run of `benchmarks/faults.py`, whose long one kills a hundred times."""

import random
from pathlib import Path

import pytest


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch):
    """The benchmark's module."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    import faults

    return faults


@pytest.mark.slow  # two minutes
def test_full_disk_hanging_and_killed_processes_change_nothing(faults, tmp_path: Path) -> None:
    undisturbed = faults.Run(tmp_path / "undisturbed", "in-process", 0, n_generated=6)
    faults.complete(undisturbed)
    rows, tasks = expected = undisturbed.outcome()
    assert any(row["status"] == "failed" and row["reason"] for row, *_ in rows), "the potential raises on some"

    run = faults.Run(tmp_path / "disturbed", "processes", 12, n_generated=6)
    assert "what was finished is kept" in faults.meet_full_disk(run, 100_000)
    faults.meet_hanging_worker(run, tmp_path / "hung")
    killed = faults.disturb(run, 2, random.Random(3), 0.5)
    faults.complete(run)
    assert killed.total() > 0
    nothing = {"rows_differing": 0, "tasks_lost": 0, "tasks_too_many": 0}
    assert faults.differences(run, expected) == {"rows": len(rows), **nothing}
    assert len(tasks) == len(set(tasks))
    assert faults.left_behind(run) == 0


def test_potential_that_raises_on_one_crystal_of_a_batch_costs_that_crystal_alone(
    faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kappaforge.campaign import tasks
    from kappaforge.dataset.known_carbon import known_carbons
    from kappaforge.potentials import registry
    from kappaforge.relax.settings import RelaxSettings

    class Choosy:
        """A potential that gives up on a whole batch where a crystal of four atoms is in it."""

        name, digest, elements = "choosy", "", frozenset({"C"})
        brenner = registry.load("brenner")

        def compute(self, batch):
            if any(rows.stop - rows.start == 4 for rows in batch.slices):
                raise ZeroDivisionError("four atoms")
            return self.brenner.compute(batch)

    carbons = [entry.crystal for entry in known_carbons()]
    chosen = [next(crystal for crystal in carbons if len(crystal) == n) for n in (2, 4, 8)]
    settings = RelaxSettings(max_steps=30)
    alone = [tasks.relax_batch([crystal], "brenner", settings)[0] for crystal in chosen]
    monkeypatch.setattr(registry, "load", lambda name: Choosy())
    first, failed, last = tasks.relax_batch(chosen, "choosy", settings)
    assert (failed.status, failed.reason) == ("failed", "ZeroDivisionError in the relaxation: four atoms")
    assert (first.energy_ev_per_atom, last.energy_ev_per_atom) == (
        alone[0].energy_ev_per_atom,
        alone[2].energy_ev_per_atom,
    )

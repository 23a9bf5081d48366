"""Query by committee inside a campaign and as a command: stored, resumable, and handed over."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from kappaforge.campaign.campaign import Campaign
from kappaforge.cli.train import train
from kappaforge.config import load_campaign
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.dataset.writers import write
from kappaforge.errors import InputError
from kappaforge.label.dataset import read_labels
from kappaforge.potentials.registry import committee, load
from kappaforge.store.published import Published
from kappaforge.store.run_folder import RunFolder

LEARNING = """
name = "learning"
seed = 4
[generate]
n = 4
max_atoms = 2
[screen]
max_atoms = 2
[select]
known = ["diamond"]
benchmarks = 1
neighbours = 1
ultrahigh_kappa_w_per_mk = 100.0
[label]
labeler = "ase:ase.calculators.emt:EMT"
[learn]
initial = 3
members = 2
rattles = 2
round_epochs = 1
threshold_mev_per_atom = 0.001
max_labels = 8
[training]
epochs = 2
[kappa]
method = "paper"
mesh = [4, 4, 4]
paper.supercell = [2, 2, 2]
[engine]
executor = "in-process"
"""


def drive(folder: Path) -> Published:
    with RunFolder.open(folder, write=True) as opened:
        return Campaign(load_campaign(folder / "campaign.toml"), opened).run()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Published]:
    folder = tmp_path_factory.mktemp("learning")
    (folder / "campaign.toml").write_text(LEARNING)
    return folder, drive(folder)


def test_kappa_is_computed_with_the_learned_model(finished: tuple[Path, Published]) -> None:
    folder, published = finished
    reached = [row for row in published.rows if row.stage == "kappa"]
    assert "diamond" in [row.id for row in reached]
    assert all(row.potential.startswith("learned-") for row in reached)
    assert all(row.energy_std_mev_per_atom is not None for row in reached)
    assert load(str(folder / "learned" / "model.safetensors")).elements == {"C"}
    assert len(list((folder / "learned").glob("model-committee-*.safetensors"))) == 2


def test_labels_stay_within_the_budget_and_are_handed_over(finished: tuple[Path, Published]) -> None:
    folder, published = finished
    labels = read_labels(folder / "learned" / "model-labels.extxyz.gz")
    assert 3 < len(labels) <= 8
    assert published.rounds[-1].n_labels == len(labels)
    added = [name for turn in published.rounds for name in turn.added]
    assert len(added) == len(set(added)), "each structure once, also over both passes"


def test_second_run_learns_nothing_again(finished: tuple[Path, Published]) -> None:
    folder, published = finished
    again = drive(folder)
    assert [row.to_dict() for row in again.rows] == [row.to_dict() for row in published.rows]
    assert not list((folder / "checkpoints").glob("*")), "a finished training needs no checkpoint"


def test_learned_model_is_where_another_campaign_goes_on(finished: tuple[Path, Published], tmp_path: Path) -> None:
    """Labels and committee beside the model are taken over: nothing is labelled where the committee is sure enough."""
    folder, _ = finished
    start = f'[learn]\nstart = "{folder / "learned" / "model.safetensors"}"'
    text = LEARNING.replace("[learn]", start).replace("threshold_mev_per_atom = 0.001", "threshold_mev_per_atom = 1e5")
    (tmp_path / "campaign.toml").write_text(text)
    published = drive(tmp_path)
    labels = read_labels(folder / "learned" / "model-labels.extxyz.gz")
    assert [(turn.n_labels, turn.added) for turn in published.rounds] == [(len(labels), ())] * 2
    files = [run / "learned" / "model.safetensors" for run in (folder, tmp_path)]
    assert load(str(files[0])).digest == load(str(files[1])).digest


def test_model_that_got_worse_by_learning_is_not_taken(finished: tuple[Path, Published], tmp_path: Path) -> None:
    folder, _ = finished
    learned = folder / "learned"
    known = f'[learn]\nstart = "{learned / "model.safetensors"}"\ntest = "{learned / "model-labels.extxyz.gz"}"'
    text = LEARNING.replace("[learn]", known).replace("epochs = 2", "epochs = 2\nlearning_rate = 0.5")
    (tmp_path / "campaign.toml").write_text(text)
    with RunFolder.open(tmp_path, write=True) as opened:
        campaign = Campaign(load_campaign(tmp_path / "campaign.toml"), opened)
        published = campaign.run()
    assert campaign.members == committee(str(learned / "model.safetensors")), "and its committee with it"
    assert published.rounds[-1].n_labels > len(read_labels(learned / "model-labels.extxyz.gz"))
    files = [run / "learned" / "model.safetensors" for run in (folder, tmp_path)]
    assert load(str(files[0])).digest == load(str(files[1])).digest


def test_labels_of_another_engine_are_refused(finished: tuple[Path, Published], tmp_path: Path) -> None:
    folder, _ = finished
    labels = folder / "learned" / "model-labels.extxyz.gz"
    text = LEARNING.replace("calculators.emt:EMT", "calculators.lj:LennardJones")
    (tmp_path / "campaign.toml").write_text(text.replace("[learn]", f'[learn]\nlabels = "{labels}"'))
    with pytest.raises(InputError, match=r"\[learn\] labels: .* labels cannot be mixed"):
        drive(tmp_path)


def test_potential_that_cannot_learn_is_refused(tmp_path: Path) -> None:
    (tmp_path / "campaign.toml").write_text(LEARNING.replace("[learn]", '[learn]\nstart = "tersoff"'))
    with pytest.raises(InputError, match="'tersoff' is not an Allegro model"):
        drive(tmp_path)


def test_train_command_makes_a_model_and_goes_on_from_it(
    finished: tuple[Path, Published], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = finished[0] / "learned" / "model-labels.extxyz.gz"
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    train(labels, first, epochs=1)
    train(labels, second, epochs=1, start=str(first))
    assert load(str(first)).digest != load(str(second)).digest
    assert not first.with_suffix(".checkpoint").exists()
    assert "epoch 1 of 1: energy MAE" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"expected a name that ends in .safetensors"):
        train(labels, tmp_path / "model.pth")


@pytest.mark.slow
def test_learning_killed_at_random_moments_ends_with_the_same_model(tmp_path: Path, rng: np.random.Generator) -> None:
    """A label or training finished twice would raise `StoreError`."""
    pool = tmp_path / "pool.extxyz"
    write([entry.crystal for entry in known_carbons() if len(entry.crystal) <= 4], pool)
    settings = tmp_path / "settings.toml"
    settings.write_text(LEARNING[LEARNING.index("[label]") : LEARNING.index("[kappa]")])

    def command(run: Path) -> list[str]:
        start = "from kappaforge.cli.main import main; main()"
        return [sys.executable, "-c", start, "learn", str(pool), "--run", str(run), "--settings", str(settings)]

    begin = time.monotonic()
    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    whole = time.monotonic() - begin
    kills = 0
    while True:
        driver = subprocess.Popen(command(tmp_path / "killed"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            driver.communicate(timeout=rng.uniform(0.1, 0.4) * whole if kills < 4 else None)
            break
        except subprocess.TimeoutExpired:
            os.kill(driver.pid, signal.SIGKILL)
            driver.wait()
            kills += 1
    assert driver.returncode == 0
    assert kills > 0, "the run ended before the first kill"
    for name in ("model.safetensors", "model-labels.extxyz.gz"):
        whole_file, killed_file = (tmp_path / run / "learned" / name for run in ("whole", "killed"))
        if name.endswith(".safetensors"):
            assert whole_file.read_bytes() == killed_file.read_bytes()
        else:  # which also tells the seconds each label took
            pairs = zip(read_labels(whole_file), read_labels(killed_file), strict=True)
            assert all(one.energy_ev == other.energy_ev and one.id == other.id for one, other in pairs)


def test_campaign_without_a_labeler_says_that_it_learns_nothing(tmp_path: Path) -> None:
    text = LEARNING.replace("ase:ase.calculators.emt:EMT", "none").replace("n = 4", "n = 1")
    (tmp_path / "campaign.toml").write_text(text)
    start = "from kappaforge.cli.main import main; main()"
    made = subprocess.run([sys.executable, "-c", start, "run", str(tmp_path)], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert made.stderr.count('skipped: [label] labeler is "none"') == 1

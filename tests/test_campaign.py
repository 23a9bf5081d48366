"""A whole campaign on real potentials, small enough for every test run."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from kappaforge.campaign.ledger import Ledger
from kappaforge.config import CampaignSettings
from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.errors import InputError
from kappaforge.potentials import registry as potentials
from kappaforge.store.published import Published
from kappaforge.store.run_folder import DATABASE
from small_campaign import SMALL, TINY, drive, make_run, table, task_keys


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Published]:
    folder = make_run(tmp_path_factory.mktemp("campaign") / "run")
    return folder, drive(folder)


def test_campaign_goes_from_generator_to_kappa(finished: tuple[Path, Published]) -> None:
    _, published = finished
    rows = {row.id: row for row in published.rows}
    assert published.counts["generate"] >= 10
    assert rows["diamond"].role == "benchmark"
    assert rows["diamond"].status == "ok"
    assert rows["diamond"].kappa_rta_max_w_per_mk > 100
    assert {"benchmark", "neighbour"} <= {row.role for row in published.rows}
    assert len(published.crystals) == len(published.rows)


def test_every_crystal_has_its_whole_history(finished: tuple[Path, Published]) -> None:
    _, published = finished
    came = {entry.crystal.id: entry.crystal.digest for entry in known_carbons()}
    for row, crystal in zip(published.rows, published.crystals, strict=True):
        assert row.id == crystal.id
        assert row.stage in ("relax", "screen", "select", "kappa")
        assert row.status == "ok" or row.reason
        if row.stage == "kappa":
            # as it came, and as relaxed for screening, unless that was tight enough for κ: then no step was taken
            assert len(crystal.parents) in (1, 2)
            assert len(set(crystal.parents)) == len(crystal.parents)
            if crystal.id in came:
                assert crystal.parents[0] == came[crystal.id]
            assert row.potential == "brenner"


def test_kappa_that_may_be_ultrahigh_has_the_committees_spread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(potentials, "committee", lambda name: ("brenner", "tersoff"))  # as if it had one
    published = drive(make_run(tmp_path / "run", TINY + 'executor = "in-process"'))
    computed = [row for row in published.rows if row.stage == "kappa" and row.status == "ok"]
    high = {row.id for row in computed if row.kappa_rta_max_w_per_mk >= 100}
    assert "diamond" in high
    assert {row.id for row in computed if row.kappa_committee_members == 2} == high
    diamond = next(row for row in computed if row.id == "diamond")
    assert diamond.kappa_committee_stable == 2
    assert diamond.kappa_error_w_per_mk == pytest.approx(
        diamond.kappa_committee_spread * diamond.kappa_rta_max_w_per_mk
    )


LADDER = """method = "converged"
mesh_length_ang = 6.0
extrapolate = false
[kappa.force_constants]
fc2_face_distance_ang = 6.0
fc3_face_distance_ang = 5.0
fc3_cutoff_ang = 2.0
way = "finite"
"""


def test_rest_of_the_candidates_climbs_the_ladder(tmp_path: Path) -> None:
    text = TINY.replace("neighbours = 1", "neighbours = 0\nrest = true").replace("benchmarks = 1", "benchmarks = 0")
    paper = 'method = "paper"\nmesh = [4, 4, 4]\npaper.supercell = [2, 2, 2]\n'
    assert paper in text
    published = drive(make_run(tmp_path / "run", text.replace(paper, LADDER)))
    rows = [row for row in published.rows if row.stage == "kappa" and not row.role]
    assert len(rows) == published.counts["symmetric"] - published.counts["benchmarks"] > 3
    for row in rows:
        assert row.kappa_lbte_max_w_per_mk is not None or row.reason
        assert row.status == "ok" or row.reason
    with_kappa = [row for row in rows if row.kappa_rta_max_w_per_mk]
    assert published.counts["kappa of the rest"] == len(with_kappa)
    assert {"lonsdaleite"} <= {row.id for row in with_kappa}
    with pytest.raises(InputError, match="rest: the ladder needs"):
        drive(make_run(tmp_path / "paper", text))


def test_crystals_with_too_many_neighbours_are_no_candidates_but_known_ones_stay(tmp_path: Path) -> None:
    text = TINY.replace("[screen]", "[screen]\nmax_neighbours = 3").replace("benchmarks = 1", "benchmarks = 0")
    published = drive(make_run(tmp_path / "run", text.replace("neighbours = 1", "neighbours = 0")))
    reasons = {row.id: row.reason for row in published.rows}
    assert reasons["lonsdaleite"] == "an atom has 4 neighbours, at most 3 pass"
    candidates = {row.id for row in published.rows if row.map_x is not None}
    assert {"diamond", "graphite"} <= candidates
    assert "lonsdaleite" not in candidates


def test_second_run_reuses_everything(finished: tuple[Path, Published]) -> None:
    folder, published = finished
    keys = task_keys(folder)
    start = time.monotonic()
    again = drive(folder)
    assert time.monotonic() - start < 5
    assert task_keys(folder) == keys
    assert table(again) == table(published)


def test_in_process_run_gives_the_same_table(finished: tuple[Path, Published], tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", SMALL.replace("workers = 2", 'executor = "in-process"'))
    assert table(drive(folder)) == table(finished[1])


def test_changed_setting_repeats_only_what_depends_on_it(finished: tuple[Path, Published], tmp_path: Path) -> None:
    folder, _ = finished
    done = set(task_keys(folder))
    other = tmp_path / "other"
    subprocess.run(["cp", "-r", folder, other], check=True)
    (other / "campaign.toml").write_text(SMALL.replace("mesh = [4, 4, 4]", "mesh = [5, 5, 5]"))
    drive(other)
    with sqlite3.connect(other / DATABASE) as connection:
        rows = connection.execute("SELECT key, step FROM tasks").fetchall()
    assert {step for key, step in rows if key not in done} <= {
        "kappa of benchmarks",
        "kappa of neighbours",
        "phonons of the best",
    }
    assert done < {key for key, _ in rows}


def test_larger_campaign_goes_on_from_a_smaller_one(finished: tuple[Path, Published], tmp_path: Path) -> None:
    folder, _ = finished
    done = set(task_keys(folder))
    other = tmp_path / "other"
    subprocess.run(["cp", "-r", folder, other], check=True)
    (other / "campaign.toml").write_text(SMALL.replace("n = 12", "n = 16"))
    published = drive(other)
    with sqlite3.connect(other / DATABASE) as connection:
        new = [step for key, step in connection.execute("SELECT key, step FROM tasks") if key not in done]
    assert (new.count("generate"), new.count("relax")) == (1, 1), "one more batch of four"
    assert published.counts["generate"] > finished[1].counts["generate"]


def test_driver_killed_at_random_moments_ends_with_the_same_table(
    finished: tuple[Path, Published], tmp_path: Path, rng: np.random.Generator
) -> None:
    """A task finished twice would raise `StoreError`, as its key is the primary key of its row."""
    folder = make_run(tmp_path / "run")
    command = [sys.executable, "-c", "from kappaforge.cli.main import main; main()", "run", str(folder), "--json"]
    kills = 0
    while True:
        driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            limit = rng.uniform(2.0, 8.0) if kills < 5 else None
            output, errors = driver.communicate(timeout=limit)
            break
        except subprocess.TimeoutExpired:
            os.kill(driver.pid, signal.SIGKILL)
            driver.wait()
            kills += 1
    assert driver.returncode == 0, errors
    assert kills > 0, "the run ended before the first kill: shorten the first interval"
    rows = {row["id"]: row for row in map(json.loads, output.splitlines())}
    expected = {row["id"]: row for row in table(finished[1])}
    assert rows.keys() == expected.keys()
    for name, row in rows.items():
        assert {key: value for key, value in row.items() if key != "seconds"} == expected[name]
    assert task_keys(folder) == task_keys(finished[0])


def test_unknown_known_crystal_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", SMALL.replace('"diamond"', '"diamnd"'))
    with pytest.raises(InputError, match=r"\[select\] known: .* \(did you mean 'diamond'\?\)"):
        drive(folder)


def test_two_crystals_of_one_id_are_refused(diamond: Crystal) -> None:
    ledger = Ledger()
    ledger.enter(diamond)
    with pytest.raises(InputError, match="two crystals have the id 'diamond'"):
        ledger.enter(diamond)


def test_step_that_is_done_again_counts_its_crystals_once() -> None:
    ledger = Ledger()
    ledger.passed("kappa of benchmarks", 1, ["unstable", "unstable"])
    ledger.passed("kappa of benchmarks", 2, ["unstable"])
    published = ledger.publish(CampaignSettings(), {})
    assert published.counts == {"kappa of benchmarks": 2}
    assert published.discards == {"kappa of benchmarks": {"unstable": 1}}


def test_settings_are_published_whole() -> None:
    published = Ledger().publish(CampaignSettings(), {})
    assert published.settings["select"]["benchmarks"] == 50
    assert {"kappaforge", "numpy", "phono3py"} <= published.versions.keys()

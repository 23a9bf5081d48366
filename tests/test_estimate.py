"""What a campaign would cost: exact where it was run before, expected where not, and with the rates it went at."""

import json
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from commands import here, only_line
from kappaforge.campaign.campaign import Campaign
from kappaforge.campaign.estimate import HERE, REFERENCE, Cost, Estimate, estimate
from kappaforge.campaign.progress import Silence
from kappaforge.campaign.rates import reference_rates
from kappaforge.config import load_campaign
from kappaforge.store.run_folder import RunFolder
from small_campaign import TINY, drive, make_run

STEPS = ["generate", "relax", "screen", "describe", "kappa of benchmarks", "kappa of neighbours"]


def costs(folder: Path) -> dict[str, dict]:
    """Return what ``run --dry-run --json`` says of each step; the folder stays as it is."""
    before = contents(folder)
    ended = here("run", folder, "--dry-run", "--json")
    assert ended.returncode == 0, ended.stderr
    (answer,) = map(json.loads, ended.stdout.splitlines())
    assert contents(folder) == before, "nothing is written"
    left = sum(step["seconds"] or 0 for step in answer["steps"])
    assert answer["seconds"] == pytest.approx(left)
    assert 0 <= answer["wall_s"] <= answer["seconds"]
    return {step["step"]: step for step in answer["steps"]}


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file but the shared memory and the empty log that SQLite leaves where it has read a database."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
    found = {str(path): path.read_bytes() for path in files}
    return {name: content for name, content in found.items() if content or not name.endswith("-wal")}


def change(folder: Path, old: str, new: str) -> None:
    settings = folder / "campaign.toml"
    text = settings.read_text()
    assert old in text
    settings.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_run(tmp_path_factory.mktemp("estimate") / "run", TINY)
    drive(folder)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    (folder := tmp_path / "run").mkdir()
    for path in finished.rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(finished)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return folder


def test_reference_rates_name_machine_and_day() -> None:
    rates = reference_rates()
    assert set(rates.about) == {"machine", "beside", "date", "kappaforge"}
    assert all(rates.about.values())
    assert len(rates.about["date"]) == len("2026-11-26")
    times = [rates.kappa_s("carbon", "full", n) for n in (2, 4, 8, 12)]
    assert times == sorted(times)
    assert times[0] > rates.kappa_s("carbon", "harmonic", 2)
    assert rates.kappa_s("nobody", "full", 2) is None
    values = tomllib.loads((files("kappaforge.campaign") / "reference_rates.toml").read_text())
    assert 0 < values["shares"]["candidates"] <= values["shares"]["proposals"]


def test_fresh_run_is_estimated_from_the_reference(tmp_path: Path) -> None:
    found = costs(make_run(tmp_path / "run", TINY))
    assert list(found) == STEPS
    assert {step["source"] for step in found.values()} - {""} == {REFERENCE}
    assert {step["done"] for step in found.values()} == {0}
    assert found["generate"]["total"] == 6
    assert found["kappa of benchmarks"]["total"] == 2, "diamond and one other"
    assert found["relax"]["total"] == 6 + 21, "with the built-in library"
    assert found["kappa of benchmarks"]["seconds"] is None, "on that mesh by the paper's protocol nobody measured it"


def test_finished_run_has_nothing_left(run: Path) -> None:
    found = costs(run)
    assert {name: step["left"] for name, step in found.items()} == dict.fromkeys(STEPS, 0)
    assert "nothing is left to do" in here("run", run, "--dry-run").stdout
    published = drive(run)  # as it says
    assert found["kappa of benchmarks"]["total"] == published.counts["benchmarks"]
    assert found["kappa of neighbours"]["total"] == published.counts["neighbours"]
    assert found["relax"]["done"] == sum(row.stage != "generate" for row in published.rows)


def test_larger_run_goes_on_from_what_is_done_at_its_own_rates(run: Path) -> None:
    done = costs(run)
    change(run, "n = 6", "n = 60")
    found = costs(run)
    assert (found["generate"]["total"], found["generate"]["done"]) == (60, 0), "its one batch was not full"
    assert found["relax"]["done"] == done["relax"]["done"]
    assert found["relax"]["left"] == 54
    with RunFolder.open(run) as folder:
        seconds = folder.seconds_by_step()
    for name in ("generate", "relax"):
        assert found[name]["source"] == HERE
        assert found[name]["seconds_each"] == pytest.approx(seconds[name] / done[name]["done"])
    assert found["kappa of benchmarks"]["source"] == HERE


def test_changed_settings_begin_anew(run: Path) -> None:
    change(run, 'name = "brenner"', 'name = "tersoff"')
    found = costs(run)
    assert found["generate"]["done"] == 6, "proposals do not depend on it"
    assert all(found[name]["done"] == 0 for name in STEPS[1:])
    change(run, "seed = 4", "seed = 5")
    assert costs(run)["generate"]["done"] == 0


class Interrupting(Silence):
    """Stops a campaign after its first κ."""

    def advance(self, step: str) -> None:
        if step == "kappa of benchmarks":
            raise KeyboardInterrupt


def test_interrupted_run_has_its_rest_left(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", TINY.replace("benchmarks = 1", "benchmarks = 2"))
    with RunFolder.open(run, write=True) as folder, pytest.raises(KeyboardInterrupt):
        Campaign(load_campaign(run / "campaign.toml"), folder, Interrupting()).run()
    found = costs(run)
    kappa = found["kappa of benchmarks"]
    assert (kappa["total"], kappa["done"], kappa["left"], kappa["source"]) == (3, 1, 2, HERE)
    with RunFolder.open(run) as folder:
        assert kappa["seconds"] == pytest.approx(2 * folder.seconds_by_step()["kappa of benchmarks"])
    assert {found[name]["left"] for name in STEPS[:4]} == {0}
    assert found["kappa of neighbours"]["seconds_each"] == kappa["seconds_each"], "they are alike"


def test_error_bars_and_labels_are_counted(tmp_path: Path) -> None:
    text = TINY.replace('name = "brenner"', 'name = "carbon"').replace("benchmarks = 1", "benchmarks = 10")
    text = text.replace('method = "paper"\nmesh = [4, 4, 4]\npaper.supercell = [2, 2, 2]\n', "")
    learning = '[label]\nlabeler = "ase:ase.calculators.emt:EMT"\n[learn]\nmembers = 3\n'
    run = make_run(tmp_path / "run", f"{text}\n{learning}[error_bar]\ncutoffs = true\n")
    found = costs(run)
    assert found["train, at least"]["total"] == 3
    assert found["label, at least"]["total"] > 0
    assert found["label, at least"]["seconds"] is None
    assert found["committee"]["total"] % 3 == 0
    assert found["committee"]["total"] * 2 == found["wider"]["total"] * 3
    text = here("run", run, "--dry-run").stdout
    assert "nobody has measured them: label, at least, train, at least" in text
    assert reference_rates().about["machine"] in text


def test_rest_is_counted_on_every_rung(tmp_path: Path) -> None:
    text = TINY.replace('name = "brenner"', 'name = "carbon"').replace("n = 6", "n = 600")
    text = text.replace('method = "paper"\nmesh = [4, 4, 4]\npaper.supercell = [2, 2, 2]\n', "")
    found = costs(make_run(tmp_path / "run", text.replace("neighbours = 1", "neighbours = 1\nrest = true")))
    rungs = [step for name, step in found.items() if "of the rest" in name]
    assert [step["step"].split()[0] for step in rungs] == ["phonons", "RTA", "whole"]
    assert rungs[0]["total"] > rungs[1]["total"] == rungs[2]["total"] > 0
    assert all(step["seconds"] > 0 for step in rungs)
    benchmarks, neighbours = (found[f"kappa of {role}"]["total"] for role in ("benchmarks", "neighbours"))
    assert rungs[0]["total"] == found["describe"]["total"] - benchmarks - neighbours


def test_estimate_of_what_could_not_begin_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", TINY)
    change(run, '"diamond"', '"diamund"')
    assert "did you mean 'diamond'?" in only_line(here("run", run, "--dry-run"), 2)
    change(run, '"diamund"', '"diamond"')
    change(run, "max_atoms = 4\n[potential]", 'max_atoms = 4\nelements = ["Au"]\n[potential]')
    assert "does not know Au" in only_line(here("run", run, "--dry-run"), 2)


def test_wall_time_is_shared_by_workers_as_far_as_there_are_tasks() -> None:
    many = Cost("kappa", "crystals", 10, 2, 5.0, HERE)
    one = Cost("map", "maps", 1, 0, 4.0, HERE)
    unknown = Cost("label", "crystals", 3, 0, None, "", "dft")
    found = Estimate((many, one, unknown), {"cpu": 4, "dft": 1}, reference_rates())
    assert found.seconds == 8 * 5 + 4
    assert found.wall_s == pytest.approx(8 * 5 / 4 + 4)
    assert found.unknown == ("label",)


def test_estimate_without_a_folder_is_that_of_an_empty_one(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", TINY)
    settings = load_campaign(run / "campaign.toml")
    alone = estimate(settings)
    with RunFolder.open(run, write=True):
        pass
    with RunFolder.open(run) as folder:
        assert estimate(settings, folder).costs == alone.costs

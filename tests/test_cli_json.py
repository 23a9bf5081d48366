"""``--json`` of every command: one shape, and nothing else on stdout."""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import typer
from ase.build import bulk
from ase.io import read, write

from commands import kappaforge, rows
from kappaforge.cli.machine import plain
from kappaforge.cli.main import app
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.dataset.writers import write as write_crystals

NOISY = '''
"""A calculator as they are: it talks on stdout, from Python and from C."""
import os

from ase.calculators.emt import EMT

print("imported")

class Noisy(EMT):
    def calculate(self, *arguments, **options):
        print("calculating")
        os.write(1, b"and from below\\n")
        super().calculate(*arguments, **options)
'''

GROUP = typer.main.get_command(app)


@pytest.fixture
def noisy(tmp_path: Path) -> tuple[Path, str]:
    """A folder to work in, and the calculator's name there."""
    (tmp_path / "noisy.py").write_text(NOISY)
    write(tmp_path / "copper.extxyz", [bulk("Cu", a=3.6 + 0.01 * number) for number in range(17)])
    write(tmp_path / "POSCAR", bulk("Cu", a=3.6), format="vasp")
    return tmp_path, "ase:noisy:Noisy"


def objects(*arguments: object, cwd: Path | None = None) -> list[dict]:
    ended = kappaforge(*arguments, "--json", cwd=cwd)
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_every_command_has_json() -> None:
    commands = {**GROUP.commands, **GROUP.commands["vasp"].commands}
    commands.pop("vasp")
    assert len(commands) == 23
    for name, command in commands.items():
        (option,) = (parameter for parameter in command.params if "--json" in parameter.opts)
        assert option.help.startswith("Print one JSON object"), name
        assert option.help.endswith("and nothing else."), name


def test_calculators_that_talk_do_not_reach_stdout(noisy: tuple[Path, str]) -> None:
    folder, name = noisy
    small = ("--level", "harmonic", "--fc2-distance", 5)
    for command in (
        ("relax", "copper.extxyz", "-p", name, "-w", 2),  # in two worker processes
        ("relax", "POSCAR", "-p", name),  # in this one
        ("kappa", "POSCAR", "-p", name, *small),
        ("label", "POSCAR", "-l", name, "--run", "labels", "-w", 1),
    ):
        ended = kappaforge(*command, "--json", cwd=folder)
        assert ended.returncode == 0, ended.stderr
        found = rows(ended.stdout)
        assert len(found) == (17 if "copper.extxyz" in command else 1)
        assert {row["status"] for row in found} == {"ok"}
        assert "from below" in ended.stderr
    table = kappaforge("kappa", "POSCAR", "-p", name, *small, "--csv", cwd=folder)
    assert len(table.stdout.splitlines()) == 2
    assert table.stdout.startswith("id,")


def test_stdout_is_empty_where_there_is_no_result(tmp_path: Path) -> None:
    ended = kappaforge("relax", tmp_path / "nothing", "--json")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "no such file" in ended.stderr


def test_settings_and_exports(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (made,) = objects("init", run)
    assert made == {"template": "carbon", "written": {"campaign.toml": str(run / "campaign.toml")}}
    assert objects("init", run, "--keep") == [{"template": None, "written": {}}]


def test_labels_trainings_and_supercells(tmp_path: Path) -> None:
    crystals = [entry.crystal for entry in known_carbons() if len(entry.crystal) <= 4][:4]
    write_crystals(crystals, tmp_path / "few.extxyz")
    labels, emt = tmp_path / "labels.extxyz", "ase:ase.calculators.emt:EMT"
    found = objects("label", tmp_path / "few.extxyz", "-l", emt, "--run", tmp_path / "labels", "-o", labels, "-w", 1)
    assert [row["id"] for row in found] == [crystal.id for crystal in crystals]
    for row, atoms in zip(found, read(labels, ":"), strict=True):
        assert row["energy_ev"] == pytest.approx(atoms.get_potential_energy())
        assert row["energy_ev_per_atom"] == pytest.approx(atoms.get_potential_energy() / len(atoms))
        assert row["forces_ev_per_ang"] == pytest.approx(atoms.get_forces())
        assert version("ase") in row["engine"]

    (trained,) = objects("train", labels, "-o", tmp_path / "model.safetensors", "--epochs", 1)
    assert (trained["epoch"], trained["epochs"], trained["labels"]) == (1, 1, 4)
    assert trained["energy_mae_mev_per_atom"] > 0
    assert trained["validation_energy_mae_mev_per_atom"] is None, "JSON has no NaN"
    assert Path(trained["written"]["model"]).exists()

    (generator,) = objects(
        "train-generator", tmp_path / "few.extxyz", "-o", tmp_path / "flow.safetensors", "--epochs", 1
    )
    assert generator["card"]["data digest"]
    assert Path(generator["written"]["generator"]).exists()

    write_crystals(crystals[:1], tmp_path / "one.extxyz")
    options = ("-o", tmp_path / "displaced", "--way", "finite", "--format", "vasp")
    (displaced,) = objects("displace", tmp_path / "one.extxyz", *options)
    assert (displaced["id"], displaced["status"]) == (crystals[0].id, "ok")
    assert [plan["order"] for plan in displaced["plans"]] == [2, 3]
    assert all(Path(path).exists() for path in displaced["written"].values())


def test_vasp_tells_each_crystal_and_its_folder(poscar: Path, tmp_path: Path) -> None:
    (written,) = objects("vasp", "write", poscar, "-o", tmp_path / "vasp")
    assert (written["formula"], written["space_group_number"]) == ("C2", 227)
    assert (Path(written["written"]["inputs"]) / "INCAR").exists()
    (label,) = objects("vasp", "read", tmp_path / "vasp")
    assert (label["id"], label["status"], label["energy_ev"]) == (written["id"], "failed", None)
    assert "VASP has not run" in label["reason"]


def test_learning_tells_its_rounds_and_files(tmp_path: Path) -> None:
    small = [entry.crystal for entry in known_carbons() if len(entry.crystal) <= 4][:3]
    pool, run, settings = tmp_path / "pool.extxyz", tmp_path / "run", tmp_path / "settings.toml"
    write_crystals(small, pool)
    settings.write_text(
        '[label]\nlabeler = "ase:ase.calculators.emt:EMT"\n'
        "[learn]\ninitial = 3\nmembers = 2\nmax_labels = 3\nrattles = 1\n[training]\nepochs = 1\n"
    )
    (learned,) = objects("learn", pool, "--run", run, "--settings", settings, "-w", 1)
    assert (learned["labels"], learned["asked"]) == (3, 3)
    assert [turn["number"] for turn in learned["rounds"]] == [1]
    assert all(Path(path).exists() for path in learned["written"].values())
    assert "model.safetensors" in learned["written"]


def test_values_become_json() -> None:
    given = {"a": np.array([1.0, np.nan]), 2: (np.int64(3), Path("x")), "c": {"d": float("inf"), "e": None, "f": "é"}}
    assert plain(given) == {"a": [1.0, None], "2": [3, "x"], "c": {"d": None, "e": None, "f": "é"}}

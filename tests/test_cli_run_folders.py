"""Run folders that cannot be used: every command that opens one says so in one line."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import here, kappaforge, only_line, rows
from kappaforge.campaign.ledger import Ledger
from kappaforge.config import load_campaign
from kappaforge.crystal import Crystal
from kappaforge.store.published import PUBLISHED
from kappaforge.store.run_folder import DATABASE, RunFolder, StepProgress
from small_campaign import SMALL, make_run

READERS = (("status",), ("report",), ("export", "--format", "csv"), ("run", "--dry-run"))
DRIVERS = (("run",), ("resume",))


def refuse(*arguments: object) -> str:
    """Return the one line with which bad input is refused."""
    return only_line(here(*arguments), 2)


WITHOUT_PRIVILEGE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")
"""Starts a program that permissions bind even where root runs the tests."""


@pytest.fixture
def run(tmp_path: Path, diamond: Crystal) -> Path:
    """A run that was interrupted after its first crystal."""
    folder = make_run(tmp_path / "run", SMALL)
    ledger = Ledger()
    ledger.enter(diamond)
    ledger.note("diamond", stage="kappa", kappa_rta_max_w_per_mk=2000.0)
    with RunFolder.open(folder, write=True) as opened:
        opened.record_progress(StepProgress("generate", 1, 2), 0)
        opened.put("0" * 64, "generate", diamond, 1.0)
        opened.keep(PUBLISHED, ledger.publish(load_campaign(folder / "campaign.toml"), {}))
    return folder


@pytest.fixture
def without_privilege() -> tuple[str, ...]:
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root without setpriv: nothing is read-only")
    return WITHOUT_PRIVILEGE


@pytest.fixture
def read_only(run: Path):
    """The run after somebody else's umask."""
    for path in (*run.rglob("*"), run):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield run
    run.chmod(0o755)


def first_page_only(database: Path) -> None:
    database.write_bytes(database.read_bytes()[:4096])


def cut_in_half(database: Path) -> None:
    content = database.read_bytes()
    database.write_bytes(content[: len(content) // 2])


def pages_overwritten(database: Path) -> None:
    content = bytearray(database.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    database.write_bytes(content)


def no_database(database: Path) -> None:
    database.write_bytes(os.urandom(9000))


def changed(*statements: str) -> Callable[[Path], None]:
    def change(database: Path) -> None:
        with sqlite3.connect(database) as connection:
            for statement in statements:
                connection.execute(statement)

    return change


DAMAGES = {
    "first page only": first_page_only,
    "cut in half": cut_in_half,
    "overwritten": pages_overwritten,
    "noise": no_database,
    "tables missing": changed("DROP TABLE steps", "DROP TABLE kept", "DROP TABLE tasks"),
    "columns missing": changed(
        "DROP TABLE steps", "DROP TABLE kept", "CREATE TABLE kept (n)", "CREATE TABLE steps (n)"
    ),
    "record cut short": changed("UPDATE kept SET value = substr(value, 1, 200)", "DROP TABLE steps"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_databases_are_refused(run: Path, damage: str) -> None:
    DAMAGES[damage](run / DATABASE)
    for command in READERS:
        line = refuse(command[0], run, *command[1:])
        assert "cannot be used" in line
        assert DATABASE in line


@pytest.mark.parametrize("damage", ["first page only", "overwritten", "noise", "tables missing"])
def test_damaged_databases_are_not_driven(run: Path, damage: str) -> None:
    DAMAGES[damage](run / DATABASE)
    for command in DRIVERS:
        assert DATABASE in refuse(*command, run)


def test_records_of_another_version_are_refused(run: Path) -> None:
    changed("""UPDATE kept SET value = replace(value, '"rounds"', '"turns"')""")(run / DATABASE)
    assert "has other fields" in refuse("report", run)
    changed("""UPDATE kept SET value = replace(value, 'published:Published', 'published:Printed')""")(run / DATABASE)
    for command in READERS:
        line = refuse(command[0], run, *command[1:])
        assert "another version" in line
        assert "Printed" in line


def test_folders_of_another_schema_are_refused(run: Path) -> None:
    changed("UPDATE meta SET value = '99' WHERE key = 'schema_version'")(run / DATABASE)
    for command in (*READERS, *DRIVERS):
        assert "schema 99" in refuse(command[0], run, *command[1:])


def test_what_is_no_run_folder_is_refused(tmp_path: Path, poscar: Path) -> None:
    (tmp_path / "crystals").mkdir()
    for command in READERS[:3]:
        assert "is no run folder" in refuse(command[0], tmp_path / "crystals", *command[1:])
        assert "does not exist" in refuse(command[0], tmp_path / "nowhere", *command[1:])
        assert "is a file" in refuse(command[0], poscar, *command[1:])
    for command in (*DRIVERS, READERS[3]):
        for place in (tmp_path / "crystals", tmp_path / "nowhere", poscar):
            assert str(place) in refuse(command[0], place, *command[1:])


def test_empty_database_is_a_run_that_has_not_begun(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", SMALL)
    (folder / DATABASE).touch()
    for command in READERS[:3]:
        assert "holds no results yet" in refuse(command[0], folder, *command[1:])


def test_settings_that_cannot_be_read_are_refused(run: Path) -> None:
    settings = run / "campaign.toml"
    settings.write_bytes(b"\xff\xfe\x00name")
    assert "not valid TOML" in refuse("run", run)
    settings.unlink()
    assert "does not exist" in refuse("resume", run)
    settings.mkdir()
    assert "cannot be read" in refuse("run", run)


@pytest.mark.parametrize(
    "command",
    [
        ("label", "--labeler", "ase:ase.calculators.emt:EMT"),
        ("kappa", "-p", "brenner"),
        ("ladder", "-p", "brenner"),
        ("learn", "--labeler", "ase:ase.calculators.emt:EMT"),
        ("evaluate-generator", "-p", "brenner"),
    ],
    ids=lambda command: command[0],
)
def test_commands_that_keep_what_they_compute_refuse_folders_they_cannot_use(
    command: tuple[str, ...], poscar: Path, tmp_path: Path
) -> None:
    (damaged := tmp_path / "damaged").mkdir()
    no_database(damaged / DATABASE)
    inputs = "random" if command[0] == "evaluate-generator" else poscar
    arguments = (command[0], inputs, *command[1:], "--run")
    assert "is a file" in refuse(*arguments, poscar)
    assert "is a file, or in one" in refuse(*arguments, poscar / "run")
    assert "cannot be used" in refuse(*arguments, damaged)


def test_read_only_runs_are_read(read_only: Path, without_privilege: tuple[str, ...], tmp_path: Path) -> None:
    ended = kappaforge("status", read_only, before=without_privilege)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "1 of 2" in ended.stdout
    written = tmp_path / "written"
    ended = kappaforge("report", read_only, "--output", written, "--json", before=without_privilege)
    assert ended.returncode == 0, ended.stderr
    assert [row["id"] for row in rows(ended.stdout)] == ["diamond"]
    assert (written / "index.html").exists()
    table = tmp_path / "table.csv"
    ended = kappaforge("export", read_only, "-f", "csv", "-o", table, before=without_privilege)
    assert ended.returncode == 0, ended.stderr
    assert "diamond" in table.read_text()


def test_read_only_runs_are_not_written(read_only: Path, without_privilege: tuple[str, ...]) -> None:
    for command in (("report",), ("export", "-f", "csv"), ("run",), ("resume",)):
        line = only_line(kappaforge(command[0], read_only, *command[1:], before=without_privilege), 2)
        assert str(read_only) in line
        assert "Permission denied" in line
    assert sorted(path.name for path in read_only.iterdir()) == ["campaign.toml", "driver.lock", DATABASE]


def test_run_that_nobody_may_read_is_refused(run: Path, without_privilege: tuple[str, ...]) -> None:
    (run / DATABASE).chmod(0)
    for command in READERS:
        line = only_line(kappaforge(command[0], run, *command[1:], before=without_privilege), 2)
        assert str(run) in line


def test_run_is_read_while_it_is_driven(run: Path) -> None:
    with RunFolder.open(run, write=True) as driver:
        driver.put("1" * 64, "generate", 1, 1.0)
        assert "driven by process" in here("status", run).stdout
        assert "is being driven by" in refuse("run", run)

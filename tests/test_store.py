import json
import os
import socket
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.files import replacing
from kappaforge.store.codec import CodecError, decode, encode, task_key
from kappaforge.store.driver import Driver, driver_of
from kappaforge.store.row import Row
from kappaforge.store.run_folder import DATABASE, RunFolder, StepProgress
from kappaforge.store.schema import StoreError


def test_codec_keeps_every_bit_of_a_crystal(diamond: Crystal, rng: np.random.Generator) -> None:
    moved = diamond.moved_to(diamond.cell * np.pi, diamond.positions + rng.normal(size=(2, 3)))
    back = decode(json.loads(json.dumps(encode(moved))))
    assert back.cell.tobytes() == moved.cell.tobytes()
    assert back.positions.tobytes() == moved.positions.tobytes()
    assert (back.id, back.source, back.parents, back.digest) == ("diamond", "test", (diamond.digest,), moved.digest)


scalars = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
keys = st.text().filter(lambda key: not key.startswith("__"))
values = st.recursive(scalars, lambda inner: st.lists(inner).map(tuple) | st.dictionaries(keys, inner), max_leaves=12)


@given(values)
def test_codec_inverts_any_plain_value(value: object) -> None:
    assert decode(json.loads(json.dumps(encode(value)))) == value


@settings(deadline=None)
@given(arrays(st.sampled_from([np.float64, np.float32, np.int64, np.bool_, np.complex128]), array_shapes(min_side=0)))
def test_codec_inverts_any_array(array: np.ndarray) -> None:
    back = decode(json.loads(json.dumps(encode(array))))
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


def test_codec_refuses_foreign_classes() -> None:
    with pytest.raises(CodecError, match="not a record"):
        decode({"__record__": "os:system", "command": "true"})
    with pytest.raises(CodecError, match="not a record"):
        decode({"__record__": "kappaforge.store.codec:encode"})
    with pytest.raises(CodecError, match="cannot hold"):
        encode(object())


def test_task_key_changes_with_everything_that_decides_the_result(diamond: Crystal) -> None:
    base = task_key("relax", 1, (diamond, 0.01), "model")
    assert base == task_key("relax", 1, (diamond, 0.01), "model")
    others = {
        task_key("relaxed", 1, (diamond, 0.01), "model"),
        task_key("relax", 2, (diamond, 0.01), "model"),
        task_key("relax", 1, (diamond, 0.02), "model"),
        task_key("relax", 1, (diamond.moved_to(diamond.cell * 1.01, diamond.positions), 0.01), "model"),
        task_key("relax", 1, (diamond, 0.01), "retrained"),
    }
    assert len(others) == 5
    assert base not in others


def test_large_arrays_go_to_hdf5_and_come_back(tmp_path, rng: np.random.Generator) -> None:
    features = rng.normal(size=(200, 100))
    with RunFolder.open(tmp_path, write=True) as folder:
        folder.put("abcd", "describe", (features, Row("x")), 1.5)
        back, row = folder.get("abcd")
    assert len(list(tmp_path.glob("arrays/*/*.h5"))) == 1
    assert back.tobytes() == features.tobytes()
    assert row.id == "x"


def test_damaged_arrays_are_not_served_but_done_again(tmp_path, rng: np.random.Generator) -> None:
    features = rng.normal(size=(200, 100))
    with RunFolder.open(tmp_path, write=True) as folder:
        folder.put("abcd", "describe", features, 1.5)
        (file,) = tmp_path.glob("arrays/*/*.h5")
        file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(KeyError):
            folder.get("abcd")
        with RunFolder.open(tmp_path) as reader:
            assert reader.done(["abcd"]) == set()
            assert reader.seconds_by_step() == {"describe": 1.5}, "a reader changes nothing"
        assert folder.done(["abcd", "other"]) == set()
        folder.put("abcd", "describe", features, 1.5)
        assert folder.done(["abcd", "other"]) == {"abcd"}


def test_elapsed_time_leaves_pauses_out_and_counts_tasks_side_by_side_once(tmp_path) -> None:
    ended = ("00:01:40", "00:01:30", "00:03:00", "01:00:10")
    with RunFolder.open(tmp_path, write=True) as folder:
        assert folder.elapsed_seconds() == 0
        for key, seconds in zip("abcd", (100.0, 90.0, 5.0, 10.0), strict=True):
            folder.put(key, "relax", 1, seconds)
        with sqlite3.connect(tmp_path / DATABASE) as connection:
            for key, clock in zip("abcd", ended, strict=True):
                connection.execute("UPDATE tasks SET finished_at = ? WHERE key = ?", (f"2026-01-01T{clock}Z", key))
        # 100 s of two tasks, 80 s up to the end of the third, and an hour later 10 s
        assert folder.elapsed_seconds() == pytest.approx(190, abs=0.01)


def test_no_task_is_finished_twice(tmp_path) -> None:
    with RunFolder.open(tmp_path, write=True) as folder:
        folder.put("k", "relax", 1, 0.1)
        with pytest.raises(StoreError, match="twice"):
            folder.put("k", "relax", 1, 0.1)


def test_second_driver_is_refused_and_readers_are_welcome(tmp_path) -> None:
    with RunFolder.open(tmp_path, write=True) as folder:
        folder.record_progress(StepProgress("relax", 3, 7), 0)
        with pytest.raises(InputError, match=f"driven by process {os.getpid()} on "):
            RunFolder.open(tmp_path, write=True)
        with RunFolder.open(tmp_path) as reader:
            assert reader.progress() == [StepProgress("relax", 3, 7)]
    RunFolder.open(tmp_path, write=True).close()


def test_results_committed_before_a_kill_survive_it(tmp_path) -> None:
    script = (
        "import os, sys; from kappaforge.store.run_folder import RunFolder\n"
        "folder = RunFolder.open(sys.argv[1], write=True)\n"
        "for n in range(20): folder.put(str(n), 'relax', n, 0.0)\n"
        "os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)])
    assert ended.returncode == -9
    with RunFolder.open(tmp_path, write=True) as folder:
        assert [folder.get(str(n)) for n in range(20)] == list(range(20))


def test_folder_of_another_version_is_refused(tmp_path) -> None:
    RunFolder.open(tmp_path, write=True).close()
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    with pytest.raises(InputError, match="schema 99"):
        RunFolder.open(tmp_path)


def make_folder_of_schema_1(path) -> None:
    """As version 0.1 wrote it."""
    with sqlite3.connect(path / DATABASE) as connection:
        connection.executescript(
            "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
            "CREATE TABLE tasks (key TEXT PRIMARY KEY, step TEXT NOT NULL, result TEXT NOT NULL, arrays_sha256 TEXT,"
            "    seconds REAL NOT NULL, finished_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')));"
            "CREATE INDEX tasks_by_step ON tasks (step);"
            "CREATE TABLE steps (step TEXT PRIMARY KEY, position INTEGER NOT NULL, total INTEGER NOT NULL,"
            "    done INTEGER NOT NULL);"
            "CREATE TABLE kept (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
            "INSERT INTO meta VALUES ('schema_version', '1'), ('kappaforge', '0.1.0');"
            "INSERT INTO tasks (key, step, result, seconds) VALUES ('k', 'relax', '41', 2.0);"
            "INSERT INTO steps VALUES ('relax', 0, 7, 1);"
        )


def test_folder_of_an_older_version_is_brought_up_to_date_by_its_driver(tmp_path) -> None:
    make_folder_of_schema_1(tmp_path)
    with pytest.raises(InputError, match=r"older kappaforge, 0\.1\.0; bring it up to date with: kappaforge run"):
        RunFolder.open(tmp_path)
    with RunFolder.open(tmp_path, write=True) as folder:
        assert folder.get("k") == 41
        assert folder.progress() == [StepProgress("relax", 1, 7)]
        folder.record_progress(StepProgress("relax", 2, 7, outcomes={"ok": 3}), 0)
    with RunFolder.open(tmp_path) as reader:
        assert reader.progress() == [StepProgress("relax", 2, 7, outcomes={"ok": 3})]
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    RunFolder.open(fresh, write=True).close()
    assert columns(tmp_path) == columns(fresh)


def columns(path) -> list[tuple]:
    with sqlite3.connect(path / DATABASE) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return sorted((name, *row) for name in tables for row in connection.execute(f"PRAGMA table_info({name})"))


def test_full_disk_stops_the_driver_in_one_line_and_loses_nothing(tmp_path) -> None:
    """A limit on the size of files stands for the disk: SQLite and HDF5 meet the same failing writes."""
    script = (
        "import resource, sys\n"
        "import numpy as np\n"
        "from kappaforge.store.run_folder import RunFolder, StoreError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))\n"
        "rng = np.random.default_rng(0)\n"
        "try:\n"
        "    with RunFolder.open(sys.argv[1], write=True) as folder:\n"
        "        for n in range(1000):\n"
        "            folder.put(f'{n:04}', 'relax', rng.normal(size=1000 if n % 2 else int(sys.argv[2])), 0.0)\n"
        "            print(n, flush=True)\n"
        "except StoreError as error:\n"
        "    sys.exit(str(error))\n"
    )
    for size in ("1000", "50000"):  # the database is the first to be too large, or an array's file
        path = tmp_path / size
        path.mkdir()
        ended = subprocess.run([sys.executable, "-c", script, path, size], capture_output=True, text=True)
        assert ended.returncode == 1
        assert "make room on the disk" in ended.stderr
        assert len(ended.stderr.splitlines()) == 1
        done = [f"{int(n):04}" for n in ended.stdout.split()]
        with RunFolder.open(path, write=True) as folder:
            assert folder.done(f"{n:04}" for n in range(1000)) == set(done)
            folder.put(f"{len(done):04}", "relax", 1, 0.0)
        assert not list(path.rglob("*.tmp"))


def test_rate_and_remaining_time_count_what_this_driver_did() -> None:
    now = StepProgress("relax", done=50, total=100, found=40, started_at=1000.0, updated_at=1020.0)
    assert now.tasks_per_s == pytest.approx(0.5)
    assert now.remaining_s == pytest.approx(100.0)
    assert StepProgress("relax", 40, 100, 40, 1000.0, 1020.0).remaining_s is None


def test_driver_is_known_while_it_drives_and_after_it_was_killed(tmp_path) -> None:
    assert driver_of(tmp_path) is None
    with RunFolder.open(tmp_path, write=True):
        assert driver_of(tmp_path) == Driver(os.getpid(), socket.gethostname())
        assert driver_of(tmp_path).alive
    assert driver_of(tmp_path) is None
    script = (
        "import os, sys; from kappaforge.store.run_folder import RunFolder\n"
        "RunFolder.open(sys.argv[1], write=True); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)])
    assert driver_of(tmp_path).alive is False


def test_file_that_is_no_database_is_refused(tmp_path) -> None:
    (tmp_path / DATABASE).write_text("not a database, " * 100)
    with pytest.raises(InputError, match="cannot be used"):
        RunFolder.open(tmp_path, write=True)
    with pytest.raises(InputError, match="does not exist"):
        RunFolder.open(tmp_path / "nothing")


def test_failed_write_leaves_the_old_file_and_no_rest(tmp_path) -> None:
    target = tmp_path / "table.csv"
    target.write_text("old")

    def write_half() -> None:
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]

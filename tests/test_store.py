import json
import os
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
from kappaforge.store.row import Row
from kappaforge.store.run_folder import DATABASE, RunFolder, StepProgress, StoreError


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


def test_no_task_is_finished_twice(tmp_path) -> None:
    with RunFolder.open(tmp_path, write=True) as folder:
        folder.put("k", "relax", 1, 0.1)
        with pytest.raises(StoreError, match="twice"):
            folder.put("k", "relax", 1, 0.1)


def test_second_driver_is_refused_and_readers_are_welcome(tmp_path) -> None:
    with RunFolder.open(tmp_path, write=True) as folder:
        folder.record_progress(StepProgress("relax", 3, 7), 0)
        with pytest.raises(InputError, match=f"driven by process {os.getpid()}"):
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

"""Pools of workers by Parsl on this machine; `tests/test_engine_slurm.py` starts a batch system."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine_calls import die_once, kill_manager_once, raise_value_error, square, threads_and_pid
from kappaforge.config import load_campaign
from kappaforge.engine.executors import THREAD_VARIABLES, worker_count
from kappaforge.engine.run import Engine
from kappaforge.engine.settings import EngineSettings, PoolSettings
from kappaforge.engine.worker import Call
from kappaforge.errors import InputError
from small_campaign import TINY, bits, drive, make_run

psutil = pytest.importorskip("psutil", reason="Parsl is not installed: pip install 'kappaforge[cluster]'")
pytest.importorskip("parsl", reason="it is not installed: pip install 'kappaforge[cluster]'")

TWO_WORKERS = EngineSettings("parsl", pools={"cpu": PoolSettings(workers=2, threads_per_worker=3)})


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with pytest.MonkeyPatch.context() as patch, Engine(TWO_WORKERS, tmp_path_factory.mktemp("parsl")) as opened:
        seen = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        patch.setenv("PYTHONPATH", os.pathsep.join(seen))  # where workers find engine_calls
        yield opened


def results(engine: Engine, calls: dict[str, Call]) -> dict[str, object]:
    return {finished.key: finished.result for finished in engine.run(calls)}


def test_pool_finishes_every_call(engine: Engine) -> None:
    assert results(engine, {str(n): Call(square, (n,)) for n in range(10)}) == {str(n): n * n for n in range(10)}


def test_pool_has_its_workers_and_their_threads(engine: Engine) -> None:
    found = results(engine, {str(n): Call(threads_and_pid, ()) for n in range(8)}).values()
    assert all(threads == dict.fromkeys(THREAD_VARIABLES, "3") for threads, _ in found)
    assert len({pid for _, pid in found}) == 2


def test_tasks_of_a_pool_that_is_not_there_run_on_cpu(engine: Engine) -> None:
    (finished,) = engine.run({"a": Call(square, (3,))}, "dft")
    assert finished.result == 9


def test_pool_passes_on_an_error_of_the_call(engine: Engine) -> None:
    with pytest.raises(ValueError, match="of the call itself"):
        results(engine, {"a": Call(raise_value_error, ())})


def test_killed_worker_is_replaced_and_its_call_done_again(engine: Engine, tmp_path: Path) -> None:
    calls = {str(n): Call(die_once, (str(tmp_path / "died"), n)) for n in range(6)}
    assert results(engine, calls) == {str(n): n for n in range(6)}


@pytest.mark.slow
def test_killed_node_is_replaced_and_its_calls_done_again(engine: Engine, tmp_path: Path) -> None:
    calls = {str(n): Call(kill_manager_once, (str(tmp_path / "died"), n)) for n in range(4)}
    assert results(engine, calls) == {str(n): n for n in range(4)}


def test_nothing_outlives_a_driver_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "driver.py"
    script.write_text(
        "import os, time\n"
        "from pathlib import Path\n"
        "from kappaforge.engine.executors import open_executor\n"
        "from kappaforge.engine.settings import EngineSettings, PoolSettings\n"
        "settings = EngineSettings('parsl', pools={'cpu': PoolSettings(workers=2)})\n"
        "executor = open_executor(settings, 'cpu', Path('logs'))\n"
        "print(executor.submit(os.getpid).result(), flush=True)\n"
        "executor.submit(time.sleep, 60)\n"
        "time.sleep(60)\n"
    )
    driver = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert driver.stdout is not None
    worker = psutil.Process(int(driver.stdout.readline()))
    helpers = psutil.Process(driver.pid).children(recursive=True)
    pool = [process for process in psutil.process_iter() if os.getpgid(process.pid) == os.getpgid(worker.pid)]
    assert helpers
    assert len(pool) >= 4, "the manager, its two workers and their helpers"
    driver.kill()
    driver.wait()
    _, left = psutil.wait_procs([*helpers, *pool], timeout=10)
    assert left == []


def test_pools_are_a_few_lines_of_the_campaign(tmp_path: Path) -> None:
    file = tmp_path / "campaign.toml"
    file.write_text(
        '[engine]\nexecutor = "parsl"\ntask_time_limit_s = 3600\n'
        '[engine.pools.cpu]\nprovider = "slurm"\nworkers = 32\n'
        'options = { partition = "cpu", walltime = "12:00:00", nodes_per_block = 2, max_blocks = 4 }\n'
        '[engine.pools.dft]\nprovider = "pbs"\nworkers = 4\nthreads_per_worker = 16\n'
    )
    settings = load_campaign(file).engine
    assert worker_count(settings) == 32 * 2 * 4
    assert worker_count(settings, "dft") == 4
    assert settings.pool("gpu") == ("cpu", settings.pools["cpu"])
    file.write_text(file.read_text().replace("threads_per_worker", "threds_per_worker"))
    with pytest.raises(InputError, match="did you mean 'threads_per_worker'"):
        load_campaign(file)


def test_option_that_parsl_does_not_have_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    pools = {"cpu": PoolSettings("slurm", workers=1, options={"partitions": "cpu"})}
    with (
        Engine(EngineSettings("parsl", pools=pools), tmp_path) as engine,
        pytest.raises(InputError, match=r"\[engine\.pools\.cpu\] options: .*did you mean 'partition'"),
    ):
        results(engine, {"a": Call(square, (2,))})


def test_campaign_on_two_workers_gives_the_table_of_the_in_process_run_bit_by_bit(tmp_path: Path) -> None:
    spread = drive(make_run(tmp_path / "parsl", TINY + 'executor = "parsl"\n[engine.pools.cpu]\nworkers = 2\n'))
    assert bits(spread) == bits(drive(make_run(tmp_path / "here", TINY + 'executor = "in-process"\n')))

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kappaforge.engine.executors import THREAD_VARIABLES, worker_count
from kappaforge.engine.run import Engine, WorkerLostError
from kappaforge.engine.settings import EngineSettings, PoolSettings
from kappaforge.engine.worker import Call
from kappaforge.errors import InputError

LOCAL = EngineSettings("processes", workers=2)


def square(number: int) -> int:
    return number * number


def die_once(marker: str, number: int) -> int:
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_always() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang_once(marker: str, number: int) -> int:
    if not Path(marker).exists():
        Path(marker).touch()
        time.sleep(600)
    return number


def raise_value_error() -> None:
    raise ValueError("of the call itself")


class AwkwardError(Exception):
    def __init__(self, what: str, where: str) -> None:  # which pickle cannot make anew
        super().__init__(f"{what} in {where}")


def raise_awkward_error() -> None:
    raise AwkwardError("a fault", "the potential")


def thread_settings() -> dict[str, str]:
    return {variable: os.environ[variable] for variable in THREAD_VARIABLES}


def results(calls: dict[str, Call], settings: EngineSettings) -> dict[str, object]:
    with Engine(settings) as engine:
        return {key: result for key, result, _ in engine.run(calls)}


@pytest.mark.parametrize("settings", [EngineSettings("in-process"), LOCAL], ids=lambda settings: settings.executor)
def test_every_executor_finishes_every_call(settings: EngineSettings) -> None:
    calls = {str(n): Call(square, (n,)) for n in range(10)}
    assert results(calls, settings) == {str(n): n * n for n in range(10)}


@pytest.mark.parametrize("settings", [EngineSettings("in-process"), LOCAL], ids=lambda settings: settings.executor)
def test_every_executor_passes_on_an_error_of_the_call(settings: EngineSettings) -> None:
    with pytest.raises(ValueError, match="of the call itself"):
        results({"a": Call(raise_value_error, ())}, settings)


def test_error_of_a_call_says_where_it_was_raised_whatever_its_class() -> None:
    with pytest.raises(RuntimeError, match="AwkwardError: a fault in the potential") as caught:
        results({"a": Call(raise_awkward_error, ())}, LOCAL)
    assert "in raise_awkward_error" in caught.value.__notes__[0]


def test_workers_serve_one_run_after_another() -> None:
    with Engine(EngineSettings("processes", workers=1)) as engine:
        first, second = ({each.result for each in engine.run({"a": Call(os.getpid, ())})} for _ in range(2))
    assert first == second


def test_hanging_worker_is_ended_and_its_call_done_again(tmp_path) -> None:
    settings = EngineSettings("processes", workers=2, task_time_limit_s=1.0)
    calls = {str(n): Call(hang_once, (str(tmp_path / "hung"), n)) for n in range(4)}
    start = time.monotonic()
    assert results(calls, settings) == {str(n): n for n in range(4)}
    assert time.monotonic() - start < 60, "not as long as it would hang"


def test_killed_worker_is_replaced_and_its_call_done_again(tmp_path) -> None:
    calls = {str(n): Call(die_once, (str(tmp_path / "died"), n)) for n in range(6)}
    assert results(calls, LOCAL) == {str(n): n for n in range(6)}


def test_call_that_always_kills_its_worker_ends_the_run_with_advice() -> None:
    with pytest.raises(WorkerLostError, match=r"died 2 times .* engine\.workers"):
        results({"a": Call(die_always, ())}, EngineSettings("processes", workers=1, retries=1))


def test_workers_keep_to_their_threads() -> None:
    settings = EngineSettings("processes", workers=1, threads_per_worker=3)
    assert results({"a": Call(thread_settings, ())}, settings) == {"a": dict.fromkeys(THREAD_VARIABLES, "3")}


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_workers_end_when_their_driver_is_killed(tmp_path) -> None:
    script = tmp_path / "driver.py"
    script.write_text(
        "import os, time\n"
        "from pathlib import Path\n"
        "from kappaforge.engine.executors import open_executor\n"
        "from kappaforge.engine.settings import EngineSettings\n"
        "if __name__ == '__main__':\n"
        "    executor = open_executor(EngineSettings('processes', workers=1), 'cpu', Path('unused'))\n"
        "    print(executor.submit(os.getpid).result(), flush=True)\n"
        "    executor.submit(time.sleep, 60)\n"
        "    time.sleep(60)\n"
    )
    driver = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    worker = int(driver.stdout.readline())
    driver.kill()
    driver.wait()
    wait_for(lambda: not Path(f"/proc/{worker}").exists())


def test_worker_ends_when_its_driver_was_killed_before_it_began_to_watch(tmp_path) -> None:
    script = (
        "import multiprocessing, sys, engine_calls\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    context.Process(target=engine_calls.watch_parent_late, args=(sys.argv[1],)).start()\n"
    )
    path = tmp_path / "driver.py"
    path.write_text(script)
    pid, late = tmp_path / "pid", tmp_path / "late"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen([sys.executable, str(path), str(tmp_path)], env=environment) as driver:
        wait_for(pid.exists)
        driver.kill()
    late.touch()
    worker = int(pid.read_text())
    wait_for(lambda: not Path(f"/proc/{worker}").exists())


def test_unknown_executor_is_refused_with_a_suggestion() -> None:
    with pytest.raises(InputError, match="did you mean 'processes'"):
        EngineSettings("process")
    with pytest.raises(InputError, match=r"engine\.threads_per_worker: expected 1 or more"):
        EngineSettings(threads_per_worker=0)
    with pytest.raises(InputError, match=r"engine\.pools: unknown 'gpus'"):
        EngineSettings("parsl", pools={"gpus": PoolSettings()})
    with pytest.raises(InputError, match="did you mean 'slurm'"):
        PoolSettings("slurmm")
    with pytest.raises(InputError, match="workers: expected 1 or more"):
        PoolSettings("slurm")
    with pytest.raises(InputError, match='need executor = "parsl"'):
        EngineSettings("processes", pools={"cpu": PoolSettings()})
    assert worker_count(EngineSettings("in-process", workers=8)) == 1

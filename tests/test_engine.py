import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from kappaforge.engine.executors import THREAD_VARIABLES, open_executor, worker_count
from kappaforge.engine.run import Call, WorkerLostError, run_calls
from kappaforge.engine.settings import EngineSettings
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


def raise_value_error() -> None:
    raise ValueError("of the call itself")


def thread_settings() -> dict[str, str]:
    return {variable: os.environ[variable] for variable in THREAD_VARIABLES}


def results(calls: dict[str, Call], settings: EngineSettings, at_once: int = 3) -> dict[str, object]:
    finished = run_calls(calls, partial(open_executor, settings), at_once=at_once, retries=settings.retries)
    return {key: result for key, result, _ in finished}


@pytest.mark.parametrize("settings", [EngineSettings("in-process"), LOCAL], ids=lambda settings: settings.executor)
def test_every_executor_finishes_every_call(settings: EngineSettings) -> None:
    calls = {str(n): Call(square, (n,)) for n in range(10)}
    assert results(calls, settings) == {str(n): n * n for n in range(10)}


@pytest.mark.parametrize("settings", [EngineSettings("in-process"), LOCAL], ids=lambda settings: settings.executor)
def test_every_executor_passes_on_an_error_of_the_call(settings: EngineSettings) -> None:
    with pytest.raises(ValueError, match="of the call itself"):
        results({"a": Call(raise_value_error, ())}, settings)


def test_killed_worker_is_replaced_and_its_call_done_again(tmp_path) -> None:
    calls = {str(n): Call(die_once, (str(tmp_path / "died"), n)) for n in range(6)}
    assert results(calls, LOCAL) == {str(n): n for n in range(6)}


def test_call_that_always_kills_its_worker_ends_the_run_with_advice() -> None:
    with pytest.raises(WorkerLostError, match=r"died 2 times .* engine\.workers"):
        results({"a": Call(die_always, ())}, EngineSettings("processes", workers=1, retries=1))


def test_workers_keep_to_their_threads() -> None:
    settings = EngineSettings("processes", workers=1, threads_per_worker=3)
    assert results({"a": Call(thread_settings, ())}, settings) == {"a": dict.fromkeys(THREAD_VARIABLES, "3")}


def test_workers_end_when_their_driver_is_killed(tmp_path) -> None:
    script = tmp_path / "driver.py"
    script.write_text(
        "import os, time\n"
        "from kappaforge.engine.executors import open_executor\n"
        "from kappaforge.engine.settings import EngineSettings\n"
        "if __name__ == '__main__':\n"
        "    executor = open_executor(EngineSettings('processes', workers=1))\n"
        "    print(executor.submit(os.getpid).result(), flush=True)\n"
        "    executor.submit(time.sleep, 60)\n"
        "    time.sleep(60)\n"
    )
    driver = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    worker = int(driver.stdout.readline())
    driver.kill()
    driver.wait()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{worker}").exists()


def test_unknown_executor_is_refused_with_a_suggestion() -> None:
    with pytest.raises(InputError, match="did you mean 'processes'"):
        EngineSettings("process")
    with pytest.raises(InputError, match="threads_per_worker: expected 1 or more"):
        EngineSettings(threads_per_worker=0)
    assert worker_count(EngineSettings("in-process", workers=8)) == 1

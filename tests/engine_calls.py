"""Calls for the workers of other processes, in a module that they import within a moment."""

import os
import signal
import time
from pathlib import Path

from kappaforge.engine.executors import THREAD_VARIABLES
from kappaforge.engine.worker import end_with_parent


def square(number: int) -> int:
    return number * number


def threads_and_pid() -> tuple[dict[str, str], int]:
    time.sleep(0.2)  # so that one worker cannot take all
    return {variable: os.environ[variable] for variable in THREAD_VARIABLES}, os.getpid()


def raise_value_error() -> None:
    raise ValueError("of the call itself")


def die_once(marker: str, number: int) -> int:
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def kill_manager_once(marker: str, number: int) -> int:
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return number


def job() -> tuple[str, str, str]:
    """Return the job of SLURM that this worker is in, its partition and threads."""
    return os.environ["SLURM_JOB_ID"], os.environ["SLURM_JOB_PARTITION"], os.environ["OMP_NUM_THREADS"]


def watch_parent_late(folder: str) -> None:
    """Begin to watch the parent when the file "late" is there, then wait for the end."""
    pid = Path(folder) / "pid.new"
    pid.write_text(str(os.getpid()))
    pid.rename(Path(folder) / "pid")
    while not (Path(folder) / "late").exists():
        time.sleep(0.05)
    end_with_parent()
    time.sleep(120)

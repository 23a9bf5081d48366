"""Run a module of Parsl as long as the driver lives: ``python -m kappaforge.engine.leash PID MODULE ARGUMENTS...``.

Parsl's helpers outlive a driver that is killed with -9, and their workers with them, for minutes or for ever.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

import psutil

from kappaforge.engine.worker import WATCH_INTERVAL_S


def main() -> None:
    """Watch the driver from a thread, and become the module."""
    driver_pid, module = int(sys.argv[1]), sys.argv[2]
    sys.argv[:3] = [module]
    try:
        driver = psutil.Process(driver_pid)
        whole_group = os.getpgrp() != os.getpgid(driver_pid)
    except (psutil.NoSuchProcess, ProcessLookupError):
        sys.exit("the driver is gone")
    threading.Thread(target=_watch, args=(driver, whole_group), daemon=True).start()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _watch(driver: psutil.Process, whole_group: bool) -> None:
    while _is_alive(driver):
        time.sleep(WATCH_INTERVAL_S)
    if whole_group:  # the workers, and the helpers of Python's multiprocessing, which do not watch anybody
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    main()

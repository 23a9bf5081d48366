"""What happens in a worker: one call, timed, ended where it hangs."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

WATCH_INTERVAL_S = 0.5


class Call(NamedTuple):
    """A function, importable by name in another process, and its arguments."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class Done(NamedTuple):
    """The result of a call and the seconds that it took."""

    result: Any
    seconds: float


class Raised(NamedTuple):
    """The error of a call. It comes back as a value, so that any error of a future is the fault of the machinery."""

    error: Exception


def work(call: Call) -> Done | Raised:
    """Run a call in the driver's own process."""
    start = time.perf_counter()
    try:
        result = call.function(*call.arguments)
    except Exception as error:
        return Raised(error)
    return Done(result, time.perf_counter() - start)


def work_within(call: Call, time_limit_s: float) -> Done | Raised:
    """Run a call in a process that ends, with a traceback on stderr, where it takes longer; 0 for no limit."""
    if time_limit_s:
        # a thread in C: no call can keep it from running by holding the interpreter's lock
        faulthandler.dump_traceback_later(time_limit_s, exit=True)
    try:
        outcome = work(call)
    finally:
        faulthandler.cancel_dump_traceback_later()
    return Raised(_portable(outcome.error)) if isinstance(outcome, Raised) else outcome


def work_in_group(call: Call, time_limit_s: float) -> Done | Raised:
    """Run a call in a pool that has a process group of its own, which ends as a whole when the pool's manager does."""
    end_with_parent(whole_group=True)
    return work_within(call, time_limit_s)


def end_with_parent(*, whole_group: bool = False) -> None:
    """End this process once its parent is gone: one that was killed with -9 cannot tell it to."""
    if not any(thread.name == "end-with-parent" for thread in threading.enumerate()):
        # the one that started it: when that was killed meanwhile, the present parent is somebody else
        starter = multiprocessing.parent_process()
        arguments = (os.getppid() if starter is None else starter.pid, whole_group)
        threading.Thread(target=_watch_parent, args=arguments, name="end-with-parent", daemon=True).start()


def _watch_parent(parent: int, whole_group: bool) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_INTERVAL_S)
    if whole_group:
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


def _portable(error: Exception) -> Exception:
    """Return an error that another process can read, with where it was raised."""
    trace = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - of our own making
    except Exception:  # whatever a class of errors does when it is made anew
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"raised in a worker:\n{trace}")
    return error

"""Run many calls on an executor that may lose workers on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from typing import Any, NamedTuple

from kappaforge.errors import KappaforgeError


class Call(NamedTuple):
    """A function, importable by name in another process, and its arguments."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class Finished(NamedTuple):
    """A call's key, its result and the seconds its worker spent on it."""

    key: str
    result: Any
    seconds: float


class WorkerLostError(KappaforgeError):
    """A call's worker died more often than the retries allow."""


def run_calls(
    calls: Mapping[str, Call], open_executor: Callable[[], Executor], *, at_once: int, retries: int = 2
) -> Iterator[Finished]:
    """Run all calls and yield each as it finishes, in any order.

    `at_once` bounds the calls given out at the same time, so that little is lost when the driver dies. When a worker
    dies (its executor is broken then), a new executor is opened and the calls that were out are given out again, each
    at most `retries` times. An error raised by a call itself ends the run.

    Raises
    ------
    WorkerLostError
        When a call's worker died `retries` + 1 times.
    """
    waiting = dict(calls)
    losses = dict.fromkeys(calls, 0)
    while waiting:
        out: dict[Future[tuple[Any, float]], str] = {}
        executor = open_executor()
        try:
            while waiting or out:
                while waiting and len(out) < at_once:
                    key = next(iter(waiting))
                    out[executor.submit(_timed, waiting[key])] = key
                    del waiting[key]
                for future in wait(out, return_when=FIRST_COMPLETED).done:
                    result, seconds = future.result()
                    yield Finished(out.pop(future), result, seconds)
        except BrokenExecutor:
            for key in out.values():
                losses[key] += 1
                if losses[key] > retries:
                    raise WorkerLostError(
                        f"a worker died {losses[key]} times on the same task ({calls[key].function.__name__}); "
                        "it may need more memory: lower engine.workers, then run the same command again"
                    ) from None
                waiting[key] = calls[key]
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


def _timed(call: Call) -> tuple[Any, float]:
    start = time.perf_counter()
    result = call.function(*call.arguments)
    return result, time.perf_counter() - start

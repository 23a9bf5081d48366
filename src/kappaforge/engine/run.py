"""Run many calls on executors that may lose workers on the way."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from pathlib import Path
from typing import Any, NamedTuple, Self

from kappaforge.engine.executors import open_executor, worker_count
from kappaforge.engine.settings import EngineSettings
from kappaforge.engine.worker import Call, Done, Raised, work, work_in_group, work_within
from kappaforge.errors import KappaforgeError

QUEUED_PER_WORKER = 2
"""Calls that are out for each worker of Parsl, so that none waits for the driver; of the others there is one."""


class Finished(NamedTuple):
    """A call's key, its result and the seconds its worker spent on it."""

    key: str
    result: Any
    seconds: float


class WorkerLostError(KappaforgeError):
    """A call's worker died more often than the retries allow."""


class Engine:
    """Runs calls where the settings say; use it as a context, or close it.

    An executor is opened for the first call of its pool and serves all that follow, as workers take seconds to start
    and jobs of a batch system may take hours.

    Parameters
    ----------
    settings
        Where to run.
    logs
        Folder for what Parsl writes; None for a temporary one.
    """

    def __init__(self, settings: EngineSettings, logs: Path | None = None) -> None:
        self.settings = settings
        self._temporary = None if logs else tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._logs = logs or Path(self._temporary.name)  # type: ignore[union-attr]
        self._open: dict[str, Executor] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End all workers."""
        for name in list(self._open):
            self._close(name)
        if self._temporary:
            self._temporary.cleanup()

    def run(self, calls: Mapping[str, Call], pool: str = "cpu") -> Iterator[Finished]:
        """Run all calls and yield each as it finishes, in any order.

        Few calls more than there are workers are out at a time, so that little is lost when the driver dies. When a
        worker dies, or hangs for longer than the settings allow, its call is given out again, at most `retries` times;
        where the executor cannot say which worker died, that is all calls that were out. An error raised by a call
        itself ends the run.

        Parameters
        ----------
        calls
            By key.
        pool
            ``cpu``, ``gpu`` or ``dft``: what kind of worker they want, where there are several.

        Raises
        ------
        WorkerLostError
            When a call's worker died `retries` + 1 times.
        """
        at_once = worker_count(self.settings, pool) if calls else 1
        if self.settings.executor == "parsl":
            at_once *= QUEUED_PER_WORKER
        waiting = dict(calls)
        losses = dict.fromkeys(calls, 0)
        out: dict[Future[Done | Raised], str] = {}
        try:
            while waiting or out:
                lost: list[str] = []
                cause = ""
                try:
                    while waiting and len(out) < at_once:
                        key = next(iter(waiting))
                        out[self._submit(waiting[key], pool)] = key
                        del waiting[key]
                    for future in wait(out, return_when=FIRST_COMPLETED).done:
                        error = future.exception()
                        if isinstance(error, BrokenExecutor):
                            raise error
                        key = out.pop(future)
                        if error is None:
                            yield _finished(key, future.result())
                        else:
                            lost, cause = [*lost, key], str(error)
                except BrokenExecutor as error:
                    lost, cause = [*lost, *out.values()], str(error)
                    out.clear()
                    self._close(pool)
                for key in lost:
                    losses[key] += 1
                    if losses[key] > self.settings.retries:
                        raise _given_up(calls[key], losses[key], cause)
                    waiting[key] = calls[key]
        finally:
            if out:  # nobody waits for them any more
                self._close(pool)

    def _submit(self, call: Call, pool: str) -> Future[Done | Raised]:
        name = self.settings.pool(pool)[0]
        if name not in self._open:
            self._open[name] = open_executor(self.settings, name, self._logs)
        executor = self._open[name]
        if self.settings.executor == "in-process":
            return executor.submit(work, call)
        worker_function = work_in_group if self.settings.executor == "parsl" else work_within
        return executor.submit(worker_function, call, self.settings.task_time_limit_s)

    def _close(self, pool: str) -> None:
        name = self.settings.pool(pool)[0]
        if name in self._open:
            self._open.pop(name).shutdown(wait=False, cancel_futures=True)


def _finished(key: str, outcome: Done | Raised) -> Finished:
    if isinstance(outcome, Raised):
        raise outcome.error
    return Finished(key, outcome.result, outcome.seconds)


def _given_up(call: Call, losses: int, cause: str) -> WorkerLostError:
    return WorkerLostError(
        f"a worker died {losses} times on the same task ({call.function.__name__}; {cause.rstrip('.')}); it may need "
        "more memory (fewer engine.workers) or time (engine.task_time_limit_s, a pool's walltime); change that, then "
        "run the same command again"
    )

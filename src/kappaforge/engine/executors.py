"""The executors, all behind `concurrent.futures.Executor`."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from kappaforge.engine.settings import EngineSettings
from kappaforge.engine.worker import end_with_parent
from kappaforge.errors import InputError

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


class InProcessExecutor(Executor):
    """Runs each call at once, in the calling thread."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run the call and return its finished future."""
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:  # a future carries any error to whoever asks for its result
            future.set_exception(error)
        return future


class _WorkerProcesses(ProcessPoolExecutor):
    """Worker processes that an interrupt ends without a word, at any moment: what it means is the driver's to say."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a call, for which a worker may be started; it is born with the interrupt blocked."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(function, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def open_executor(settings: EngineSettings, pool: str, logs: Path) -> Executor:
    """Return a fresh executor for a pool's tasks; close it with `shutdown` or use it as a context.

    `logs` is a folder for what Parsl writes; the others write nothing.
    """
    if settings.executor == "in-process":
        return InProcessExecutor()
    if settings.executor == "parsl":
        from kappaforge.engine.cluster import ParslExecutor

        name, found = settings.pool(pool)
        return ParslExecutor(name, found, logs / name, settings.task_time_limit_s)
    try:
        return _WorkerProcesses(
            max_workers=worker_count(settings),
            mp_context=multiprocessing.get_context("spawn"),  # a fork would copy the threads' locks of torch and BLAS
            initializer=_start_worker,
            initargs=(settings.threads_per_worker,),
        )
    except OSError as error:  # no semaphores: some containers have no /dev/shm
        raise InputError(
            f"worker processes cannot be started here ({error.strerror}); "
            'make /dev/shm writable, or set executor = "in-process" in [engine]'
        ) from None


def worker_count(settings: EngineSettings, pool: str = "cpu") -> int:
    """Tasks of a pool that run at the same time."""
    if settings.executor == "in-process":
        return 1
    if settings.executor == "parsl":
        from kappaforge.engine.cluster import pool_capacity

        return pool_capacity(settings.pool(pool)[1])
    return settings.workers or len(os.sched_getaffinity(0))


def _start_worker(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # one that came meanwhile ends this worker now
    for variable in THREAD_VARIABLES:  # for the libraries that are yet to be loaded
        os.environ[variable] = str(threads)
    threadpool_limits(threads)  # for those that the driver's main module has loaded already
    end_with_parent()

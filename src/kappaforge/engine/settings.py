"""Settings of the engine."""

from dataclasses import dataclass

from kappaforge.errors import InputError, suggestion

EXECUTORS = ("in-process", "processes")


@dataclass(frozen=True)
class EngineSettings:
    """Where tasks run.

    Parameters
    ----------
    executor
        ``processes`` for local worker processes, ``in-process`` for none.
    workers
        Number of worker processes; 0 means one for each core this process may use.
    threads_per_worker
        Threads of the numerical libraries in each worker.
    retries
        How often a task is given out again after its worker died.
    """

    executor: str = "processes"
    workers: int = 0
    threads_per_worker: int = 1
    retries: int = 2

    def __post_init__(self) -> None:
        if self.executor not in EXECUTORS:
            raise InputError(f"engine.executor: unknown {self.executor!r}{suggestion(self.executor, EXECUTORS)}")
        if self.workers < 0 or self.threads_per_worker < 1 or self.retries < 0:
            raise InputError(
                "engine: workers and retries must be 0 or more and threads_per_worker 1 or more, got "
                f"{self.workers}, {self.retries} and {self.threads_per_worker}"
            )

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
    batch_size
        Crystals in one task of generation or relaxation.
    """

    executor: str = "processes"
    workers: int = 0
    threads_per_worker: int = 1
    retries: int = 2
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.executor not in EXECUTORS:
            raise InputError(f"engine.executor: unknown {self.executor!r}{suggestion(self.executor, EXECUTORS)}")
        for name, least in (("workers", 0), ("threads_per_worker", 1), ("retries", 0), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise InputError(f"engine.{name}: expected {least} or more, got {getattr(self, name)}")

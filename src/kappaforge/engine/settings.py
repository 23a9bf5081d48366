"""Settings of the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kappaforge.errors import InputError, suggestion

EXECUTORS = ("in-process", "processes", "parsl")
PROVIDERS = ("local", "slurm", "pbs", "kubernetes")
POOLS = ("cpu", "gpu", "dft")
"""What a task may ask for: most of them ``cpu``, trainings ``gpu``, labels ``dft``."""


@dataclass(frozen=True)
class PoolSettings:
    """Workers of one kind, on this machine or in the jobs of a batch system.

    Parameters
    ----------
    provider
        ``local``, ``slurm``, ``pbs`` or ``kubernetes``.
    workers
        Worker processes on each node; 0, for ``local`` alone, means as many as the cores allow.
    threads_per_worker
        Threads of the numerical libraries in each worker.
    gpus
        GPUs on each node: each worker sees one of them, and there are no more workers than GPUs.
    address
        Where workers reach the driver, an IP address of its machine; empty: they try all that it has.
    options
        Parameters of Parsl's provider, by their names there: partition, account, walltime, max_blocks (jobs at a
        time), nodes_per_block, scheduler_options, worker_init (shell commands before a worker starts), image, …
    """

    provider: str = "local"
    workers: int = 0
    threads_per_worker: int = 1
    gpus: int = 0
    address: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.provider not in PROVIDERS:
            raise InputError(f"engine.pools: unknown provider {self.provider!r}{suggestion(self.provider, PROVIDERS)}")
        least = 0 if self.provider == "local" else 1
        _require_least("engine.pools", self, (("workers", least), ("threads_per_worker", 1), ("gpus", 0)))


@dataclass(frozen=True)
class EngineSettings:
    """Where tasks run.

    Parameters
    ----------
    executor
        ``processes`` for local worker processes, ``in-process`` for none, ``parsl`` for the pools below.
    workers
        Number of worker processes; 0 means one for each core this process may use. Not of Parsl's pools.
    threads_per_worker
        Threads of the numerical libraries in each worker. Not of Parsl's pools.
    retries
        How often a task is given out again after its worker died.
    task_time_limit_s
        A worker that takes longer than this over one task is taken to hang: it is ended and the task given out again.
        0 sets no limit; without worker processes there is none.
    batch_size
        Crystals in one task of generation or relaxation.
    pools
        Of Parsl: ``cpu``, and where trainings and labels need other nodes, ``gpu`` and ``dft``. Without ``cpu`` it is
        local; tasks whose pool is not there run on ``cpu``.
    """

    executor: str = "processes"
    workers: int = 0
    threads_per_worker: int = 1
    retries: int = 2
    task_time_limit_s: float = 0.0
    batch_size: int = 32
    pools: Mapping[str, PoolSettings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.executor not in EXECUTORS:
            raise InputError(f"engine.executor: unknown {self.executor!r}{suggestion(self.executor, EXECUTORS)}")
        least = (("workers", 0), ("threads_per_worker", 1), ("retries", 0), ("task_time_limit_s", 0), ("batch_size", 1))
        _require_least("engine", self, least)
        for name in self.pools:
            if name not in POOLS:
                raise InputError(f"engine.pools: unknown {name!r}{suggestion(name, POOLS)}")
        if self.pools and self.executor != "parsl":
            raise InputError(f'engine.pools: they need executor = "parsl", got {self.executor!r}')

    def pool(self, wanted: str) -> tuple[str, PoolSettings]:
        """Return name and settings of the pool of Parsl that tasks of a kind go to."""
        name = wanted if wanted in self.pools else "cpu"
        return name, self.pools.get(name, PoolSettings())


def _require_least(where: str, settings: object, least: tuple[tuple[str, int], ...]) -> None:
    for name, least_value in least:
        value = getattr(settings, name)
        if not value >= least_value:  # so that NaN is refused too
            raise InputError(f"{where}.{name}: expected {least_value} or more, got {value}")

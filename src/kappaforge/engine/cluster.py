"""Pools of workers by Parsl: on this machine, or in jobs of SLURM, PBS or Kubernetes.

Of Parsl (doi 10.1145/3307681.3325400) the high-throughput executor is used: one helper process beside the driver
hands tasks to a manager on each node, which has a worker process for each task at a time.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from functools import partial
from pathlib import Path
from typing import Any

from kappaforge.engine.executors import THREAD_VARIABLES
from kappaforge.engine.settings import PoolSettings
from kappaforge.errors import InputError, suggestion

try:
    import psutil
    from parsl import Config, DataFlowKernel
    from parsl.addresses import address_by_hostname, address_by_interface
    from parsl.executors import HighThroughputExecutor
    from parsl.executors.errors import BadStateException
    from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD
    from parsl.jobs.error_handlers import windowed_error_handler
    from parsl.launchers import MpiExecLauncher, SingleNodeLauncher, SrunLauncher
    from parsl.providers import KubernetesProvider, LocalProvider, PBSProProvider, SlurmProvider
    from parsl.utils import wtime_to_minutes
except ImportError as error:
    raise InputError(
        f"[engine] executor = \"parsl\" needs Parsl ({error}); install it with: pip install 'kappaforge[cluster]'"
    ) from None

PROVIDER_CLASSES = {
    "local": LocalProvider,
    "slurm": SlurmProvider,
    "pbs": PBSProProvider,
    "kubernetes": KubernetesProvider,
}
SHARED_PROVIDERS = ("slurm", "pbs")
"""Batch systems whose nodes see the driver's files, Python among them."""
NODE_LAUNCHERS = {"slurm": SrunLauncher, "pbs": MpiExecLauncher}
"""What starts a manager on every node of a job that has several."""
HEARTBEAT_S = 5
LOST_AFTER_S = {"local": 60, "slurm": 90, "pbs": 90, "kubernetes": 90}
"""Silence, in s, after which driver and node take each other for dead."""
DRAIN_MARGIN_S = 60
"""For a job to begin and to end."""


class ParslExecutor(Executor):
    """One pool. Workers and jobs come when there are tasks and go when there are none.

    Parameters
    ----------
    name
        ``cpu``, ``gpu`` or ``dft``.
    settings
        Of the pool.
    logs
        Folder for Parsl's logs and the scripts of the jobs.
    task_time_limit_s
        A job takes no more tasks when its walltime may not hold another one; 0 where tasks have no limit.

    Raises
    ------
    InputError
        For options that the provider does not have, or a batch system that does not answer.
    """

    def __init__(self, name: str, settings: PoolSettings, logs: Path, task_time_limit_s: float = 0.0) -> None:
        self._name = name
        provider = _provider(name, settings)
        local = settings.provider == "local"
        workers = pool_workers(settings)
        executor = HighThroughputExecutor(
            label=name,
            provider=provider,
            max_workers_per_node=workers,
            cores_per_worker=1e-3,  # as many workers as asked for, whatever Parsl takes for the number of cores
            available_accelerators=settings.gpus,
            address=settings.address or "127.0.0.1",
            interchange_launch_cmd=_on_leash("parsl.executors.high_throughput.interchange"),
            launch_cmd=_launch_command(settings.provider),
            heartbeat_period=HEARTBEAT_S,
            heartbeat_threshold=LOST_AFTER_S[settings.provider],
            drain_period=_drain_period_s(provider, task_time_limit_s),
            block_error_handler=windowed_error_handler,
        )
        if not (settings.address or local):
            # Parsl's own list would ask a service on the internet for one more address
            executor.address, executor.all_addresses = None, _addresses()
        self._kernel = DataFlowKernel(
            Config(
                executors=[executor],
                run_dir=str(logs),
                strategy="simple",  # "htex_auto_scale" ends a node that is just starting where there are few tasks
                strategy_period=1 if local else 5,
                initialize_logging=False,
            )
        )

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Give a call out; its future fails with `BrokenExecutor` where the pool as a whole cannot go on."""
        outer: Future[Any] = Future()
        outer.set_running_or_notify_cancel()
        inner = self._kernel.submit(
            function, app_args=args, executors="all", cache=False, ignore_for_cache=None, app_kwargs=kwargs
        )
        inner.add_done_callback(lambda finished: self._pass_on(finished, outer))
        return outer

    def _pass_on(self, inner: Future[Any], outer: Future[Any]) -> None:
        error = inner.exception()
        if error is None:
            outer.set_result(inner.result())
        elif isinstance(error, BadStateException):
            text = " ".join(str(error).split())
            outer.set_exception(BrokenExecutor(f"pool {self._name!r} got no workers: {text}"))
        else:
            outer.set_exception(error)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the pool's workers and jobs at once, without waiting for tasks."""
        if not self._kernel.cleanup_called:
            self._kernel.cleanup()


def pool_workers(settings: PoolSettings) -> int:
    """Workers on each node of a pool."""
    workers = settings.workers or max(1, len(os.sched_getaffinity(0)) // settings.threads_per_worker)
    return min(workers, settings.gpus) if settings.gpus else workers


def pool_capacity(settings: PoolSettings) -> int:
    """Tasks that all the nodes of a pool run at the same time."""
    nodes = int(settings.options.get("nodes_per_block", 1)) * int(settings.options.get("max_blocks", 1))
    return pool_workers(settings) * nodes


def _provider(name: str, settings: PoolSettings) -> Any:
    made = PROVIDER_CLASSES[settings.provider]
    known = [key for key in inspect.signature(made).parameters if key != "launcher"]
    for key in settings.options:
        if key not in known:
            raise InputError(f"[engine.pools.{name}] options: unknown key {key!r}{suggestion(key, known)}")
    workers = pool_workers(settings)
    options: dict[str, Any] = {"max_blocks": 1, "init_blocks": 0}
    if settings.provider == "slurm":
        options |= {"exclusive": False, "cores_per_node": workers * settings.threads_per_worker}
        if settings.gpus:
            options["gpus_per_node"] = settings.gpus
    elif settings.provider == "pbs":
        options["cpus_per_node"] = workers * settings.threads_per_worker
    options |= settings.options
    threads = "".join(f"export {variable}={settings.threads_per_worker}\n" for variable in THREAD_VARIABLES)
    options["worker_init"] = f"{threads}{options.get('worker_init', '')}\n"
    if settings.provider in NODE_LAUNCHERS:
        several = int(options.get("nodes_per_block", 1)) > 1
        options["launcher"] = NODE_LAUNCHERS[settings.provider]() if several else SingleNodeLauncher()
    try:
        return made(**options)
    except Exception as error:  # of Parsl, of its type checker, of a client library: all about the options
        raise InputError(f"[engine.pools.{name}] {settings.provider}: {error}") from None


def _launch_command(provider: str) -> str:
    """Return how a node's manager is started: by the driver's own Python, where the node has it."""
    command = DEFAULT_LAUNCH_CMD
    manager = "parsl.executors.high_throughput.process_worker_pool"
    if provider == "local":
        return command.replace("process_worker_pool.py", " ".join(_on_leash(manager)))
    if provider in SHARED_PROVIDERS:
        return command.replace("process_worker_pool.py", f"{sys.executable} -m {manager}")
    return command


def _on_leash(module: str) -> list[str]:
    return [sys.executable, "-m", "kappaforge.engine.leash", str(os.getpid()), module]


def _addresses() -> set[str]:
    addresses = set()
    finders: list[Callable[[], str]] = [partial(address_by_interface, name) for name in psutil.net_if_addrs()]
    for find in [*finders, address_by_hostname]:
        try:
            addresses.add(find())
        except OSError:  # an interface without an address, a host without a name
            continue
    return addresses


def _drain_period_s(provider: Any, task_time_limit_s: float) -> int | None:
    walltime = getattr(provider, "walltime", None)
    if walltime is None or not task_time_limit_s:
        return None
    left = int(wtime_to_minutes(walltime) * 60 - task_time_limit_s - DRAIN_MARGIN_S)
    if left <= 0:
        raise InputError(
            f"engine.task_time_limit_s: a walltime of {walltime} does not hold a task of {task_time_limit_s:g} s "
            f"and {DRAIN_MARGIN_S} s to begin and end; ask for a longer walltime"
        )
    return left

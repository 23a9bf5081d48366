"""Run a step's tasks, each at most once in the life of a run folder."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, TypeVar

from kappaforge.campaign.progress import Progress
from kappaforge.engine.run import Engine
from kappaforge.engine.settings import EngineSettings
from kappaforge.engine.worker import Call
from kappaforge.store.codec import task_key
from kappaforge.store.run_folder import RunFolder, StepProgress

T = TypeVar("T")


def stored(
    folder: RunFolder, step: str, version: int, arguments: Sequence[tuple[Any, ...]], model_digest: str = ""
) -> list[Any]:
    """Return the results that are there already of what `Memo.map` would run; a driver may be at work meanwhile."""
    keys = [task_key(step, version, each, model_digest) for each in arguments]
    done = folder.done(keys)
    return [folder.get(key) for key in keys if key in done]


class Memo:
    """Looks each task up in the run folder, runs those that are missing, stores every result as it comes.

    Use it as a context: the workers that it starts serve step after step, until it is left.
    """

    def __init__(self, folder: RunFolder, engine: EngineSettings, progress: Progress) -> None:
        self._folder = folder
        self._engine = Engine(engine, folder.path / "parsl")
        self.progress = progress
        self._position = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._engine.close()

    def map(
        self,
        step: str,
        version: int,
        function: Callable[..., Any],
        arguments: Sequence[tuple[Any, ...]],
        model_digest: str = "",
        *,
        checkpoints: bool = False,
        pool: str = "cpu",
    ) -> list[Any]:
        """Return ``[function(*each) for each in arguments]``.

        A task is known by the hash of step, version, arguments and model; raise `version` when the function's results
        change. Equal tasks are run once. With `checkpoints` the function gets one more argument, the path of a file
        of its own to go on from after a kill; the file is removed once the result is stored. `pool` is the kind of
        worker that the tasks want, one of `kappaforge.engine.settings.POOLS`.
        """
        keys = [task_key(step, version, each, model_digest) for each in arguments]
        extra = {key: (self._folder.checkpoint_file(key),) if checkpoints else () for key in keys}
        calls = {key: Call(function, (*each, *extra[key])) for key, each in zip(keys, arguments, strict=True)}
        results = {key: self._folder.get(key) for key in self._folder.done(calls)}
        missing = {key: call for key, call in calls.items() if key not in results}
        found = len(results)
        outcomes = Counter(status for result in results.values() for status in statuses(result))
        started_at = time.time()

        def note() -> None:
            now = StepProgress(step, len(results), len(calls), found, started_at, time.time(), dict(outcomes))
            self._folder.record_progress(now, self._position)

        note()
        self.progress.start(step, len(calls), found)
        for finished in self._engine.run(missing, pool):
            self._folder.put(finished.key, step, finished.result, finished.seconds)
            for file in extra[finished.key]:
                file.unlink(missing_ok=True)
            # as it was stored: a run that finds a result and the one that made it go on from the same
            results[finished.key] = self._folder.get(finished.key)
            outcomes.update(statuses(finished.result))
            note()
            self.progress.advance(step)
        self._position += 1
        return [results[key] for key in keys]

    def once(
        self, step: str, version: int, function: Callable[..., Any], *arguments: Any, model_digest: str = ""
    ) -> Any:
        """Return ``function(*arguments)``, a step of one task."""
        return self.map(step, version, function, [arguments], model_digest)[0]


def statuses(result: Any) -> list[str]:
    """Return what became of each crystal of a task, where its records say so."""
    records = result if isinstance(result, list | tuple) else [result]
    found = (getattr(record, "status", None) for record in records)
    return [status for status in found if isinstance(status, str)]


def chunks(items: Sequence[T], size: int) -> Iterator[tuple[T, ...]]:
    """Cut a sequence into tuples of `size`, the last one shorter."""
    return (tuple(items[start : start + size]) for start in range(0, len(items), size))

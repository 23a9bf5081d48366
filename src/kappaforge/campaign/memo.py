"""Run a step's tasks, each at most once in the life of a run folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from kappaforge.campaign.progress import Progress
from kappaforge.engine.executors import open_executor, worker_count
from kappaforge.engine.run import Call, run_calls
from kappaforge.engine.settings import EngineSettings
from kappaforge.store.codec import task_key
from kappaforge.store.run_folder import RunFolder, StepProgress


def stored(
    folder: RunFolder, step: str, version: int, arguments: Sequence[tuple[Any, ...]], model_digest: str = ""
) -> list[Any]:
    """Return the results that are there already of what `Memo.map` would run; a driver may be at work meanwhile."""
    keys = [task_key(step, version, each, model_digest) for each in arguments]
    done = folder.done(keys)
    return [folder.get(key) for key in keys if key in done]


class Memo:
    """Looks each task up in the run folder, runs those that are missing, stores every result as it comes."""

    def __init__(self, folder: RunFolder, engine: EngineSettings, progress: Progress) -> None:
        self._folder = folder
        self._engine = engine
        self._progress = progress
        self._position = 0

    def map(
        self,
        step: str,
        version: int,
        function: Callable[..., Any],
        arguments: Sequence[tuple[Any, ...]],
        model_digest: str = "",
        *,
        checkpoints: bool = False,
    ) -> list[Any]:
        """Return ``[function(*each) for each in arguments]``.

        A task is known by the hash of step, version, arguments and model; raise `version` when the function's results
        change. Equal tasks are run once. With `checkpoints` the function gets one more argument, the path of a file
        of its own to go on from after a kill; the file is removed once the result is stored.
        """
        keys = [task_key(step, version, each, model_digest) for each in arguments]
        extra = {key: (self._folder.checkpoint_file(key),) if checkpoints else () for key in keys}
        calls = {key: Call(function, (*each, *extra[key])) for key, each in zip(keys, arguments, strict=True)}
        done = self._folder.done(calls)
        missing = {key: call for key, call in calls.items() if key not in done}
        self._note(step, len(done), len(calls))
        self._progress.start(step, len(calls), len(done))
        executor = partial(open_executor, self._engine)
        at_once = worker_count(self._engine)
        for finished in run_calls(missing, executor, at_once=at_once, retries=self._engine.retries):
            self._folder.put(finished.key, step, finished.result, finished.seconds)
            for file in extra[finished.key]:
                file.unlink(missing_ok=True)
            done.add(finished.key)
            self._note(step, len(done), len(calls))
            self._progress.advance(step)
        self._position += 1
        results = {key: self._folder.get(key) for key in calls}
        return [results[key] for key in keys]

    def once(
        self, step: str, version: int, function: Callable[..., Any], *arguments: Any, model_digest: str = ""
    ) -> Any:
        """Return ``function(*arguments)``, a step of one task."""
        return self.map(step, version, function, [arguments], model_digest)[0]

    def _note(self, step: str, done: int, total: int) -> None:
        self._folder.record_progress(StepProgress(step, done, total), self._position)

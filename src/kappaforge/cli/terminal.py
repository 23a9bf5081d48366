"""What the sub-commands say: progress on stderr, results on stdout."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

if TYPE_CHECKING:
    from rich.table import Table

# Without markup, as ids and reasons may hold brackets; 120 columns in a pipe, where rich would cut tables at 80.
out = Console(width=None if sys.stdout.isatty() else 120, markup=False)
err = Console(stderr=True, markup=False)

LINES_S = 30.0
"""Time between two lines of progress in a pipe."""


class Pace:
    """How fast a step goes, from what was done since it began; what was found done says nothing of that."""

    def __init__(self, total: int = 0, found: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.found, self.done = total, found, found
        self._clock = clock
        self._began = self._last = clock()

    def advance(self) -> None:
        """One more task is done."""
        self.done += 1
        self._last = self._clock()

    @property
    def per_s(self) -> float | None:
        """Tasks in a second; None before the first one is done."""
        seconds = self._last - self._began
        return (self.done - self.found) / seconds if self.done > self.found and seconds > 0 else None

    @property
    def words(self) -> str:
        """Rate and remaining time, such as ``3.2 tasks/min, 5 min left``; empty where neither is known."""
        if self.per_s is None:
            return ""
        left = (self.total - self.done) / self.per_s - (self._clock() - self._last)
        return f"{self.per_s * 60:.3g} tasks/min" + (
            f", {duration(max(left, 0))} left" if self.done < self.total else ""
        )


class _PaceColumn(ProgressColumn):
    """Tells the rate and counts the remaining time down; rich's own forgets tasks of more than half a minute."""

    def render(self, task: Task) -> Text:
        pace = task.fields.get("pace")
        return Text(pace.words if pace is not None else "")


class Bars:
    """`kappaforge.campaign.progress.Progress` as bars with rate and remaining time; plain lines in a pipe."""

    def __init__(self, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet = quiet
        self._clock = clock
        self._pace = Pace(clock=clock)
        self._said = clock()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            _PaceColumn(),
            console=err,
            transient=True,
            disable=quiet or not err.is_terminal,
        )
        self._task = self._progress.add_task("", total=0)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def start(self, step: str, total: int, done: int) -> None:
        """Show a new bar, as far as the stored tasks reach."""
        self._pace = Pace(total, done, self._clock)
        self._progress.reset(self._task, description=step, total=total, completed=done, pace=self._pace)

    def advance(self, step: str) -> None:
        """Move the bar by one task; in a pipe, say so from time to time."""
        self._pace.advance()
        self._progress.advance(self._task)
        if self._progress.disable and not self._quiet and self._clock() - self._said >= LINES_S:
            self._say(step, f"{self._pace.done} of {self._pace.total}, {self._pace.words}")

    def finish(self, step: str, summary: str) -> None:
        """Leave one line behind."""
        if not self._quiet:
            self._say(step, summary)

    def _say(self, step: str, words: str) -> None:
        self._said = self._clock()
        self._progress.console.print(f"{step:>22}  {words}", highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Return a time to two figures that matter, such as ``42 s``, ``5 min`` or ``3.2 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def show_table(table: Table) -> None:
    """Print a table to stdout."""
    out.print(table)


def show_paths(paths: Mapping[str, Path]) -> None:
    """Print what was written, one name and path per line."""
    width = max((len(name) for name in paths), default=0)
    for name, path in paths.items():
        out.print(f"{name:<{width}}  {path}", highlight=False, soft_wrap=True)

"""What the sub-commands say: progress on stderr, results on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from rich.table import Table

    from kappaforge.store.row import Row

# Without markup, as ids and reasons may hold brackets; 120 columns in a pipe, where rich would cut tables at 80.
out = Console(width=None if sys.stdout.isatty() else 120, markup=False)
err = Console(stderr=True, markup=False)


class Bars:
    """`kappaforge.campaign.progress.Progress` as bars with rate and remaining time; plain lines in a pipe."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=err,
            transient=True,
            disable=quiet or not err.is_terminal,
        )
        self._task = self._progress.add_task("", total=0, rate="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def start(self, step: str, total: int, done: int) -> None:
        """Show a new bar, as far as the stored tasks reach."""
        self._progress.reset(self._task, description=step, total=total, completed=done, rate="")

    def advance(self, step: str) -> None:
        """Move the bar by one task."""
        self._progress.advance(self._task)
        speed = self._progress.tasks[0].speed
        self._progress.update(self._task, rate=f"{speed * 60:.3g} tasks/min" if speed else "")

    def finish(self, step: str, summary: str) -> None:
        """Leave one line behind."""
        if not self._quiet:
            self._progress.console.print(f"{step:>22}  {summary}", highlight=False)


def show_json(rows: Iterable[Row]) -> None:
    """Print one JSON object per line."""
    for row in rows:
        print(row.to_json())


def show_table(table: Table) -> None:
    """Print a table to stdout."""
    out.print(table)


def show_paths(paths: Mapping[str, Path]) -> None:
    """Print what was written, one name and path per line."""
    width = max((len(name) for name in paths), default=0)
    for name, path in paths.items():
        out.print(f"{name:<{width}}  {path}", highlight=False, soft_wrap=True)

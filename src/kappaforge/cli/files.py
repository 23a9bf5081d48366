"""Crystals from the files a user names, and work on them spread over processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kappaforge.cli.terminal import Bars
from kappaforge.errors import InputError

if TYPE_CHECKING:
    from kappaforge.campaign.error_bar import Run
    from kappaforge.campaign.memo import Memo
    from kappaforge.crystal import Crystal


def read_crystals(paths: Sequence[Path]) -> list[Crystal]:
    """Read all crystals of files and folders; an id that occurs again gets a number behind it."""
    from kappaforge.dataset.entry import with_unique_ids
    from kappaforge.dataset.readers import read

    return [entry.crystal for entry in with_unique_ids([entry for path in paths for entry in read(path)])]


def write_crystals(crystals: Sequence[Crystal], path: Path) -> None:
    """Write crystals in the format that the name tells; a name that tells none becomes a folder of CIF files."""
    from kappaforge.dataset.formats import known_format
    from kappaforge.dataset.writers import write

    write(crystals, path, "" if known_format(path) else "cif")


def spread(
    label: str, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], workers: int, *, quiet: bool
) -> list[Any]:
    """Return ``[function(*each) for each in arguments]``, computed by worker processes with a progress bar.

    A single task runs in this process.
    """
    from kappaforge.engine.run import Engine
    from kappaforge.engine.settings import EngineSettings
    from kappaforge.engine.worker import Call

    engine = EngineSettings("in-process" if len(arguments) == 1 else "processes", workers=workers)
    calls = {str(index): Call(function, each) for index, each in enumerate(arguments)}
    results: dict[str, Any] = {}
    with Bars(quiet=quiet) as bars, Engine(engine) as opened:
        bars.start(label, len(calls), 0)
        for finished in opened.run(calls):
            results[finished.key] = finished.result
            bars.advance(label)
    return [results[key] for key in calls]


@contextmanager
def task_runner(folder: Path | None, workers: int, *, quiet: bool) -> Iterator[Run]:
    """Give what runs tasks: each at most once in the life of a run folder, or without one all of them."""
    if folder is None:
        yield lambda step, _version, function, arguments, _digest: spread(
            step, function, arguments, workers, quiet=quiet
        )
        return
    with memory(folder, workers, quiet=quiet) as memo:
        yield memo.map


@contextmanager
def memory(folder: Path, workers: int, *, quiet: bool) -> Iterator[Memo]:
    """Open the folder that keeps what a command computes, made where it is missing, and show progress."""
    from kappaforge.campaign.memo import Memo
    from kappaforge.engine.settings import EngineSettings
    from kappaforge.store.run_folder import RunFolder

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"--run: {folder} is a file, or in one; give a folder") from None
    except OSError as error:
        raise InputError(f"--run: {folder} cannot be made ({error.strerror}); give another folder") from None
    engine = EngineSettings(workers=workers)
    with RunFolder.open(folder, write=True) as opened, Bars(quiet=quiet) as bars, Memo(opened, engine, bars) as memo:
        yield memo

"""Results for other programs: stdout then carries them and nothing else.

``--json`` prints one JSON object per line: one for each crystal where a command's result is crystals, one in all where
it is not. A crystal's object has at least ``id``, ``formula``, ``status`` and ``reason``; what a command wrote is under
``written``, a path by each name. Where there is no result stdout stays empty, and stderr and the exit code say why.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from kappaforge.store.row import Row

_kept: list[TextIO] = []
"""The stdout of this process, while file descriptor 1 is that of stderr."""


def keep_stdout(wanted: bool) -> bool:
    """Send what libraries, workers and engines print to stderr, also from C; the callback of ``--json``."""
    if wanted and not _kept and _is_real(sys.stdout):
        sys.stdout.flush()
        _kept.append(os.fdopen(os.dup(1), "w", encoding="utf-8"))
        os.dup2(2, 1)
    return wanted


def _is_real(stream: TextIO) -> bool:
    """Return whether a stream is this process's stdout, not what a test or a notebook put in its place."""
    try:
        return stream.fileno() == 1
    except (OSError, ValueError):
        return False


@contextmanager
def stdout_given_back() -> Iterator[None]:
    """Undo `keep_stdout` at the end."""
    try:
        yield
    finally:
        while _kept:
            sys.stdout.flush()
            with suppress(BrokenPipeError), _kept.pop() as stream:
                os.dup2(stream.fileno(), 1)


def show_text(text: str) -> None:
    """Print a result to the stdout that was kept for it."""
    stream = _kept[-1] if _kept else sys.stdout
    stream.write(text)
    stream.flush()


def show_json(objects: Iterable[Row | Mapping[str, Any]]) -> None:
    """Print objects as JSON, one per line."""
    for each in objects:
        content = each if isinstance(each, Mapping) else each.to_dict()
        show_text(json.dumps(plain(content), ensure_ascii=False, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """Return a value in JSON's types: arrays as lists, paths as text, null for what is not finite."""
    if hasattr(value, "tolist"):  # arrays and scalars of NumPy
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, PurePath) else value

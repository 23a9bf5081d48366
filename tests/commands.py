"""The command line as a user meets it: real processes, their output and their exit codes."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from kappaforge.store.row import COLUMNS

COMMAND = [sys.executable, "-c", "from kappaforge.cli.main import main; main()"]


def kappaforge(
    *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None, before: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; `before` is a program that starts it."""
    command = [*before, *COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env)


def succeed(*arguments: object) -> str:
    ended = kappaforge(*arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def refuse(*arguments: object, before: tuple[str, ...] = ()) -> str:
    """Return the one line with which bad input is refused."""
    return only_line(kappaforge(*arguments, before=before), 2)


def only_line(ended: subprocess.CompletedProcess[str], code: int) -> str:
    """Return the one line with which a command ended that did not do what it was asked for."""
    assert ended.returncode == code, (ended.returncode, ended.stdout, ended.stderr)
    assert "Traceback" not in ended.stderr
    assert "unexpected" not in ended.stderr
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1, ended.stderr
    return lines[0]


def rows(text: str) -> list[dict]:
    """Return the objects of ``--json`` that have the columns of a crystal, and perhaps more behind them."""
    found = [json.loads(line) for line in text.splitlines()]
    assert all(tuple(row)[: len(COLUMNS)] == COLUMNS for row in found)
    return found

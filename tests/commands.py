"""The command line as a user meets it: its output and its exit codes."""

import io
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from kappaforge.cli.main import main
from kappaforge.store.row import COLUMNS

COMMAND = [sys.executable, "-c", "from kappaforge.cli.main import main; main()"]

Ended = subprocess.CompletedProcess[str]


def kappaforge(
    *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None, before: tuple[str, ...] = ()
) -> Ended:
    """Run a command to its end in a process of its own; `before` is a program that starts it."""
    command = [*before, *COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env)


def here(*arguments: object) -> Ended:
    """Run a command to its end in this process, which spares it seconds of imports."""
    words = list(map(str, arguments))
    code, out, err = 0, io.StringIO(), io.StringIO()
    with patch.object(sys, "argv", ["kappaforge", *words]), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def succeed(*arguments: object) -> str:
    ended = kappaforge(*arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def refuse(*arguments: object, run: Callable[..., Ended] = kappaforge) -> str:
    """Return the one line with which bad input is refused."""
    return only_line(run(*arguments), 2)


def only_line(ended: Ended, code: int) -> str:
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

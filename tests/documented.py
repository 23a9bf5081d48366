"""Commands and blocks of code in Markdown, and what it takes to run them: used by ``test_documented.py``."""

from __future__ import annotations

import argparse
import glob
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import typer

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:kappaforge|python|make|tools/environment)\s[^`]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language and text."""

    language: str
    text: str


@dataclass
class Command:
    """A command as it is documented, and the lines that are said to come out of it."""

    text: str
    output: list[str] = field(default_factory=list)

    @property
    def words(self) -> list[str]:
        """The arguments, without comments, with globs replaced by what is there."""
        words = []
        for word in shlex.split(self.text, comments=True):
            found = sorted(glob.glob(word)) if re.search(r"[*?]", word) and "kappa-m*" not in word else []
            words += found or [word]
        return words


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in their order."""
    return [Block(*found) for found in BLOCK.findall(page.read_text(encoding="utf-8"))]


def commands(block: Block) -> list[Command]:
    """Return the commands of a ``console`` block: lines after a ``$``, continued after a backslash."""
    found: list[Command] = []
    for line in block.text.splitlines():
        if found and found[-1].text.endswith("\\"):
            found[-1].text = found[-1].text[:-1] + line.strip()
        elif line.startswith("$ "):
            found.append(Command(line[2:]))
        elif line.strip():
            assert found, f"the block begins with output, not with a command: {line!r}"
            found[-1].output.append(line)
    assert found, "a console block without a command; lines of output alone are text"
    return found


def named_in_prose(page: Path) -> list[str]:
    """Return the commands between backticks in the text around the blocks."""
    return INLINE.findall(BLOCK.sub("", page.read_text(encoding="utf-8")))


# kappaforge's own commands, in this process: importing torch anew for each would take minutes


def run_kappaforge(arguments: list[str]) -> int:
    """Run the command line as it is started by a shell; return its exit code."""
    from kappaforge.cli.main import main

    with _arguments(["kappaforge", *arguments]):
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def parse_kappaforge(arguments: list[str]) -> None:
    """Parse arguments with the real parser of the real command, which is not run; fails where they are refused."""
    root, command, _ = _sub_command(arguments)
    command.callback = None
    with pytest.raises(SystemExit) as end:
        root.main(args=list(arguments), prog_name="kappaforge")
    assert not end.value.code, f"kappaforge refuses {' '.join(arguments)}"


def unknown_options(arguments: list[str]) -> list[str]:
    """Return the options that the sub-command does not have; for commands in prose, which may lack arguments."""
    _, command, rest = _sub_command(arguments)
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    known |= {"--help", "-h"}
    return [word for word in rest if re.match(r"--?[a-zA-Z]", word) and word.partition("=")[0] not in known]


def _sub_command(arguments: list[str]) -> tuple[Any, Any, list[str]]:
    """Return the whole command, the sub-command that the arguments name, and what stands behind its name."""
    from kappaforge.cli.main import app

    root = command = typer.main.get_command(app)
    rest = list(arguments)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-") and rest[0] != "COMMAND":
        name = rest.pop(0)
        assert name in command.commands, f"there is no command {name!r}"
        command = command.commands[name]
    return root, command, rest


# scripts: their own parser, and nothing after it


class ParsedError(Exception):
    """The script has parsed its arguments."""


def parse_script(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a script up to where its arguments are parsed; one that refuses them, or never parses, fails."""
    script = ROOT / arguments[0]
    real = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser: argparse.ArgumentParser, *given: object) -> None:
        real(parser, *given)
        raise ParsedError

    modules = set(sys.modules)
    with monkeypatch.context() as patch, _arguments([str(script), *arguments[1:]]):
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
        patch.syspath_prepend(str(script.parent))
        try:
            with pytest.raises(ParsedError):
                runpy.run_path(str(script), run_name="__main__")
        finally:
            for name in set(sys.modules) - modules:  # scripts of two folders have modules of one name
                if str(getattr(sys.modules[name], "__file__", "")).startswith((f"{ROOT}/bench", f"{ROOT}/train")):
                    del sys.modules[name]


@contextmanager
def _arguments(arguments: list[str]) -> Iterator[None]:
    before, sys.argv = sys.argv, arguments
    try:
        yield
    finally:
        sys.argv = before

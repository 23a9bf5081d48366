"""What the command line teaches: its help, its examples, and completion in real shells."""

import inspect
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer

from commands import COMMAND, kappaforge, succeed
from kappaforge.cli.examples import EXAMPLES, FIRST_STEPS
from kappaforge.cli.machine import stdout_given_back
from kappaforge.cli.main import app

GROUP = typer.main.get_command(app)
LEAVES = {name: command for name, command in GROUP.commands.items() if not hasattr(command, "commands")}
LEAVES |= {f"vasp {name}": command for name, command in GROUP.commands["vasp"].commands.items()}
PLAIN = str.maketrans("", "", "│╭╮╰╯─ \n")
"""Takes away what the layout of a help adds."""


@pytest.fixture(scope="module")
def wide() -> dict[str, str]:
    return os.environ | {"TERMINAL_WIDTH": "400"}


def test_help_teaches_the_first_steps_the_conventions_and_every_command() -> None:
    text = succeed("--help")
    assert "Traceback" not in text
    words = " ".join(text.split())
    for command in GROUP.commands:
        assert f"│ {command} " in text
    for line, purpose in FIRST_STEPS:
        assert line in words
        assert purpose in words
    assert "Exit codes: 0 done; 1 it failed; 2 the input cannot be used, and one line says what to do; 130" in words


@pytest.mark.parametrize("name", LEAVES)
def test_help_of_a_command_loses_no_word_of_it(name: str, wide: dict[str, str]) -> None:
    """Brackets would be taken for markup."""
    ended = kappaforge(*name.split(), "--help", env=wide)
    assert ended.returncode == 0, ended.stderr
    shown = ended.stdout.translate(PLAIN)
    command = LEAVES[name]
    for text in (inspect.cleandoc(command.help), *(parameter.help for parameter in command.params if parameter.help)):
        assert text.replace("\\[", "[").translate(PLAIN) in shown
    for line, purpose in EXAMPLES.get(name, ()):
        assert f"# {purpose}".translate(PLAIN) + line.translate(PLAIN) in shown


def test_every_command_has_examples_and_all_of_them_parse() -> None:
    assert set(EXAMPLES) == set(GROUP.commands)
    for line, _ in (*FIRST_STEPS, *(example for each in EXAMPLES.values() for example in each)):
        program, *words = shlex.split(line.partition(" > ")[0])
        assert program == "kappaforge"
        name = " ".join(words[:2]) if words[0] == "vasp" else words[0]
        with stdout_given_back():
            LEAVES[name].make_context(name, words[len(name.split()) :])  # raises where an option is unknown


def test_examples_with_unknown_options_would_be_noticed() -> None:
    with pytest.raises(typer.TyperException):
        LEAVES["run"].make_context("run", ["runs/carbon", "--dryrun"])


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``kappaforge`` is on the path, with a home of its own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "kappaforge"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n')
    program.chmod(0o755)
    (tmp_path / "home").mkdir()
    return os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path / "home")}


def completed(line: str, env: dict[str, str]) -> set[str]:
    """Return what bash offers at the end of a line, by its own machinery."""
    words = line.split(" ")
    script = (
        'eval "$(_KAPPAFORGE_COMPLETE=source_bash kappaforge)"\n'
        f"COMP_WORDS=({' '.join(map(shlex.quote, words))}); COMP_CWORD={len(words) - 1}\n"
        "$(complete -p kappaforge | sed 's/.*-F \\([^ ]*\\) .*/\\1/') kappaforge\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    ended = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=env)
    assert ended.returncode == 0, ended.stderr
    return set(ended.stdout.split())


def test_bash_completes_commands_options_and_names(installed: dict[str, str]) -> None:
    assert completed("kappaforge re", installed) == {"relax", "report", "resume"}
    assert completed("kappaforge run x --d", installed) == {"--dry-run"}
    assert completed("kappaforge kappa POSCAR -p br", installed) == {"brenner"}
    assert completed("kappaforge kappa POSCAR --level r", installed) == {"rta"}
    assert completed("kappaforge generate -g ", installed) >= {"flow", "random"}
    assert completed("kappaforge export RUN --format c", installed) == {"csv", "cif"}
    assert completed("kappaforge kappa POSC", installed) == set(), "files are the shell's"


def test_completion_is_installed_for_bash(installed: dict[str, str], tmp_path: Path) -> None:
    ended = subprocess.run(
        ["bash", "-c", "kappaforge --install-completion; true"], capture_output=True, text=True, env=installed
    )
    assert "completion installed" in ended.stdout, ended.stderr
    home = tmp_path / "home"
    (script,) = re.findall(r"source '?([^'\n]+)", (home / ".bashrc").read_text())
    assert "_KAPPAFORGE_COMPLETE" in Path(script).read_text()


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script_that_asks_the_program(shell: str, installed: dict[str, str]) -> None:
    asked = {"_KAPPAFORGE_COMPLETE": f"source_{shell}"}
    script = subprocess.run(["kappaforge"], capture_output=True, text=True, env=installed | asked)
    assert f"complete_{shell}" in script.stdout
    answer = {"_KAPPAFORGE_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "kappaforge sta"}
    answer["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    found = subprocess.run(["kappaforge"], capture_output=True, text=True, env=installed | answer)
    assert "status" in found.stdout
    assert "screen" not in found.stdout

"""Progress: bars with rate and remaining time on a terminal, plain lines in a pipe, nothing where JSON is wanted."""

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write

from commands import COMMAND, kappaforge
from kappaforge.cli.terminal import LINES_S, Bars, Pace, duration


class Clock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Crystals in two batches of relaxation."""
    path = tmp_path / "many.extxyz"
    write(path, [bulk("C", "diamond", a=3.4 + 0.01 * number) for number in range(20)])
    return path


def test_rate_counts_what_was_done_here_and_time_counts_down(clock: Clock) -> None:
    pace = Pace(10, 4, clock)
    assert (pace.per_s, pace.words) == (None, "")
    clock.now_s += 60
    pace.advance()
    assert pace.per_s == pytest.approx(1 / 60)
    assert pace.words == "1 tasks/min, 5 min left"
    clock.now_s += 240  # the next task is late
    assert pace.words == "1 tasks/min, 60 s left"
    clock.now_s += 240
    assert pace.words == "1 tasks/min, 0 s left"
    for _ in range(5):
        pace.advance()
    assert pace.words == f"{6 / 540 * 60:.3g} tasks/min"


def test_lines_in_a_pipe_come_now_and_then(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Bars(clock=clock) as bars:
        bars.start("relax", 100, 0)
        for _ in range(90):
            clock.now_s += 2
            bars.advance("relax")
        bars.finish("relax", "90 of 100 converged")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 90 * 2 / LINES_S + 1
    assert " ".join(lines[0].split()) == "relax 15 of 100, 30 tasks/min, 3 min left"
    assert " ".join(lines[-1].split()) == "relax 90 of 100 converged"
    assert not any("\x1b" in line for line in lines)


def test_quick_steps_leave_only_their_summary(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Bars(clock=clock) as bars:
        bars.start("relax", 3, 0)
        for _ in range(3):
            bars.advance("relax")
        bars.finish("relax", "done")
    assert capsys.readouterr().err.split() == ["relax", "done"]
    with Bars(quiet=True, clock=clock) as bars:
        bars.start("relax", 3, 0)
        clock.now_s += 100
        bars.advance("relax")
        bars.finish("relax", "done")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("seconds", "words"), [(3.2, "3 s"), (89, "89 s"), (300, "5 min"), (11_500, "3.2 h")])
def test_durations_have_two_figures_that_matter(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def on_a_terminal(*arguments: object) -> str:
    """Return what a command writes to a terminal on stderr."""
    ours, theirs = pty.openpty()
    env = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen([*COMMAND, *map(str, arguments)], stderr=theirs, stdout=subprocess.DEVNULL, env=env)
    os.close(theirs)
    written = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux's end of a terminal that everybody left
            break
        if not chunk:
            break
        written += chunk
    os.close(ours)
    assert process.wait() == 0
    return written.decode()


def test_terminal_shows_a_bar_with_its_rate(many: Path) -> None:
    shown = on_a_terminal("relax", many, "-p", "brenner", "-w", 1)
    assert re.search(r"relax.*━.*[01]/2", shown), shown[-2000:]
    assert re.search(r"2/2.*tasks/min", shown), shown[-2000:]
    assert "\x1b" in shown
    assert "tasks/min" not in on_a_terminal("relax", many, "-p", "brenner", "-w", 1, "--json")


def test_pipe_gets_no_control_characters(many: Path) -> None:
    ended = kappaforge("relax", many, "-p", "brenner", "-w", 1)
    assert ended.returncode == 0
    assert "\x1b" not in ended.stdout + ended.stderr
    assert "20 of 20 relaxed" in ended.stdout

"""How commands end: the exit codes that the help and the README promise, each with one line."""

import errno
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write

from commands import COMMAND, here, kappaforge, only_line
from kappaforge.cli.ending import BAD_INPUT, DONE, FAILED, INTERRUPTED, ending
from kappaforge.errors import InputError, KappaforgeError

SLOW = '''
"""A calculator that says when it has begun, and takes its time."""
import time
from pathlib import Path

from ase.calculators.emt import EMT

class Slow(EMT):
    def calculate(self, *arguments, **options):
        Path("begun").touch()
        time.sleep(60)
'''


def test_done_is_0(tmp_path: Path) -> None:
    assert here("init", tmp_path / "run").returncode == DONE == 0
    assert here("--version").returncode == 0


def test_failed_is_1(poscar: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "from ase.calculators.emt import EMT\n"
        "class Broken(EMT):\n    def calculate(self, *a, **k): raise RuntimeError('no licence')\n"
    )
    ended = kappaforge("label", poscar, "-l", "ase:broken:Broken", "--run", "labels", "-w", 1, cwd=tmp_path)
    assert ended.returncode == FAILED == 1
    assert "no licence" in ended.stdout
    assert "none of 1 crystals could be labelled" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_bad_input_is_2(tmp_path: Path) -> None:
    assert "no such file" in only_line(here("relax", tmp_path / "nothing"), BAD_INPUT)
    assert BAD_INPUT == 2


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("runn",), "No such command 'runn'. Did you mean 'run'? (see: kappaforge --help)"),
        (("run",), "Missing argument 'RUN' (see: kappaforge run --help)"),
        (("run", "x", "--dryrun"), "No such option: --dryrun"),
        (("generate", "-n", "0", "-o", "x"), "Invalid value for '-n'"),
        (("vasp", "wrte"), "(see: kappaforge vasp --help)"),
    ],
)
def test_wrong_command_lines_are_refused_in_one_line(words: tuple[str, ...], wanted: str) -> None:
    assert wanted in only_line(here(*words), BAD_INPUT)


@pytest.mark.parametrize("workers", [(), ("-w", "2")], ids=["one process", "workers"])
def test_interrupted_is_130(workers: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    write(tmp_path / "copper.extxyz", [bulk("Cu", a=3.6)] * (17 if workers else 1))
    command = [*COMMAND, "relax", "copper.extxyz", "-p", "ase:slow:Slow", *workers]
    # what a shell starts in the background ignores interrupts, and so would all that it starts
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
    finally:
        signal.signal(signal.SIGINT, ours)
    until = time.monotonic() + 300
    while not (tmp_path / "begun").exists() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal's Ctrl-C does, to workers too
    _, said = process.communicate(timeout=120)
    assert process.returncode == INTERRUPTED == 130, said
    assert said.strip().splitlines()[-1].startswith("kappaforge: interrupted; what was finished is kept")


def test_errors_of_paths_are_the_users(tmp_path: Path) -> None:
    error = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "x"))
    code, said = ending(error)
    assert (code, said) == (BAD_INPUT, f"{tmp_path / 'x'}: Permission denied; {said.partition('; ')[2]}")
    file = tmp_path / "file"
    file.touch()
    assert "Not a directory" in only_line(here("init", file / "run"), BAD_INPUT)


def test_full_disks_and_memories_are_failures() -> None:
    assert ending(OSError(errno.ENOSPC, "No space left on device"))[0] == FAILED
    assert "make room" in ending(OSError(errno.EDQUOT, "Disk quota exceeded"))[1]
    assert ending(MemoryError())[0] == FAILED
    assert ending(KappaforgeError("a\nb")) == (FAILED, "a b")
    assert ending(InputError("a")) == (BAD_INPUT, "a")
    assert ending(KeyboardInterrupt())[0] == INTERRUPTED


def test_faults_of_the_program_are_one_line_and_a_file_with_the_details() -> None:
    try:
        raise RuntimeError("something\nodd")
    except RuntimeError as error:
        code, said = ending(error)
    assert code == FAILED
    assert "\n" not in said
    assert said.startswith("unexpected RuntimeError: something odd; this is a fault of kappaforge")
    file = Path(said.rpartition(" ")[2])
    assert "Traceback" in file.read_text()
    assert "test_faults_of_the_program" in file.read_text()
    file.unlink()


def test_unexpected_errors_of_commands_end_so_too(
    monkeypatch: pytest.MonkeyPatch, poscar: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def broken(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("kappaforge.dataset.readers.read", broken)
    ended = here("screen", poscar)
    assert ended.returncode == FAILED
    (line,) = ended.stderr.strip().splitlines()
    assert line.startswith("kappaforge: unexpected ZeroDivisionError: by zero")
    (file,) = tmp_path.glob("kappaforge-error-*.txt")
    assert "ZeroDivisionError: by zero" in file.read_text()


def test_pipe_that_nobody_reads_any_more_is_no_traceback(tmp_path: Path) -> None:
    write(tmp_path / "many.extxyz", [bulk("C", "diamond", a=3.4 + 0.001 * number) for number in range(200)])
    script = f"{' '.join(map(repr, COMMAND))} screen many.extxyz --json | head -n 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert "Traceback" not in ended.stderr
    assert "unexpected" not in ended.stderr
    assert ended.stdout.strip() in ("0", "1")


def test_codes_are_documented() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    for text in (readme, here("--help").stdout):
        words = " ".join(text.split())
        assert "0 done" in words
        assert "130 interrupted" in words

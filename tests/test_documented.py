"""Every command and block of code of README, the documentation and CONTRIBUTING, executed.

A command runs as it is documented, in a folder of its page's own with the files that the page speaks of, unless `PLANS`
says otherwise and why: run smaller, by more options behind it (the last one counts), or only parsed, by the real parser
of the command or script. A wrong option or a command that does not exist fails in each case.
"""

import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
from ase.build import bulk
from ase.io import write

import documented
from documented import ROOT, Command, blocks, commands, named_in_prose
from kappaforge.config import CampaignSettings
from kappaforge.dataset.known_carbon import known_carbons
from small_campaign import TINY, drive, make_run

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
PARSED_PAGES = sorted([*ROOT.glob("training/**/*.md"), *ROOT.glob("examples/**/*.md")])
"""Of trainings and campaigns that took hours and data that are not ours: nothing of them is run."""


class Plan(NamedTuple):
    """What is done with a command instead of running it as it stands."""

    why: str
    options: str = ""
    parse: bool = False


KAPPA = "--mesh 3 --fc2-distance 5 --fc3-distance 4.5 --cutoff 2 --workers 1"
LABELER = "--labeler ase:my_module:calculator --workers 1"
SMALLER_KAPPA = Plan("a second in place of ten", KAPPA)
OTHER_LABELER = Plan("minutes of DFT; tests/test_labelers.py runs the engines by this command", LABELER)
ELSEWHERE = Plan("half a minute; README runs the same command with the same options", parse=True)
HOURS = Plan("takes up to hours, or data that are not ours", parse=True)

PLANS = {
    "kappaforge kappa POSCAR": Plan("a second in place of ten; own-cif.md runs it as documented", KAPPA),
    "kappaforge kappa POSCAR --isotopes -T 300 -T 600 --boundary 10": SMALLER_KAPPA,
    "kappaforge kappa POSCAR --method paper": Plan("ten seconds", "--mesh 4 --supercell 2"),
    "kappaforge kappa POSCAR --follow 2": SMALLER_KAPPA,
    "kappaforge kappa POSCAR --committee --cutoffs --run kappa/": Plan("a minute", f"{KAPPA} --level rta"),
    "kappaforge kappa POSCAR --modes modes/": SMALLER_KAPPA,
    "kappaforge phonons POSCAR --compare brenner --output phonons/": Plan("five seconds", "--face-distance 5"),
    "kappaforge phonons --forces displaced/ --compare carbon -o phonons/": Plan(
        "there are no forces yet; own-cif.md runs it with them", parse=True
    ),
    "kappaforge ladder *.cif --run ladder/ --limit 800": Plan("a minute", "--no-committee -p brenner -w 1"),
    "kappaforge generate -n 100 --seed 1 --output raw.extxyz": Plan("half a minute", "-n 4 --max-atoms 4"),
    "kappaforge generate -n 100 -g random --elements B,N --output bn.extxyz": Plan("the same", "-n 2 --max-atoms 4"),
    "kappaforge train-generator crystals/ --output mine.safetensors": Plan("half an hour", "--epochs 1"),
    "kappaforge evaluate-generator mine.safetensors --data crystals/ --run judged/": Plan(
        "minutes", "-n 4 --controls 1 --max-atoms 4 -p brenner -w 1"
    ),
    "kappaforge select candidates.extxyz -n 50 --output benchmarks.extxyz": Plan("a κ for each that is picked", "-n 1"),
    "kappaforge kappa benchmarks.extxyz --json": Plan("a minute", f"{KAPPA} -p brenner"),
    "kappaforge label benchmarks.extxyz --run labels/ --output labels.extxyz": OTHER_LABELER,
    "kappaforge label benchmarks.extxyz --labeler espresso --run labels/": OTHER_LABELER,
    "kappaforge train labels.extxyz --output mine.safetensors": Plan("minutes", "--epochs 1"),
    "kappaforge learn candidates.extxyz --labels labels.extxyz --run learn/": Plan(
        "hours", f"{LABELER} --settings small.toml"
    ),
    # tutorials
    "kappaforge kappa runs/first/export/cif/diamond.cif --committee --run runs/sure": ELSEWHERE,
    "kappaforge kappa mine.cif -T 200 -T 300 -T 400 --isotopes --csv": SMALLER_KAPPA,
    "kappaforge kappa mine.cif --boundary 10 --json": SMALLER_KAPPA,
    "kappaforge kappa mine.cif --committee --cutoffs --run sure/": ELSEWHERE,
    "kappaforge kappa mine.cif --follow 2": SMALLER_KAPPA,
    "kappaforge ladder mine.cif others/ --run ladder/ --limit 800 --no-committee": ELSEWHERE,
    "kappaforge displace mine.cif --output displaced/ --way finite": Plan(
        "forces in 17 supercells", "--fc2-distance 5 --fc3-distance 4.5"
    ),
    "kappaforge label displaced/supercells-order2.extxyz displaced/supercells-order3.extxyz --labeler gpaw --run dft/ "
    "--output displaced/forces.extxyz": OTHER_LABELER,
    "kappaforge kappa --forces displaced/": Plan("seconds in place of ten", "--mesh 3"),
    "kappaforge kappa mine.cif --potential ase:my_potential:silicon_carbide --level rta": Plan("the same", KAPPA),
    "kappaforge phonons mine.cif --potential ase:my_potential:silicon_carbide --compare brenner "
    "--output compared/": Plan("five seconds", "--face-distance 5"),
    "kappaforge label crystals/ --run labels/ --output labels.extxyz": OTHER_LABELER,
    "kappaforge train labels.extxyz --output mine.safetensors --epochs 200": Plan("minutes", "--epochs 1"),
    "kappaforge kappa mine.cif --potential mine.safetensors": Plan(
        "a model of one epoch may find diamond unstable: no κ then, and a row that says so", KAPPA
    ),
    "kappaforge learn crystals/ --labels labels.extxyz --run learn/": ELSEWHERE,
    "kappaforge generate -n 20 --seed 1 --generator random --elements B,N --max-atoms 4 --output raw.extxyz": Plan(
        "relaxations by 7net-0", "-n 1"
    ),
    "kappaforge relax raw.extxyz --potential 7net-0 --fmax 0.01 --output relaxed.extxyz": Plan(
        "half a minute", "--fmax 1"
    ),
    "kappaforge phonons candidates.extxyz --potential 7net-0 --output phonons/": Plan("a minute", "--face-distance 2"),
    "kappaforge train-generator known/ --output mine.safetensors --epochs 200": Plan("minutes", "--epochs 1"),
    "kappaforge generate -n 100 --generator mine.safetensors --elements B,N --output raw.extxyz": Plan(
        "seconds", "-n 1"
    ),
    "kappaforge evaluate-generator flow --data train.extxyz --test test.extxyz -n 10000 --controls 500 "
    "--run judged/": HOURS,
}
"""By the command as it is documented; every one of them is documented."""

SMALL_RUN = f'{TINY}executor = "in-process"\n'
"""What follows an ``init`` is run on: processes of workers would take longer to start than to work."""

MODULE = '''
from ase.calculators.emt import EMT


def calculator():
    """Quick, and of every element that is asked for here."""
    return EMT()
'''

SMALL_TOML = """
[learn]
members = 2
max_labels = 14
rattles = 1
[training]
epochs = 1
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages speak of: a POSCAR, CIFs, folders of crystals, a module, settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.syspath_prepend(tmp_path)
    diamond = bulk("C", "diamond", a=3.56)
    write("POSCAR", diamond, format="vasp")
    write("cubic.cif", bulk("C", "sc", a=1.8))  # unstable: a ladder of it ends on the first rung
    for name in ("crystals", "known", "others"):
        Path(name).mkdir()
    carbons = [entry.crystal for entry in known_carbons() if len(entry.crystal) <= 4]
    for crystal in carbons:
        write(f"crystals/{crystal.id}.cif", crystal.to_ase())
    write("known/graphite.cif", next(each for each in carbons if each.id == "graphite").to_ase())
    write("others/other.cif", bulk("C", "diamond", a=3.6))
    Path("my_module.py").write_text(MODULE)
    Path("small.toml").write_text(SMALL_TOML)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_and_code_of_page_run(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if page.name == "own-elements.md":
        pytest.importorskip("sevenn", reason="it is not installed: pip install 'kappaforge[sevenn]'")
    if page.name == "own-potential.md":
        write("mine.cif", bulk("C", "diamond", a=3.56, cubic=True))
    if page.name == "distillation.md":
        drive(make_run(folder / "run", SMALL_RUN.replace("benchmarks = 1", "benchmarks = 0")))
    names = {"atoms": bulk("C", "diamond", a=3.56)}
    for block in blocks(page):
        if block.language == "console":
            for command in commands(block):
                _run(command, folder, monkeypatch, capfd)
        elif block.language == "python":
            exec(compile(block.text, str(page), "exec"), names)
        elif block.language == "toml":
            CampaignSettings.model_validate(tomllib.loads(block.text))
        else:
            assert block.language in ("text", "")
    for text in named_in_prose(page):
        _check_prose(text.split())


@pytest.mark.parametrize("page", PARSED_PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_of_trainings_parse(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for block in blocks(page):
        for command in commands(block):
            _parse(command.words, monkeypatch)
    for text in named_in_prose(page):
        _check_prose(text.split())


def test_every_plan_is_of_a_documented_command() -> None:
    console = (block for page in PAGES for block in blocks(page) if block.language == "console")
    documented_ones = {_text(command) for block in console for command in commands(block)}
    assert set(PLANS) - documented_ones == set(), "these plans are of no documented command; mend or remove them"


@pytest.mark.parametrize(
    "wrong", ["kappaforge kapa POSCAR", "kappaforge kappa POSCAR --comittee", "python benchmarks/kappa.py --wy ours"]
)
def test_wrong_command_would_be_noticed(wrong: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises((AssertionError, SystemExit)):
        _parse(wrong.split(), monkeypatch)
    if wrong.startswith("kappaforge"):
        with pytest.raises(AssertionError):
            _check_prose(wrong.split())


def _text(command: Command) -> str:
    return " ".join(command.text.partition("    #")[0].partition("  #")[0].split())


def _run(command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    plan = PLANS.get(_text(command), Plan(""))
    words = command.words
    if words[0] != "kappaforge" or plan.parse:
        _parse(words, monkeypatch)
        return
    capfd.readouterr()
    code = documented.run_kappaforge([*words[1:], *shlex.split(plan.options)])
    said = "".join(capfd.readouterr())
    assert code == 0, f"$ {command.text}\n{said}"
    if words[1] == "init":  # what follows is run on a small campaign
        (Path(words[2]) / "campaign.toml").write_text(SMALL_RUN)
    if not plan.options:
        shown = set(re.findall(r"[A-Za-zκ][\w./-]{2,}", " ".join(command.output)))
        assert shown <= set(re.findall(r"[A-Za-zκ][\w./-]{2,}", said)), (
            f"$ {command.text}\nsays something else:\n{said}"
        )


def _parse(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse a command as what it is for would; raises, or exits, where that is refused."""
    program, arguments = words[0], words[1:]
    if program == "kappaforge":
        documented.parse_kappaforge(arguments)
    elif program == "python":
        documented.parse_script(arguments, monkeypatch)
    elif program == "make":
        subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, check=True, capture_output=True)
    elif program == "export":
        for name, _, value in (assignment.partition("=") for assignment in arguments):
            monkeypatch.setenv(name, value.replace("$PWD", str(Path.cwd())))
    elif program == "pip":
        assert arguments[0] == "install"
        assert set(re.findall(r"kappaforge\[([\w,]+)\]", " ".join(arguments))) <= EXTRAS
    else:
        raise AssertionError(f"{program!r}: say in this test how it is checked")


def _check_prose(words: list[str]) -> None:
    """Check that what the text speaks of exists; placeholders and what is left out are not looked at."""
    program, arguments = words[0], words[1:]
    if program == "kappaforge":
        assert documented.unknown_options(arguments) == [], " ".join(words)
    elif program == "python":
        script = (ROOT / arguments[0]).read_text(encoding="utf-8")
        assert all(f'"{word}"' in script for word in arguments if word.startswith("-")), " ".join(words)
    elif program == "make":
        subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, check=True, capture_output=True)
    else:
        assert set(arguments) <= EXTRAS | {"espresso", "slurm"}, " ".join(words)

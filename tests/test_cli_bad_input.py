"""Bad input to every command that reads: files of noise, potentials that fail. Never a traceback, always one line."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write

from commands import here, only_line
from kappaforge.cli.ending import BAD_INPUT
from kappaforge.potentials import registry

CELL = 'Lattice="3.5 0 0 0 3.5 0 0 0 3.5" Properties=species:S:1:pos:R:3'

FILES: dict[str, tuple[str, bytes]] = {
    "noise": ("noise.extxyz", bytes(range(256)) * 40),
    "noise as cif": ("noise.cif", np.random.default_rng(1).bytes(3000)),
    "empty": ("empty.extxyz", b""),
    "empty cif": ("empty.cif", b""),
    "text": ("text.cif", b"It was a dark and stormy night."),
    "cut short": ("cut.extxyz", f"2\n{CELL}\nC 0 0 0\n".encode()),
    "no cell": ("molecule.extxyz", b"1\nProperties=species:S:1:pos:R:3\nC 0 0 0\n"),
    "nan": ("nan.extxyz", f"1\n{CELL}\nC nan 0 0\n".encode()),
    "flat cell": ("flat.extxyz", f"1\n{CELL.replace('3.5 0 0 0 3.5 0', '3.5 0 0 3.5 0 0')}\nC 0 0 0\n".encode()),
    "no element": ("element.extxyz", f"1\n{CELL}\nQq 0 0 0\n".encode()),
    "huge count": ("huge.extxyz", f"999999999999\n{CELL}\nC 0 0 0\n".encode()),
    "negative count": ("negative.extxyz", f"-3\n{CELL}\nC 0 0 0\n".encode()),
    "poscar without atoms": ("POSCAR", b"x\n1.0\n3 0 0\n0 3 0\n0 0 3\nC\n0\nDirect\n"),
    "poscar cut": ("POSCAR", b"x\n1.0\n3 0 0\n0 3"),
    "csv of something else": ("table.csv", b"a,b\n1,2\n"),
    "res without cell": ("x.res", b"TITL x 0 0 0\nEND\n"),
    "no gzip": ("x.extxyz.gz", b"not compressed"),
    "gzip cut": ("y.extxyz.gz", gzip.compress(f"1\n{CELL}\nC 0 0 0\n".encode())[:-9]),
    "no name": ("what.xyzzy", b"?"),
}

READERS: dict[str, Callable[[Path, Path], tuple[object, ...]]] = {
    "relax": lambda file, _: ("relax", file, "-p", "brenner"),
    "screen": lambda file, _: ("screen", file),
    "describe": lambda file, _: ("describe", file),
    "select": lambda file, _: ("select", file),
    "kappa": lambda file, _: ("kappa", file, "-p", "brenner"),
    "phonons": lambda file, _: ("phonons", file, "-p", "brenner"),
    "ladder": lambda file, run: ("ladder", file, "-p", "brenner", "--run", run),
    "label": lambda file, run: ("label", file, "-l", "ase:ase.calculators.emt:EMT", "--run", run),
    "learn": lambda file, run: ("learn", file, "-l", "ase:ase.calculators.emt:EMT", "--run", run),
    "displace": lambda file, run: ("displace", file, "-o", run),
    "vasp write": lambda file, run: ("vasp", "write", file, "-o", run),
    "train": lambda file, run: ("train", file, "-o", run / "x.safetensors"),
    "train-generator": lambda file, run: ("train-generator", file, "-o", run / "x.safetensors"),
    "screen against": lambda file, _: ("screen", file.with_name("good.extxyz"), "-r", file),
    "evaluate": lambda file, run: ("evaluate-generator", "random", "--data", file, "--run", run),
}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    write(tmp_path / "good.extxyz", bulk("C", "diamond", a=3.56))
    return tmp_path / "good.extxyz"


@pytest.mark.parametrize("what", FILES)
def test_files_that_hold_no_crystals_are_refused_by_name(what: str, good: Path, tmp_path: Path) -> None:
    name, content = FILES[what]
    file = tmp_path / name
    file.write_bytes(content)
    for arguments in READERS.values():
        line = only_line(here(*arguments(file, tmp_path / "run")), BAD_INPUT)
        assert name in line
        assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize("command", ["train", "label --done", "learn --labels", "kappa --forces", "vasp read"])
def test_labels_and_forces_that_cannot_be_read_are_refused(command: str, good: Path, tmp_path: Path) -> None:
    engine = ("-l", "ase:ase.calculators.emt:EMT", "--run", tmp_path / "run")
    for name, content in FILES.values():
        (folder := tmp_path / "folder").mkdir(exist_ok=True)
        file = folder / name
        file.write_bytes(content)
        arguments: dict[str, tuple[object, ...]] = {
            "train": ("train", file, "-o", tmp_path / "x.safetensors"),
            "label --done": ("label", good, *engine, "--done", file),
            "learn --labels": ("learn", good, *engine, "--labels", file),
            "kappa --forces": ("kappa", "--forces", folder),
            "vasp read": ("vasp", "read", folder),
        }
        line = only_line(here(*arguments[command]), BAD_INPUT)
        assert str(folder) in line
        file.unlink()


@pytest.mark.parametrize("what", ["noise", "empty", "cut"])
def test_models_that_cannot_be_read_are_refused(what: str, good: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    shipped = Path(registry.__file__).parent / "models" / "carbon.safetensors"
    model.write_bytes({"noise": bytes(range(256)), "empty": b"", "cut": shipped.read_bytes()[:-100]}[what])
    for arguments in (
        ("relax", good, "-p", model),
        ("kappa", good, "-p", model),
        ("phonons", good, "-p", "brenner", "--compare", model),
        ("generate", "-g", model, "-n", 1, "-o", tmp_path / "x.extxyz"),
        ("evaluate-generator", model, "--run", tmp_path / "run"),
        ("train", good, "--start", model, "-o", tmp_path / "x.safetensors"),
    ):
        line = only_line(here(*arguments), BAD_INPUT)
        assert "model" in line or "lacks energy" in line


FAILING = '''
"""Calculators that fail in all the ways there are."""
import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

class Base(Calculator):
    implemented_properties = ["energy", "forces", "stress"]
    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = self.answer(len(atoms))

class Raises(Base):
    def answer(self, n): raise OSError("the licence server is gone")

class Asserts(Base):
    def answer(self, n): raise AssertionError

class NotANumber(Base):
    def answer(self, n): return {"energy": np.nan, "forces": np.full((n, 3), np.nan), "stress": np.full(6, np.nan)}

class WrongShape(Base):
    def answer(self, n): return {"energy": 0.0, "forces": np.zeros((n + 1, 3)), "stress": np.zeros(6)}

class Words(Base):
    def answer(self, n): return {"energy": "low", "forces": [["x"] * 3] * n, "stress": ["y"] * 6}

class Nothing(Base):
    def answer(self, n): return {}

class Huge(Base):
    def answer(self, n): return {"energy": -1e300, "forces": np.full((n, 3), 1e300), "stress": np.full(6, 1e300)}

def needs_arguments(device): return EMT()
def raises(): raise RuntimeError("no GPU")
def no_calculator(): return 3
class EnergyOnly(Base):
    implemented_properties = ["energy"]
'''

COMPUTES = ["Raises", "Asserts", "NotANumber", "WrongShape", "Words", "Nothing", "Huge"]


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_calculators.py").write_text(FAILING)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize("kind", COMPUTES)
def test_potentials_that_fail_cost_their_crystal_and_no_traceback(kind: str, good: Path, tmp_path: Path) -> None:
    name = f"ase:failing_calculators:{kind}"
    for command in (
        ("relax", good, "-p", name),
        ("kappa", good, "-p", name, "--level", "harmonic"),
        ("kappa", good, "-p", name, "--level", "harmonic", "--no-relax"),
        ("phonons", good, "-p", name),
        ("phonons", good, "-p", "brenner", "--compare", name, "--face-distance", 5, "--mesh-length", 10),
    ):
        ended = here(*command)
        assert ended.returncode == 0, ended.stderr
        assert "Traceback" not in ended.stdout + ended.stderr
        assert "failed" in ended.stdout, command
    assert "did not relax" in only_line(here("displace", good, "-o", tmp_path / "d", "--relax", "-p", name), 1)
    ended = here("label", good, "-l", name, "--run", tmp_path / "run", "-w", 1)
    assert ended.returncode == 1
    assert "none of 1 crystals could be labelled" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize("factory", ["needs_arguments", "raises", "no_calculator", "EnergyOnly", "missing"])
def test_factories_that_give_no_potential_are_refused(factory: str, good: Path, tmp_path: Path) -> None:
    name = f"ase:failing_calculators:{factory}"
    for command in (("relax", good, "-p", name), ("kappa", good, "-p", name), ("phonons", good, "-p", name)):
        assert name in only_line(here(*command), BAD_INPUT)
    if factory != "EnergyOnly":
        assert name in only_line(here("label", good, "-l", name, "--run", tmp_path / "run"), BAD_INPUT)


@pytest.mark.parametrize(
    "name", ["ase:", "ase:x", "ase:no_such_module:f", "ase:json:dumps", "carbonn", "", "../x", "x.safetensors"]
)
def test_names_of_no_potential_are_refused(name: str, good: Path) -> None:
    for command in (("relax", good, "-p", name), ("kappa", good, "-p", name), ("phonons", good, "-p", name)):
        only_line(here(*command), BAD_INPUT)


@pytest.mark.parametrize(
    "options",
    [
        ("relax", "--fmax", "-1"),
        ("relax", "--fmax", "nan"),
        ("relax", "--pressure", "inf"),
        ("relax", "--minimiser", "bfgs"),
        ("relax", "--max-steps", "-1"),
        ("screen", "--max-atoms", "0"),
        ("screen", "--min-operations", "0"),
        ("select", "--near", "nobody"),
        ("kappa", "-T", "-300"),
        ("kappa", "-T", "nan"),
        ("kappa", "--level", "most"),
        ("kappa", "--method", "mine"),
        ("kappa", "--mesh", "0"),
        ("kappa", "--mesh-length", "-1"),
        ("kappa", "--cutoff", "nan"),
        ("kappa", "--boundary", "0"),
        ("kappa", "--follow", "-1"),
        ("phonons", "--spacing", "0"),
        ("phonons", "--face-distance", "nan"),
        ("phonons", "--mesh-length", "-5"),
        ("phonons", "--compare", "nobody"),
    ],
    ids=" ".join,
)
def test_options_out_of_range_are_refused(options: tuple[str, ...], good: Path) -> None:
    potential = () if options[0] in ("screen", "select") else ("-p", "brenner")
    only_line(here(options[0], good, *options[1:], *potential), BAD_INPUT)


@pytest.mark.parametrize(
    "options",
    [
        ("--elements", "Qq"),
        ("--elements", ""),
        ("--min-atoms", "9", "--max-atoms", "3"),
        ("--space-groups", "231"),
        ("--space-groups", "x"),
        ("-g", "nobody"),
        ("--enumerated", "2"),
        ("-s", "-1"),
    ],
    ids=" ".join,
)
def test_generators_refuse_what_they_cannot_follow(options: tuple[str, ...], tmp_path: Path) -> None:
    generator = () if "-g" in options else ("-g", "random")
    only_line(here("generate", "-n", 1, "-o", tmp_path / "x.extxyz", *generator, *options), BAD_INPUT)

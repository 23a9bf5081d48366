"""The examples of CONTRIBUTING are what they say: a potential, a generator and a labeler, of one file each."""

import sys
from types import ModuleType

import numpy as np
import pytest
from ase.build import bulk

from documented import ROOT, blocks
from kappaforge.crystal import Crystal
from kappaforge.generate import registry as generators
from kappaforge.generate.base import Generator
from kappaforge.generate.settings import GenerateSettings
from kappaforge.label import registry as labelers
from kappaforge.label.base import Labeler
from kappaforge.label.settings import LabelSettings
from kappaforge.potentials import registry as potentials
from kappaforge.potentials.base import Batch, Potential


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch):
    """Give the module of the example whose first line names its file."""

    def load(file: str) -> str:
        (text,) = (block.text for block in blocks(ROOT / "CONTRIBUTING.md") if f"src/kappaforge/{file}" in block.text)
        name = "kappaforge." + file.removesuffix(".py").replace("/", ".")
        module = ModuleType(name)
        exec(compile(text, file, "exec"), module.__dict__)
        monkeypatch.setitem(sys.modules, name, module)
        return name

    return load


def test_potential_of_one_file_is_loaded_by_its_line(example, monkeypatch) -> None:
    monkeypatch.setitem(potentials._POTENTIALS, "argon", f"{example('potentials/argon.py')}:argon")
    argon = potentials.load.__wrapped__("argon")  # past the cache, which would keep it for other tests
    assert isinstance(argon, Potential)
    assert len(argon.digest) == 64
    answer = argon.compute(Batch.of([Crystal.from_ase(bulk("Ar", "fcc", a=5.26))]))
    assert answer.energies_ev[0] == pytest.approx(-0.08, abs=0.01), "argon's cohesive energy is 80 meV/atom"
    assert np.abs(answer.forces_ev_per_ang).max() < 1e-9


def test_generator_of_one_file_is_loaded_by_its_line(example, monkeypatch) -> None:
    monkeypatch.setitem(generators._PLAIN, "cubes", f"{example('generate/cubes.py')}:Cubes")
    cubes = generators.load("cubes", GenerateSettings(elements=("C", "Si"), min_atoms=1))
    assert isinstance(cubes, Generator)
    whole, piece = cubes.sample(5, seed=1), cubes.sample(2, first=3, seed=1)
    assert [each.crystal.digest for each in whole[3:]] == [each.crystal.digest for each in piece]
    assert len({each.crystal.digest for each in whole}) == 5


def test_labeler_of_one_file_is_loaded_by_its_line(example, monkeypatch) -> None:
    monkeypatch.setitem(labelers.LABELERS, "emt", f"{example('label/emt.py')}:EmtLabeler")
    emt = labelers.load(LabelSettings(labeler="emt"))
    assert isinstance(emt, Labeler)
    label = emt.label(Crystal.from_ase(bulk("Cu"), id="copper"))
    assert (label.id, label.status, label.forces_ev_per_ang.shape) == ("copper", "ok", (1, 3))
    assert label.energy_ev == pytest.approx(0.0, abs=0.1), "EMT counts from the crystal at rest"
    assert emt.label(Crystal.from_ase(bulk("Si"))).status == "failed"

"""Labels by ASE calculators, files of labels, and settings; `test_labelers.py` has the contract of every labeler."""

from dataclasses import replace
from pathlib import Path

import ase
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.label.base import Label, Labeler
from kappaforge.label.dataset import read_labels, write_labels
from kappaforge.label.kpoints import kpoint_mesh, reduced
from kappaforge.label.registry import load
from kappaforge.label.settings import LabelSettings

ASE = ["ase:ase.calculators.emt:EMT", "ase:ase.calculators.lj:LennardJones"]

ENGINE_OF_FILES = """
from pathlib import Path
from ase.calculators.calculator import BaseCalculator
from ase.calculators.lj import LennardJones

class Engine(BaseCalculator):
    implemented_properties = ["energy", "forces", "stress"]

    def calculate(self, atoms, properties, system_changes):
        with Path(__file__).with_name("runs").open("a") as handle:
            print(*sorted(properties), file=handle)
        self.results = {name: LennardJones().get_property(name, atoms) for name in properties}

def make():
    return Engine({"cutoff": 60})
"""


def labeler(name: str) -> Labeler:
    return load(LabelSettings(labeler=name))


def test_ase_labeler_gives_what_the_calculator_gives() -> None:
    copper = Crystal.from_ase(bulk("Cu", a=3.7), id="copper")
    label = labeler(ASE[0]).label(copper)
    atoms = copper.to_ase()
    atoms.calc = EMT()
    assert label.energy_ev == atoms.get_potential_energy()
    np.testing.assert_array_equal(label.stress_ev_per_ang3, atoms.get_stress(voigt=False))


def test_ase_labeler_names_path_versions_and_parameters(labels: list[Label], tmp_path: Path) -> None:
    engine = labeler(ASE[1])
    for fact in (ASE[1], f"ase {ase.__version__}", '"rc": 3.0'):
        assert fact in engine.fingerprint
    assert engine.fingerprint != labeler(ASE[0]).fingerprint
    assert engine.fingerprint == labeler(ASE[1]).fingerprint
    write_labels([replace(label, engine=engine.fingerprint) for label in labels], tmp_path / "labels.extxyz")
    assert {label.engine for label in read_labels(tmp_path / "labels.extxyz")} == {engine.fingerprint}


def test_ase_labeler_reports_failures_of_one_crystal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silicon = Crystal.from_ase(bulk("Si"), id="silicon")
    label = labeler(ASE[0]).label(silicon)
    assert (label.status, label.energy_ev, label.forces_ev_per_ang) == ("failed", None, None)
    assert "Si" in label.reason
    (tmp_path / "unconverging.py").write_text(
        "from ase.calculators.calculator import Calculator, SCFError\n"
        "class Engine(Calculator):\n"
        "    implemented_properties = ['energy', 'forces']\n"
        "    def calculate(self, *arguments):\n"
        "        raise SCFError('no minimum after 7 steps')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    label = labeler("ase:unconverging:Engine").label(silicon)
    assert (label.status, label.reason) == ("unconverged", "SCFError: no minimum after 7 steps")


def test_ase_labeler_runs_an_engine_once_for_each_crystal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines that work through files compute only what they are asked for, and again when asked for more."""
    (tmp_path / "engine_of_files.py").write_text(ENGINE_OF_FILES)
    monkeypatch.syspath_prepend(tmp_path)
    neon = Crystal.from_ase(bulk("Ne", "fcc", a=1.7), id="neon")
    engine = labeler("ase:engine_of_files:make")
    label, direct = engine.label(neon), labeler(ASE[1]).label(neon)
    assert (label.status, label.reason) == ("ok", "")
    assert label.energy_ev == direct.energy_ev
    np.testing.assert_array_equal(label.stress_ev_per_ang3, direct.stress_ev_per_ang3)
    assert '"cutoff": 60' in engine.fingerprint
    assert (tmp_path / "runs").read_text() == "energy forces stress\n"


@pytest.fixture
def labels(rng: np.random.Generator) -> list[Label]:
    crystals = [Crystal.from_ase(bulk("C", a=3.5 + 0.1 * n), id=f"c{n}", source="test") for n in range(3)]
    return [
        Label(crystal.id, crystal, "engine 1", energy_ev=-18.1, forces_ev_per_ang=rng.normal(size=(2, 3)))
        for crystal in crystals
    ]


@pytest.mark.parametrize("name", ["labels.extxyz", "labels.extxyz.gz"])
def test_labels_come_back_from_their_file(labels: list[Label], tmp_path: Path, name: str) -> None:
    write_labels(labels, tmp_path / name)
    for back, label in zip(read_labels(tmp_path / name), labels, strict=True):
        assert (back.id, back.engine, back.energy_ev) == (label.id, label.engine, label.energy_ev)
        np.testing.assert_array_equal(back.forces_ev_per_ang, label.forces_ev_per_ang)
        np.testing.assert_array_equal(back.crystal.positions, label.crystal.positions)


def test_labels_of_different_engines_are_never_mixed(labels: list[Label], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be mixed: 'engine 1' and 'engine 2'"):
        write_labels([*labels, replace(labels[0], engine="engine 2")], tmp_path / "labels.extxyz")


def test_files_without_labels_are_refused(tmp_path: Path, diamond: Crystal) -> None:
    path = tmp_path / "plain.extxyz"
    diamond.to_ase().write(path)
    with pytest.raises(InputError, match="lacks energy, forces or engine"):
        read_labels(path)
    path.write_text("damaged")
    with pytest.raises(InputError, match="not readable"):
        read_labels(path)
    with pytest.raises(InputError, match="does not exist"):
        read_labels(tmp_path / "nothing")


def test_kpoint_mesh_follows_vasps_rule(diamond: Crystal) -> None:
    cube = Crystal.from_ase(bulk("C", a=4.0, cubic=True))
    assert kpoint_mesh(cube, 2 * np.pi / 4.0 / 5) == (5, 5, 5)
    assert kpoint_mesh(cube, 2 * np.pi / 4.0 / 4.99) == (5, 5, 5)
    assert kpoint_mesh(diamond, 100.0) == (1, 1, 1)


def test_niggli_cell_is_the_same_crystal_in_the_same_frame(diamond: Crystal) -> None:
    skewed = diamond.moved_to(np.array([[1, 0, 0], [3, 1, 0], [-2, 1, 1]]) @ diamond.cell, diamond.positions)
    again = reduced(skewed)
    basis = again.cell @ np.linalg.inv(skewed.cell)
    np.testing.assert_allclose(basis, np.round(basis), atol=1e-8)
    assert abs(np.linalg.det(basis)) == pytest.approx(1.0)
    assert np.linalg.norm(again.cell, axis=1).max() < 2.6 < np.linalg.norm(skewed.cell, axis=1).max()
    np.testing.assert_array_equal(again.positions, skewed.positions)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'gpaw'"):
        load(LabelSettings(labeler="gpaww"))
    with pytest.raises(InputError, match="labeler 'ase:no_such:thing': cannot import it"):
        load(LabelSettings(labeler="ase:no_such:thing"))
    with pytest.raises(InputError, match="through kappaforge vasp"):
        load(LabelSettings(labeler="vasp"))
    with pytest.raises(InputError, match="kspacing_per_ang"):
        LabelSettings(kspacing_per_ang=0.0)

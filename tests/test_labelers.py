"""The contract of `Labeler`, for every labeler that is installed; the reason of a skip says how to install one.

Coarse settings: what is tested is the contract, not carbon.
"""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read, write

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.label import espresso
from kappaforge.label.base import Label, Labeler
from kappaforge.label.dataset import same_engine, write_labels
from kappaforge.label.registry import LABELERS, load
from kappaforge.label.settings import LabelSettings

EVERY = [*LABELERS, "ase:ase.calculators.emt:EMT", "ase:ase.calculators.lj:LennardJones"]
COARSE = LabelSettings(xc="PBE", cutoff_ev=520.0, kspacing_per_ang=1.5)
DIAMOND = Crystal.from_ase(bulk("C", "diamond", a=3.567), id="diamond", source="test")
BENT = DIAMOND.moved_to(DIAMOND.cell, DIAMOND.positions + np.array([[0.0, 0.0, 0.0], [0.05, 0.02, -0.03]]))
STEP = 0.01


def labeler(name: str, **settings: object) -> Labeler:
    try:
        return load(replace(COARSE, labeler=name, **settings))
    except InputError as error:
        if "apt-get install" not in str(error):
            raise
        pytest.skip(str(error))


def strained(crystal: Crystal, strain: np.ndarray) -> Crystal:
    deform = np.eye(3) + strain
    return crystal.moved_to(crystal.cell @ deform, crystal.positions @ deform)


@cache
def labels(name: str) -> list[Label]:
    """The bent crystal, the same with atom 1 moved ahead and back along x, and once more the bent one."""
    shift = STEP * np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    engine = labeler(name)
    return [engine.label(BENT.moved_to(BENT.cell, BENT.positions + sign * shift)) for sign in (0, 1, -1, 0)]


@pytest.mark.parametrize("name", EVERY)
def test_label_has_its_contents_and_leaves_the_crystal_as_it_was(name: str) -> None:
    engine, digest = labeler(name), BENT.digest
    label = labels(name)[0]
    assert isinstance(engine, Labeler)
    assert engine.name == name
    assert (label.status, label.reason, label.id, label.engine) == ("ok", "", "diamond", engine.fingerprint)
    assert label.crystal.digest == BENT.digest == digest
    assert label.forces_ev_per_ang.shape == (2, 3)
    assert label.forces_ev_per_ang.dtype == np.float64
    assert label.stress_ev_per_ang3 is None or label.stress_ev_per_ang3.shape == (3, 3)
    assert label.seconds > 0
    np.testing.assert_allclose(label.forces_ev_per_ang.sum(axis=0), 0.0, atol=0.1)


@pytest.mark.parametrize("name", EVERY)
def test_forces_are_the_gradient_of_the_energy(name: str) -> None:
    label, ahead, behind, _ = labels(name)
    slope = -(ahead.energy_ev - behind.energy_ev) / (2 * STEP)
    assert label.forces_ev_per_ang[1, 0] == pytest.approx(slope, abs=0.05)


@pytest.mark.parametrize("name", EVERY)
def test_label_does_not_depend_on_the_crystals_before_it(name: str) -> None:
    first, _, _, again = labels(name)
    assert again.energy_ev == pytest.approx(first.energy_ev, abs=1e-8)
    np.testing.assert_allclose(again.forces_ev_per_ang, first.forces_ev_per_ang, atol=1e-6)


@pytest.mark.parametrize("name", EVERY)
def test_fingerprint_is_stable_and_one_line(name: str) -> None:
    fingerprint = labeler(name).fingerprint
    assert labeler(name).fingerprint == fingerprint
    assert fingerprint.startswith(name)
    assert "\n" not in fingerprint


@pytest.mark.parametrize("name", LABELERS)
def test_fingerprint_tells_settings_apart(name: str) -> None:
    others: list[dict[str, object]] = [
        {"xc": "optB88-vdW"},
        {"cutoff_ev": 600.0},
        {"kspacing_per_ang": 0.4},
        {"smearing_ev": 0.2},
        {"spin_polarised": True},
    ]
    fingerprints = {labeler(name, **other).fingerprint for other in ({}, *others)}
    assert len(fingerprints) == 1 + len(others)


@pytest.mark.parametrize("name", LABELERS)
def test_calculation_that_does_not_converge_is_a_label_that_says_so(name: str) -> None:
    label = labeler(name, max_iterations=2).label(BENT)
    assert label.status == "unconverged"
    assert "2 iterations" in label.reason
    assert (label.energy_ev, label.forces_ev_per_ang, label.stress_ev_per_ang3) == (None, None, None)


@pytest.mark.parametrize("name", EVERY[:-1])  # Lennard-Jones takes every element
def test_element_the_engine_does_not_have_is_a_failed_label(name: str) -> None:
    engine = labeler(name)
    label = engine.label(Crystal.from_ase(bulk("Po", "sc", a=3.35), id="polonium"))
    assert (label.status, label.energy_ev, label.engine) == ("failed", None, engine.fingerprint)
    assert "Po" in label.reason
    assert "\n" not in label.reason


@pytest.mark.parametrize("name", LABELERS)
def test_crash_of_one_crystal_is_a_failed_label(name: str) -> None:
    label = labeler(name).label(DIAMOND.moved_to(DIAMOND.cell, 0.01 * DIAMOND.positions))
    assert (label.status, label.energy_ev, label.forces_ev_per_ang) == ("failed", None, None)
    assert label.reason
    assert "\n" not in label.reason


@pytest.mark.parametrize("name", LABELERS)
def test_functional_the_engine_does_not_know_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="'PBEE'") as caught:
        labeler(name, xc="PBEE")
    assert "\n" not in str(caught.value)


def _hide_gpaw(monkeypatch: pytest.MonkeyPatch, empty: Path) -> None:
    monkeypatch.setitem(sys.modules, "gpaw", None)
    monkeypatch.setitem(sys.modules, "gpaw.xc", None)


def _hide_espresso(monkeypatch: pytest.MonkeyPatch, empty: Path) -> None:
    monkeypatch.setenv("PATH", str(empty))
    espresso.version_of.cache_clear()


@pytest.mark.parametrize(("name", "hide"), [("gpaw", _hide_gpaw), ("espresso", _hide_espresso)])
def test_missing_engine_is_one_line_that_says_what_to_install(
    name: str, hide: Callable[[pytest.MonkeyPatch, Path], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hide(monkeypatch, tmp_path)
    with pytest.raises(InputError, match=rf"labeler '{name}' needs .*apt-get install") as caught:
        load(replace(COARSE, labeler=name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", LABELERS)
def test_labels_of_two_engines_are_never_mixed(name: str, tmp_path: Path) -> None:
    mixed = [labels(name)[0], labels(EVERY[-1])[0]]
    with pytest.raises(InputError, match="cannot be mixed"):
        same_engine(mixed)
    with pytest.raises(InputError, match="cannot be mixed"):
        write_labels(mixed, tmp_path / "labels.extxyz")
    assert not (tmp_path / "labels.extxyz").exists()


def test_gpaw_labels_diamond_with_the_papers_functional() -> None:
    """On a coarse mesh; by symmetry the forces vanish all the same."""
    label = labeler("gpaw", xc="optB88-vdW", cutoff_ev=600.0).label(DIAMOND)
    assert (label.status, label.reason) == ("ok", "")
    assert label.stress_ev_per_ang3 is None  # GPAW's stress of this functional is wrong
    np.testing.assert_allclose(label.forces_ev_per_ang, 0.0, atol=1e-3)


@pytest.mark.parametrize("name", [*(pytest.param(each, marks=pytest.mark.slow) for each in LABELERS), EVERY[-2]])
def test_command_labels_the_others_and_fails_only_where_there_are_none(name: str, tmp_path: Path) -> None:
    labeler(name)
    polonium, files = bulk("Po", "sc", a=3.35), {"one": tmp_path / "one.extxyz", "two": tmp_path / "two.extxyz"}
    write(files["one"], polonium)
    write(files["two"], [polonium, BENT.to_ase()])
    for key, code, message in (("two", 0, "1 of 2 labelled"), ("one", 1, "0 of 1 labelled")):
        arguments = ["label", files[key], "--labeler", name, "--xc", "PBE", "--cutoff", 520, "--kspacing", 1.5]
        arguments += ["--run", tmp_path / key, "--workers", 1, "--output", tmp_path / f"{key}-labels.extxyz"]
        command = [sys.executable, "-c", "from kappaforge.cli.main import main; main()", *map(str, arguments)]
        ended = subprocess.run(command, capture_output=True, text=True)
        assert ended.returncode == code, ended.stderr
        assert message in ended.stdout
        assert ": failed: " in ended.stdout
    assert len(read(tmp_path / "two-labels.extxyz", ":")) == 1
    assert ended.stderr.strip().splitlines()[-1].startswith("kappaforge: none of 1 crystals could be labelled")


@pytest.mark.slow
@pytest.mark.parametrize("name", LABELERS)
def test_trusted_stress_is_the_derivative_of_the_energy(name: str) -> None:
    """With so many plane waves that their number does not count: with 800 eV, GPAW's Pulay stress is 1.7 GPa."""
    engine, strain, h = labeler(name, cutoff_ev=1600.0), np.diag([1.0, 0.5, 0.2]), 0.004
    strain[0, 1] = strain[1, 0] = 0.5
    ahead, behind = (engine.label(strained(BENT, sign * h * strain)) for sign in (1, -1))
    label = engine.label(BENT)
    volume = abs(np.linalg.det(BENT.cell))
    slope = (ahead.energy_ev - behind.energy_ev) / (2 * h) / volume
    assert (label.stress_ev_per_ang3 * strain).sum() == pytest.approx(slope, abs=0.002)  # 0.3 GPa


@pytest.mark.slow
def test_engines_agree_on_forces() -> None:
    """GPAW and Quantum ESPRESSO share neither code nor potentials."""
    settings = {"cutoff_ev": 600.0, "kspacing_per_ang": 0.8}
    first, second = (labeler(name, **settings).label(BENT) for name in ("gpaw", "espresso"))
    np.testing.assert_allclose(first.forces_ev_per_ang, second.forces_ev_per_ang, atol=0.03)
    np.testing.assert_allclose(first.stress_ev_per_ang3, second.stress_ev_per_ang3, atol=0.005)


def test_espresso_takes_pseudopotentials_from_the_folder_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = labeler("espresso")
    monkeypatch.setenv("ESPRESSO_PSEUDO", str(tmp_path))
    with pytest.raises(InputError, match="found no PBE pseudopotentials"):
        load(replace(COARSE, labeler="espresso"))
    one = next(Path(espresso.DEBIAN_PSEUDOPOTENTIALS).glob("C.pbe-n-kjpaw*"))
    (tmp_path / "C.upf").symlink_to(one)
    other = load(replace(COARSE, labeler="espresso"))
    assert "pseudopotentials C.upf (sha256 " in other.fingerprint
    assert other.fingerprint != engine.fingerprint
    boron = other.label(Crystal.from_ase(bulk("B", "diamond", a=3.8), id="boron"))
    assert (boron.status, "no PBE pseudopotential of B" in boron.reason) == ("failed", True)

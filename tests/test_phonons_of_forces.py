"""Phonons of forces that were computed elsewhere, alone and under a potential's own."""

from __future__ import annotations

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from typer.testing import CliRunner

from kappaforge.campaign.displaced import read_second_order, write_displaced
from kappaforge.campaign.phonons import PhononSettings, phonons_of, phonons_of_forces
from kappaforge.cli.main import app
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.dataset.readers import read
from kappaforge.errors import InputError
from kappaforge.potentials.base import Batch
from kappaforge.potentials.registry import load
from kappaforge.relax.relaxer import relax
from kappaforge.relax.settings import RelaxSettings
from kappaforge.screen.settings import ScreenSettings
from kappaforge.transport.order_settings import ForceConstantSettings

SETTINGS = PhononSettings(ForceConstantSettings(fc2_face_distance_ang=6.0), 0.05, 15.0)
RELAX, SCREEN = RelaxSettings(), ScreenSettings()
DIAMOND = next(entry.crystal for entry in known_carbons() if entry.crystal.id == "diamond")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Displaced supercells of diamond with the forces of `brenner` in those of second order alone."""
    brenner = load("brenner")
    (record,) = relax([DIAMOND], brenner, RELAX.tightened())
    folder = tmp_path_factory.mktemp("forces") / "displaced"
    write_displaced(record.crystal, folder, SETTINGS.force_constants)
    frames = []
    for entry in read(folder / "supercells-order2.extxyz"):
        frames.append(entry.crystal.to_ase())
        forces = brenner.compute(Batch.of([entry.crystal])).forces_ev_per_ang
        frames[-1].calc = SinglePointCalculator(frames[-1], forces=forces)
    ase.io.write(folder / "forces.extxyz", frames)
    return folder


def test_phonons_of_given_forces_are_those_of_the_potential_that_made_them(folder: Path) -> None:
    brenner = load("brenner")
    displaced, second = read_second_order(folder)
    record = phonons_of_forces(displaced.primitive, second, "given", RELAX, SETTINGS, SCREEN, compared_to=brenner)
    assert (record.status, record.potential, record.symmetry.space_group_number) == ("ok", "given", 227)
    assert record.dispersion is not None
    assert record.comparison is not None
    np.testing.assert_allclose(record.comparison.frequencies_thz, record.dispersion.frequencies_thz, atol=2e-3)
    own = phonons_of(DIAMOND, brenner, RELAX, SETTINGS, SCREEN)
    assert record.max_frequency_thz == pytest.approx(own.max_frequency_thz, abs=2e-3)


def test_phonons_command_draws_a_potential_over_given_forces(folder: Path, tmp_path: Path) -> None:
    arguments = ["--spacing", "0.05", "--mesh-length", "15", "--face-distance", "6"]
    given = ["phonons", "--forces", str(folder), "--compare", "tersoff", "-o", str(tmp_path), *arguments]
    result = CliRunner().invoke(app, [*given, "--json"])
    assert result.exit_code == 0, result.output
    content = json.loads(result.output)
    assert content["potential"] == f"forces in {folder}"
    assert content["comparison"]["potential"] == "tersoff"
    assert content["comparison"]["rms_difference_thz"] > 0.1
    assert (tmp_path / "diamond-dispersion-compared.csv").exists()
    assert (tmp_path / "diamond-dispersion.png").stat().st_size > 10_000


def test_phonons_of_forces_say_what_is_missing(folder: Path, tmp_path: Path) -> None:
    for given in ([], [str(folder / "forces.extxyz"), "--forces", str(folder)]):
        result = CliRunner().invoke(app, ["phonons", *given])
        assert isinstance(result.exception, InputError)
        assert "give FILES of crystals, or --forces FOLDER" in str(result.exception)
    write_displaced(DIAMOND, tmp_path / "empty", SETTINGS.force_constants)
    with pytest.raises(InputError, match=r"no forces in it; label its supercells-order2.extxyz and put the result"):
        read_second_order(tmp_path / "empty")

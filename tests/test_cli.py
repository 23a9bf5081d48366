"""The command line as a user meets it: real processes, real files."""

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read, write

from commands import kappaforge, refuse, rows, succeed
from kappaforge.campaign.displaced import read_forces
from kappaforge.potentials.registry import load
from kappaforge.store.row import COLUMNS
from kappaforge.store.run_folder import DATABASE, RunFolder
from kappaforge.transport.order_settings import ForceConstantSettings
from kappaforge.transport.orders import order2, order3


def test_help_lists_every_command() -> None:
    text = succeed("--help")
    commands = ("init", "run", "resume", "status", "report", "generate", "relax", "screen", "describe", "select")
    for command in (*commands, "kappa", "phonons"):
        assert command in text
    assert succeed("--version").startswith("kappaforge ")


def test_kappa_of_a_poscar_tells_tensor_mesh_supercell_potential_and_time_per_part(poscar: Path) -> None:
    text = succeed("kappa", poscar, "--mesh", "5", "--method", "paper", "--supercell", "2")
    for fact in ("largest eigenvalue", "5×5×5", "of 16 atoms", "carbon", "relax", "forces", "Fd-3m"):
        assert fact in text


def test_ids_with_brackets_are_printed_as_they_are(tmp_path: Path) -> None:
    atoms = bulk("C", "diamond", a=3.56)
    atoms.info["id"] = "[/red]cut [bold]"
    write(tmp_path / "odd.extxyz", atoms)
    for command in (("screen",), ("select", "-n", 1), ("relax",)):
        assert "[/red]cut [bold]" in succeed(command[0], tmp_path / "odd.extxyz", *command[1:])


def test_kappa_json_has_the_columns_and_an_isotropic_tensor_for_a_cubic_crystal(poscar: Path) -> None:
    (row,) = rows(succeed("kappa", poscar, "--mesh", "5", "--method", "paper", "--supercell", "2", "--json"))
    tensor = np.array(row["kappa_rta_w_per_mk"])
    assert (row["status"], row["mesh"], row["space_group_number"], row["n_atoms"]) == ("ok", [5, 5, 5], 227, 2)
    np.testing.assert_allclose(tensor, row["kappa_rta_max_w_per_mk"] * np.eye(3), atol=1e-6 * tensor.max())


def test_steps_hand_files_to_each_other(tmp_path: Path) -> None:
    names = ("raw.extxyz", "relaxed.extxyz", "kept", "few.extxyz")
    raw, relaxed, kept, chosen = (tmp_path / name for name in names)
    generated = rows(succeed("generate", "-n", 6, "--seed", 3, "--max-atoms", 4, "--output", raw, "--json"))
    assert len(generated) == len(read(raw, ":"))
    records = rows(succeed("relax", raw, "--output", relaxed, "--json"))
    assert [row["id"] for row in records] == [row["id"] for row in generated]
    converged = [row["id"] for row in records if row["status"] == "ok"]
    screened = rows(succeed("screen", relaxed, "--output", kept, "--json"))
    assert [row["id"] for row in screened] == converged
    survivors = [row["id"] for row in screened if not row["reason"]]
    assert survivors
    described = rows(succeed("describe", kept, "--output", tmp_path / "features.h5", "--json"))
    assert [row["id"] for row in described] == survivors
    assert (tmp_path / "features.h5").exists()
    picked = rows(succeed("select", kept, "-n", 2, "--output", chosen, "--json"))
    assert {row["id"] for row in picked} <= set(survivors)
    assert len(read(chosen, ":")) == len(picked) == min(2, len(survivors))


def test_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        succeed("generate", "-n", 3, "--seed", 5, "--max-atoms", 4, "--output", tmp_path / f"{name}.extxyz")
    assert (tmp_path / "a.extxyz").read_bytes() == (tmp_path / "b.extxyz").read_bytes()


def test_bad_files_are_refused_in_one_line(tmp_path: Path, poscar: Path) -> None:
    assert "POSCAR" in refuse("kappa", tmp_path / "POSCARR")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert str(empty) in refuse("relax", empty)
    overlapping = bulk("C", "diamond", a=3.56)
    overlapping.positions[1] = overlapping.positions[0] + [0.1, 0.0, 0.0]
    write(tmp_path / "overlap.cif", overlapping)
    assert "overlap.cif" in refuse("kappa", tmp_path / "overlap.cif")
    garbage = tmp_path / "garbage.cif"
    garbage.write_text("this is no crystal")
    assert "garbage.cif" in refuse("screen", garbage)


def test_element_the_potential_does_not_know_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "POSCAR", bulk("Cu"), format="vasp")
    assert "does not know Cu" in refuse("kappa", tmp_path / "POSCAR")
    assert "does not know Cu" in refuse("relax", tmp_path / "POSCAR")


def test_wrong_names_and_numbers_are_refused(tmp_path: Path, poscar: Path) -> None:
    assert "did you mean 'tersoff'?" in refuse("kappa", poscar, "--potential", "tersof")
    assert "--mesh" in refuse("kappa", poscar, "--mesh", "3x3")
    assert "did you mean 'demo'?" in refuse("init", tmp_path / "run", "--template", "dem")


def test_run_folders_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert "kappaforge init" in refuse("run", run)
    succeed("init", run, "--template", "demo")
    assert "exists already" in refuse("init", run)
    succeed("init", run, "--template", "demo", "--keep")
    assert "nothing to resume" in refuse("resume", run)
    assert "kappaforge run" in refuse("status", run)
    assert "kappaforge run" in refuse("report", run)
    RunFolder.open(run, write=True).close()
    with sqlite3.connect(run / DATABASE) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    for command in ("run", "resume", "status", "report"):
        assert "schema 99" in refuse(command, run)
    settings = run / "campaign.toml"
    settings.write_text(settings.read_text().replace("n = 160", "nn = 160"))
    assert "[generate] unknown key 'nn'" in refuse("run", run)


def test_labels_are_taken_over_and_collected(poscar: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.extxyz.gz", tmp_path / "second.extxyz.gz"
    run, other, engine = tmp_path / "run", tmp_path / "other", ("--labeler", "ase:ase.calculators.emt:EMT")
    succeed("label", poscar, *engine, "--run", run, "--output", first)
    assert "1 of 1 labelled" in succeed("label", poscar, *engine, "--run", run, "--collect")
    succeed("label", poscar, *engine, "--run", other, "--done", first, "--output", second)
    assert first.read_bytes() == second.read_bytes()
    with sqlite3.connect(other / DATABASE) as connection:
        assert connection.execute("SELECT count(*) FROM tasks").fetchone() == (0,)
    morse = ("--labeler", "ase:ase.calculators.morse:MorsePotential")
    assert "cannot be mixed" in refuse("label", poscar, *morse, "--run", other, "--done", first)


def test_label_takes_any_ase_calculator(poscar: Path, tmp_path: Path) -> None:
    labels, engine = tmp_path / "labels.extxyz", "ase:ase.calculators.emt:EMT"
    arguments = ("label", poscar, "--labeler", engine, "--run", tmp_path / "run", "--output", labels)
    assert "1 of 1 labelled" in succeed(*arguments)
    assert engine in read(labels).info["engine"]


def test_vasp_writes_inputs_and_tells_which_have_no_results(poscar: Path, tmp_path: Path) -> None:
    folder = tmp_path / "vasp"
    assert "inputs of 1 crystals" in succeed("vasp", "write", poscar, "--output", folder)
    assert "GGA = Bo" in next(folder.glob("*/INCAR")).read_text()
    text = succeed("vasp", "read", folder)
    assert "VASP has not run in this folder" in text
    assert "0 of 1 labelled" in text
    assert "exists and may hold results" in refuse("vasp", "write", poscar, "--output", folder)
    assert "no sub-folder holds a POSCAR" in refuse("vasp", "read", tmp_path / "nothing")


def test_displaced_supercells_are_labelled_and_give_force_constants(tmp_path: Path) -> None:
    assert "kappaforge kappa --forces FOLDER" in " ".join(succeed("displace", "--help").split())
    write(tmp_path / "POSCAR", bulk("Cu", a=3.5), format="vasp")
    emt, folder, small = (
        "ase:ase.calculators.emt:EMT",
        tmp_path / "displaced",
        ("--fc2-distance", 5, "--fc3-distance", 5),
    )
    options = ("--output", folder, "--way", "fit", "--fit-cutoff", 3.8, "--relax", "--potential", emt)
    text = succeed("displace", tmp_path / "POSCAR", *small, *options)
    for fact in ("space group 225", "order 2: ", "order 3: ", "(fit)", f"kappaforge kappa --forces {folder}"):
        assert fact in text
    supercells = [folder / f"supercells-order{order}.extxyz" for order in (2, 3)]
    forces = folder / "forces.extxyz"
    succeed("label", *supercells, "--labeler", emt, "--run", tmp_path / "labels", "-w", 1, "--output", forces)
    primitive, second, third = read_forces(folder)
    settings = ForceConstantSettings(5.0, 5.0, fc3_fit_cutoff_ang=3.8, way="fit")
    assert np.linalg.norm(primitive.crystal.cell[0]) == pytest.approx(3.59 / np.sqrt(2), abs=0.01), "it was relaxed"
    expected = order2(primitive, load(emt), settings).fc2, order3(primitive, load(emt), settings).fc3
    for found, directly in zip((second.fc2, third.fc3), expected, strict=True):
        np.testing.assert_allclose(found, directly, atol=1e-8 * np.abs(directly).max(), rtol=0)
    (row,) = rows(succeed("kappa", "--forces", folder, "--mesh", 5, "--json"))
    assert (row["status"], row["mesh"], row["potential"]) == ("ok", [5, 5, 5], f"forces in {folder}")
    assert row["kappa_lbte_max_w_per_mk"] > 0
    assert "give FILES of crystals, or --forces" in refuse("kappa")
    assert "exists and may hold forces" in refuse("displace", tmp_path / "POSCAR", "--output", folder)
    assert "holds 7 crystals" in refuse("displace", supercells[1], "--output", tmp_path / "new")
    assert "way: expected one of" in refuse("displace", tmp_path / "POSCAR", "-o", tmp_path / "new", "--way", "best")


def test_kappa_tells_how_sure_it_is(poscar: Path, tmp_path: Path) -> None:
    small = ("--mesh", 3, "--fc2-distance", 5, "--fc3-distance", 4.5, "--cutoff", 2, "--level", "rta")
    common = ("kappa", poscar, "-p", "brenner", *small, "--committee", "--cutoffs", "-w", 1, "--run", tmp_path / "run")
    ended = kappaforge(*common, "--json")
    assert "'brenner' has no committee" in ended.stderr
    (row,) = rows(ended.stdout)
    errors = [row[f"kappa_{name}_error_w_per_mk"] for name in ("supercell", "cutoff")]
    assert row["kappa_error_w_per_mk"] == pytest.approx(np.hypot(*errors))
    assert (row["kappa_committee_spread"], row["kappa_error_notes"], row["committee"]) == (None, "", [])
    assert [trial["name"] for trial in row["wider"]] == ["supercells", "cutoff"]
    text = succeed(*common)
    assert f"{row['kappa_rta_max_w_per_mk']:.2f} ± {row['kappa_error_w_per_mk']:.3g} W/(m·K)" in text
    assert f"supercells {errors[0]:.3g}, cutoff {errors[1]:.3g}" in text
    assert "leave one of the two out" in refuse("kappa", poscar, "--method", "paper", "--cutoffs")
    assert "not with --forces or level harmonic" in refuse("kappa", poscar, "--level", "harmonic", "--committee")


def test_kappa_goes_on_from_its_run_folder_and_writes_tables_and_modes(poscar: Path, tmp_path: Path) -> None:
    common = ("kappa", poscar, "-p", "brenner", "--mesh", 3, "--fc2-distance", 5, "--fc3-distance", 4.5, "--cutoff", 2)
    first, again = (succeed(*common, "--run", tmp_path / "run", "--json") for _ in range(2))
    assert first == again, "the second comes from the folder, times and all"
    row = json.loads(first)
    assert (row["method"], row["meshes"], row["level"]) == ("converged", [[3, 3, 3]], "full")
    assert row["solutions"][0]["temperature_k"] == 300.0
    assert set(row["peak_gib_by_part"]) == set(row["seconds_by_part"])
    table = succeed(*common, "-T", 200, "--csv", "--modes", tmp_path / "modes").splitlines()
    assert table[0].split(",")[: len(COLUMNS)] == list(COLUMNS)
    (file,) = (tmp_path / "modes").glob("*/kappa-m333.hdf5")
    for name in ("lifetimes", "linewidths", "speeds", "cumulative-kappa"):
        assert file.with_name(f"{name}.png").stat().st_size > 10_000
    (tmp_path / "file").touch()
    assert "is a file, or in one; give a folder" in refuse(*common, "--run", tmp_path / "file")
    assert "leave --collisions" in refuse("kappa", poscar, "--method", "paper", "--collisions", "cells2")
    assert "collisions: expected one of" in refuse("kappa", poscar, "--collisions", "cells2")

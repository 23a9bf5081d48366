"""What a run writes for other programs, read back by them."""

import csv
import json
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
from ase.build import bulk
from pymatgen.core import Structure
from pymatgen.io.optimade import OptimadeStructureAdapter

from kappaforge.cli.export import FILES, export
from kappaforge.cli.status import status
from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.store.published import PUBLISHED, Published
from kappaforge.store.row import Row
from kappaforge.store.run_folder import RunFolder, StepProgress

TENSOR = np.array([[2000.0, 1.5, 0.0], [1.5, 1900.0, 0.0], [0.0, 0.0, 1800.0]])
REASON = 'same as "C:\\x" of the data set, 0.1 eV/atom'


@pytest.fixture
def run(tmp_path: Path, diamond: Crystal) -> Path:
    """A run folder of two crystals: one with κ, one that was left out; its id looks like a number."""
    boron_nitride = Crystal.from_ase(bulk("BN", "zincblende", a=3.615), id="0017", source="generator", parents=("ab",))
    rows = [
        Row("diamond", "test", "C2", 2, 227, energy_ev_per_atom=-7.4, status="ok", stage="kappa", mesh=(9, 9, 9),
            kappa_rta_w_per_mk=TENSOR, kappa_rta_max_w_per_mk=2000.0, novel=False),
        Row("0017", "generator", "BN", 2, reason=REASON, stage="screen"),
    ]  # fmt: skip
    published = Published(
        "test", {}, {}, {"relax": 2, "novel": 1}, {"novel": {"in the data set": 1}}, rows, [diamond, boron_nitride]
    )
    with RunFolder.open(tmp_path, write=True) as folder:
        folder.record_progress(StepProgress("relax", 3, 8, 1, 1000.0, 1060.0, {"ok": 90, "failed": 6}), 0)
        folder.keep(PUBLISHED, published)
    return tmp_path


def exported(run: Path, format: str) -> Path:
    export(run, format)
    return run / "export" / FILES[format]


def test_ase_reads_the_extended_xyz(run: Path, diamond: Crystal) -> None:
    first, second = ase.io.read(exported(run, "extxyz"), index=":")
    assert np.allclose(first.cell.array, diamond.cell, atol=1e-7)
    assert np.allclose(first.positions, diamond.positions, atol=1e-7)
    assert first.info["energy_ev_per_atom"] == -7.4
    assert np.array_equal(first.info["kappa_rta_w_per_mk"], TENSOR)
    assert second.get_chemical_formula() == "BN"
    assert second.info["reason"] == REASON
    assert "kappa_rta_w_per_mk" not in second.info


def test_pymatgen_reads_the_cif_files(run: Path, diamond: Crystal) -> None:
    files = sorted(exported(run, "cif").iterdir())
    assert [file.name for file in files] == ["0017.cif", "diamond.cif"]
    found = [Structure.from_file(file) for file in files]
    assert [each.composition.reduced_formula for each in found] == ["BN", "C"]
    assert found[1].volume == pytest.approx(diamond.volume_ang3, rel=1e-8)


def test_csv_has_a_row_for_each_crystal(run: Path) -> None:
    with exported(run, "csv").open(newline="") as handle:
        first, second = csv.DictReader(handle)
    assert (first["id"], float(first["kappa_rta_max_w_per_mk"])) == ("diamond", 2000.0)
    assert json.loads(first["kappa_rta_w_per_mk"]) == TENSOR.tolist()
    assert (second["id"], second["reason"], second["kappa_rta_max_w_per_mk"]) == ("0017", REASON, "")


def test_ase_selects_from_its_database(run: Path, diamond: Crystal) -> None:
    database = ase.db.connect(exported(run, "ase.db"))
    assert database.count() == 2
    (found,) = database.select("kappa_rta_max_w_per_mk>100,stage=kappa")
    assert found.crystal_id == "diamond"
    assert np.array_equal(found.toatoms().positions, diamond.positions)
    assert found.data["kappa_rta_w_per_mk"] == TENSOR.tolist()
    (other,) = database.select(formula="BN")
    assert (other.data["id"], other.data["reason"], other.data["parents"]) == ("0017", REASON, ["ab"])


def test_pymatgen_reads_the_optimade_structures(run: Path, diamond: Crystal) -> None:
    answer = json.loads(exported(run, "optimade").read_text())
    assert answer["meta"]["data_returned"] == 2
    first, second = answer["data"]
    structure = OptimadeStructureAdapter.get_structure(first)
    assert np.array_equal(structure.lattice.matrix, diamond.cell)
    assert np.allclose(structure.cart_coords, diamond.positions, atol=1e-12)
    assert first["attributes"]["_kappaforge_kappa_rta_max_w_per_mk"] == 2000.0
    assert (second["id"], second["type"]) == ("0017", "structures")
    assert second["attributes"]["elements"] == ["B", "N"]
    assert second["attributes"]["chemical_formula_anonymous"] == "AB"
    standard = [key for key in first["attributes"] if not key.startswith("_kappaforge_")]
    assert {"nsites", "species", "species_at_sites", "structure_features", "last_modified"} < set(standard)


def test_crystals_above_a_limit_are_those_that_conduct_so_well(run: Path) -> None:
    def kept(limit: float) -> list[str]:
        export(run, "cif", above=limit)
        return [path.stem for path in (run / "export" / "cif").glob("*.cif")]

    assert kept(2000.0) == ["diamond"]
    with pytest.raises(InputError, match=r"κ of no crystal is 2000\.1"):
        kept(2000.1)


def test_a_second_export_takes_the_place_of_the_first(run: Path) -> None:
    for name in FILES:
        assert exported(run, name) == exported(run, name)
    assert ase.db.connect(run / "export" / FILES["ase.db"]).count() == 2


def test_unknown_format_and_empty_run_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'extxyz'"):
        export(run, "exyz")
    empty = tmp_path / "empty"
    empty.mkdir()
    RunFolder.open(empty, write=True).close()
    with pytest.raises(InputError, match="nothing to report yet"):
        export(empty, "csv")


def test_status_shows_counts_failures_rate_and_remaining_time(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status(run, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["driver"] is None
    assert found["steps"] == [
        {"step": "relax", "done": 3, "total": 8, "outcomes": {"ok": 90, "failed": 6}, "tasks_per_s": 2 / 60,
         "remaining_s": 150.0}
    ]  # fmt: skip
    assert found["discards"] == {"novel": {"in the data set": 1}}
    with RunFolder.open(run, write=True):
        status(run)
    shown = capsys.readouterr().out
    assert "driven by process" in shown
    for words in ("3 of 8", "ok: 90; failed: 6", "2 min", "in the data set: 1"):
        assert words in shown
    status(run)
    assert "not running, the last task was finished" in capsys.readouterr().out

"""What is taken out of the carbon campaign's run folder, and the page made of it."""

import json
import re
import sys
from pathlib import Path

import ase.io
import pytest

from kappaforge.store.row import Row
from small_campaign import TINY, drive, make_run

sys.path.append(str(Path(__file__).parents[1] / "tools"))

import carbon_10k
from carbon_10k_page import measured


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where results and page go, for a campaign that is smaller and conducts worse."""
    monkeypatch.setattr(carbon_10k, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(carbon_10k, "POINTS", (2, 4, 6))
    return tmp_path


def test_results_and_page_are_those_of_the_run(folder: Path) -> None:
    run = make_run(folder / "run", TINY)
    published = drive(run)
    carbon_10k.collect(run)
    rows, told = carbon_10k.read_rows(), json.loads((folder / "results" / "run.json").read_text())
    assert len(rows) == published.counts["symmetric"]
    images = ase.io.read(folder / "results" / "crystals.extxyz", index=":")
    assert [image.info["id"] for image in images] == [row.id for row in published.rows if row.map_x is not None]
    good = {row["id"] for row in rows if (row["kappa_rta_max_w_per_mk"] or 0) >= 100}
    assert {path.stem for path in (folder / "results" / "cif").glob("*.cif")} == good >= {"diamond"}
    assert told["counts"] == published.counts
    assert told["growth"]["6"][0] == published.counts["unique"]
    assert told["yields"]["6"]["distinct"] <= told["yields"]["6"]["crystals"] <= 6
    page = carbon_10k.rendered()
    assert f"{published.counts['symmetric']} are candidates" in page
    table = [line for line in page.splitlines() if re.match(r"\| \d+ \| ", line)]
    assert table[0].startswith("| 1 | diamond | diamond | 2 | 227 | ")


def test_ways_to_choose_are_compared_at_equal_numbers_of_kappas() -> None:
    def row(number: int, kappa: float, role: str, density: float) -> Row:
        return Row(
            f"{number}", n_atoms=1, kappa_rta_max_w_per_mk=kappa, role=role, density_g_per_cm3=density,
            conduction_w_per_mk_per_ps=kappa, stage="kappa",
        )  # fmt: skip

    rows = [
        row(0, 900.0, "benchmark", 1.0),
        row(1, 100.0, "neighbour", 1.1),
        row(2, 850.0, "", 3.5),
        row(3, 300.0, "", 3.6),
    ]
    found = carbon_10k.selection(rows, 800.0)
    assert (found["candidates"], found["above_limit"], found["evaluations"]) == (4, 2, 2)
    assert found["found"] == {"campaign": 1, "random": 1.0, "density": 1, "conduction": 2}


def test_known_carbons_are_found_again_also_where_the_data_set_has_them() -> None:
    rows = [
        Row("C-1", known_as="bct-C4"),
        Row("g0", reason="same as C-1 of the data set", novel=False),
        Row("g1", known_as="Z-carbon", novel=True),
        Row("g2", reason="same as C-2 of the data set", novel=False),
        Row("g3", novel=True),
    ]
    assert carbon_10k.found_again(rows) == ["Z-carbon", "bct-C4"]


def test_yield_counts_copies_too_and_networks_only(folder: Path) -> None:
    rows = [
        Row("C-1", kappa_rta_max_w_per_mk=900.0, dimensionality="3D"),
        Row("g0", reason="same as C-1 of the data set"),
        Row("g1", kappa_rta_max_w_per_mk=900.0, dimensionality="2D"),
        Row("g2", reason="same as g0"),
        Row("g3", kappa_rta_max_w_per_mk=800.0, dimensionality="3D"),
        Row("g4", kappa_rta_max_w_per_mk=700.0, dimensionality="3D"),
        Row("g5", reason="7 atoms"),
    ]
    assert carbon_10k.yields(rows, 1, 800.0)["6"] == {"crystals": 3, "distinct": 2}


def test_finer_meshes_are_told_beside_the_error_of_the_table() -> None:
    rows = [
        {"id": "a", "kappa_lbte_max_w_per_mk": 1000.0, "kappa_mesh_error_w_per_mk": 200.0},
        {"id": "b", "kappa_lbte_max_w_per_mk": 1000.0, "kappa_mesh_error_w_per_mk": 100.0},
        {"id": "c", "kappa_lbte_max_w_per_mk": 1000.0, "kappa_mesh_error_w_per_mk": 4.0},
    ]
    finer = [
        {"id": "a", "status": "ok", "kappa_lbte_max_w_per_mk": 900.0},
        {"id": "b", "status": "ok", "kappa_lbte_max_w_per_mk": 1020.0},
        {"id": "b", "status": "failed"},
        {"id": "c", "status": "ok", "kappa_lbte_max_w_per_mk": 1500.0, "chosen": True},
    ]
    drawn, chosen = measured(finer, rows)
    for told in ("of 2 networks", "6.0% in the median", "-10.0% to +2.0%", "in 1)", "35% of", "50% at most"):
        assert told in drawn
    assert chosen.endswith(": c by +50% (table: 0.4%).")
    assert measured([], rows) == []


def test_committed_page_and_readme_are_those_of_the_committed_results() -> None:
    assert carbon_10k.PAGE.read_text(encoding="utf-8") == carbon_10k.rendered()
    readme = carbon_10k.README.read_text(encoding="utf-8")
    assert carbon_10k.replaced(readme, carbon_10k.shown()) == readme

"""The report's tables, files and page, from a small made-up run."""

import csv
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

import ase.io
import numpy as np
import pytest
import spglib
from ase.build import bulk, graphene
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from kappaforge.crystal import Crystal
from kappaforge.report.explorer import chemiscope_script, explorer_data, json_for_script
from kappaforge.report.page import Picture, page, summary
from kappaforge.report.tables import kappa_eigenvalues, ranked_table, to_csv, to_json
from kappaforge.report.write import write_crystals, write_report
from kappaforge.store.published import LearningRound, Published
from kappaforge.store.row import COLUMNS, Row, ranked

HOSTILE = "</script><script>alert(1)</script> & \"quotes\" 'too' [bold]"


def tensor(*eigenvalues: float) -> np.ndarray:
    """A κ tensor with these eigenvalues, turned out of its principal axes."""
    angle = 0.7
    turn = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
    return turn @ np.diag(eigenvalues) @ turn.T


def conductor(crystal: Crystal, eigenvalues: tuple[float, float, float], **known: object) -> Row:
    row = Row(
        id=crystal.id,
        source=crystal.source,
        formula=crystal.formula,
        n_atoms=len(crystal),
        density_g_per_cm3=crystal.density_g_per_cm3,
        potential="tersoff",
        temperature_k=300.0,
        mesh=(11, 11, 11),
        kappa_rta_w_per_mk=tensor(*eigenvalues),
        kappa_rta_max_w_per_mk=max(eigenvalues),
        stage="kappa",
        role="benchmark",
    )
    return replace(row, **known)


@pytest.fixture
def published(diamond: Crystal, rng: np.random.Generator) -> Published:
    """Diamond and lonsdaleite with κ, one unstable crystal with a hostile name, and a few mere candidates."""
    diamond = replace(diamond, source="known crystals")
    hexagonal = bulk("C", "hcp", a=2.51, c=4.19)
    lonsdaleite = Crystal.from_ase(hexagonal, id="12e45", source="known crystals")
    layer = graphene(vacuum=1.7)
    layer.pbc = True
    unstable = Crystal.from_ase(layer, id=HOSTILE, source=HOSTILE)
    rows = [
        conductor(lonsdaleite, (900.0, 1785.0, 1200.0), space_group_number=194, map_x=3.0, map_y=-1.0),
        conductor(diamond, (2573.0, 2573.0, 2573.0), space_group_number=227, map_x=1.0, map_y=2.0),
        Row(id=HOSTILE, source=HOSTILE, formula="C2", status="unstable", reason=HOSTILE, role="neighbour"),
    ]
    crystals = [lonsdaleite, diamond, unstable]
    for index in range(5):
        atoms = bulk("C", "diamond", a=3.6).repeat((1, 1, 2))
        atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
        crystals.append(Crystal.from_ase(atoms, id=f"pyxtal-{index}", source="pyxtal"))
        rows.append(Row(id=f"pyxtal-{index}", source="pyxtal", formula="C4", map_x=float(index), map_y=0.5, novel=True))
    return Published(
        name="carbon <test>",
        settings={"seed": 7, "potential": {"name": "tersoff"}, "transport": {"mesh": {"length_ang": 25.0}}},
        versions={"kappaforge": "0.1.0", "phono3py": "4.8.0"},
        counts={"generate": 20, "relax": 12, "screen": 8, "kappa": 2},
        discards={"relax": {"fmax above 0.01 eV/Å": 8}, "screen": {"duplicate": 3, "N > 12": 1}},
        rows=rows,
        crystals=crystals,
        seconds_by_step={"generate": 1.25, "kappa": 60.0},
    )


# tables


def test_csv_has_the_stable_columns_in_rank_order_and_tensors_as_json(published):
    lines = list(csv.DictReader(to_csv(published.rows).splitlines()))
    assert tuple(lines[0]) == COLUMNS
    assert [line["id"] for line in lines] == [row.id for row in ranked(published.rows)]
    np.testing.assert_array_equal(json.loads(lines[0]["kappa_rta_w_per_mk"]), tensor(2573.0, 2573.0, 2573.0))
    assert json.loads(lines[0]["mesh"]) == [11, 11, 11]
    assert lines[-1]["reason"] in ("", HOSTILE)
    assert lines[-1]["kappa_rta_max_w_per_mk"] == ""


def test_json_and_csv_say_the_same(published):
    objects = json.loads(to_json(published.rows))
    for object_, line in zip(objects, csv.DictReader(to_csv(published.rows).splitlines()), strict=True):
        for name, value in object_.items():
            cell = line[name]
            assert cell == value if isinstance(value, str) else (json.loads(cell) if cell else None) == value


def test_uncertainty_of_a_run_that_learned_is_written_and_drawn(published, tmp_path):
    ids = ("diamond", "12e45")
    rounds = [
        LearningRound(1, 100, ids, np.array([31.5, 9.0]), added=("diamond",)),
        LearningRound(2, 108, ids, np.array([8.0, 7.25]), added=()),
    ]
    settings = {**published.settings, "learn": {"threshold_mev_per_atom": 15.0}}
    paths = write_report(replace(published, rounds=rounds, settings=settings), tmp_path)
    lines = list(csv.DictReader(paths["uncertainty.csv"].read_text().splitlines()))
    assert [line["n_labels"] for line in lines] == ["100", "100", "108", "108"]
    assert [float(line["energy_std_mev_per_atom"]) for line in lines] == [31.5, 9.0, 8.0, 7.25]
    assert [line["id"] for line in lines if line["added"] == "1"] == ["diamond"]
    assert {"figures/uncertainty.png", "figures/uncertainty.svg"} <= paths.keys()
    assert "Query by committee" in paths["index.html"].read_text()


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_numbers_that_are_not_finite_become_null_and_rank_last(published, broken):
    rows = [
        replace(
            published.rows[0], id="broken", kappa_rta_max_w_per_mk=broken, kappa_rta_w_per_mk=np.full((3, 3), broken)
        ),
        *published.rows,
    ]

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    objects = json.loads(to_json(rows), parse_constant=refuse)
    assert objects[0]["id"] == "diamond"
    lost = next(object_ for object_ in objects if object_["id"] == "broken")
    assert lost["kappa_rta_max_w_per_mk"] is None
    assert lost["kappa_rta_w_per_mk"] is None
    assert "nan" not in to_csv(rows).lower()


def test_tables_of_no_rows_are_valid():
    assert json.loads(to_json([])) == []
    assert to_csv([]).strip().split(",") == list(COLUMNS)


def test_kappa_eigenvalues_are_those_of_the_tensor_largest_first(published):
    assert kappa_eigenvalues(published.rows[0]) == pytest.approx((1785.0, 1200.0, 900.0))
    assert kappa_eigenvalues(published.rows[2]) is None


def test_ranked_table_fits_100_columns_and_is_plain_in_a_pipe(published):
    console = Console(width=100, force_terminal=False)
    with console.capture() as capture:
        console.print(ranked_table(published.rows))
    text = capture.get()
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= 100
    first = next(line for line in text.splitlines() if "diamond" in line)
    assert re.search(r"1\s+diamond\s+C2\s+2\s+227\s+3\.5\d\d\s+–\s+2573\s+2573\s+2573\s+benchmark\s+ok", first)
    assert text.index("diamond") < text.index("12e45") < text.index("pyxtal-0")
    assert "unstable" in text


def test_ranked_table_keeps_to_its_limit_and_says_so(published):
    table = ranked_table(published.rows, limit=2)
    assert table.row_count == 2
    assert table.caption == "2 of 8 crystals"


# files


def test_write_report_makes_every_file_it_names_and_nothing_else(published, tmp_path):
    paths = write_report(published, tmp_path / "report")
    assert {"table.csv", "table.json", "crystals.extxyz", "index.html", "figures/map.png", "figures/map.svg"} <= set(
        paths
    )
    written = {path for path in (tmp_path / "report").rglob("*") if path.is_file()}
    assert written == set(paths.values())
    assert all(path.stat().st_size > 0 for path in written)


def test_write_report_is_bit_identical_when_repeated(published, tmp_path):
    first = write_report(published, tmp_path / "first")
    second = write_report(published, tmp_path / "second")
    for name, path in first.items():
        assert path.read_bytes() == second[name].read_bytes(), name


def test_write_report_of_a_run_that_has_only_begun(tmp_path):
    paths = write_report(Published("new", {}, {}, {}, {}, [], []), tmp_path)
    text = paths["index.html"].read_text(encoding="utf-8")
    assert "κ of no crystal is known yet" in text
    assert "There is no crystal to show yet" in text


def test_crystals_come_back_from_extxyz_with_id_and_kappa(published, tmp_path):
    path = write_crystals(tmp_path / "crystals.extxyz", published.rows, published.crystals)
    images = ase.io.read(path, index=":")
    assert len(images) == len(published.crystals)
    for atoms, row, crystal in zip(images, published.rows, published.crystals, strict=True):
        assert atoms.info["id"] == row.id
        assert atoms.info.get("kappa_rta_max_w_per_mk") == row.kappa_rta_max_w_per_mk
        np.testing.assert_allclose(atoms.positions, crystal.positions, atol=1e-7)
        np.testing.assert_allclose(atoms.cell.array, crystal.cell, atol=1e-7)
    np.testing.assert_allclose(images[0].info["kappa_rta_w_per_mk"], published.rows[0].kappa_rta_w_per_mk)


@given(
    st.text(min_size=1) | st.from_regex(r"[0-9a-f]{4}", fullmatch=True) | st.sampled_from(["T", "true", "nan", "inf"])
)
@settings(max_examples=200, deadline=None)
def test_any_id_survives_extxyz(text):
    diamond = Crystal.from_ase(bulk("C", "diamond", a=3.567), id=text)
    with TemporaryDirectory() as folder:
        path = write_crystals(Path(folder) / "crystals.extxyz", [Row(id=text)], [diamond])
        assert ase.io.read(path).info["id"] == text


def test_a_failed_write_leaves_the_old_file(published, tmp_path):
    path = write_crystals(tmp_path / "crystals.extxyz", published.rows, published.crystals)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="zip"):
        write_crystals(path, published.rows, published.crystals[:-1])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# page


class Parsed(HTMLParser):
    """What a browser would find in the page."""

    VOID = ("meta", "link", "img", "br", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.scripts: list[str] = []
        self.ids: list[str] = []
        self.row_headers: list[str] = []
        self.places: list[int] = []
        self.tags: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        known = dict(attrs)
        self.addresses += [known[name] for name in ("src", "href", "srcset", "action", "data") if name in known]
        if "id" in known:
            self.ids.append(known["id"])
        if tag == "script":
            self.scripts.append("")
        if "data-crystal" in known:
            self.places.append(int(known["data-crystal"]))
            self.row_headers.append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        if self.open[-2:] == ["th", "button"] and "tbody" in self.open:
            self.row_headers[-1] += data


@pytest.fixture
def parsed(published) -> Parsed:
    return Parsed(page(published, [Picture("Map", 'of "all" <crystals>', b"<svg/>")]))


def test_page_is_well_formed_with_unique_ids(parsed):
    assert parsed.open == []
    assert len(parsed.ids) == len(set(parsed.ids))
    assert parsed.tags.count("img") == 1


def test_page_shows_all_rows_in_rank_order(parsed, published):
    assert parsed.row_headers == [row.id for row in ranked(published.rows)]


def test_page_refers_to_nothing_outside_itself(parsed, published):
    assert all(address.startswith(("data:", "#")) for address in parsed.addresses)
    text = page(published, [])
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    assert "default-src &#x27;none&#x27;" in policy
    assert "http" not in policy
    ours = parsed.scripts[-1]
    assert "http" not in ours
    assert "fetch" not in ours
    assert "url(" not in text[: text.index("</style>")]


def test_page_escapes_what_users_name(parsed, published):
    assert len(parsed.scripts) == 3  # data, chemiscope, our own: none smuggled in
    assert "alert(1)" not in "".join(parsed.scripts)
    assert parsed.row_headers.count(HOSTILE) == 1


def test_scripts_cannot_close_their_element():
    script = chemiscope_script()
    assert "</script" not in script.lower()
    assert "<!--" not in script
    assert "Chemiscope" in script[:1000]
    assert "<" not in json_for_script({"name": HOSTILE})
    assert json.loads(json_for_script({"name": HOSTILE})) == {"name": HOSTILE}


def test_explorer_holds_every_crystal_of_the_page_with_null_for_the_unknown(parsed, published):
    data = json.loads(parsed.scripts[0])
    assert len(data["structures"]) == len(published.rows)
    kappas = data["properties"]["κ max"]["values"]
    assert kappas == [row.kappa_rta_max_w_per_mk for row in ranked(published.rows)][::-1]
    assert data["settings"]["pinned"] == [len(kappas) - 1]
    assert data["structures"][-1]["size"] == 8, "diamond is drawn in its conventional cell"


def test_page_links_each_row_to_its_own_crystal(parsed, published):
    data = json.loads(parsed.scripts[0])
    crystal_of = {crystal.id: crystal for crystal in published.crystals}
    for name, place in zip(parsed.row_headers, parsed.places, strict=True):
        assert data["properties"]["density"]["values"][place] == pytest.approx(crystal_of[name].density_g_per_cm3)


def test_explorer_draws_atoms_inside_the_cell_without_changing_the_crystal(published):
    data = explorer_data(published.rows, published.crystals, "test")
    for drawn, crystal in zip(data["structures"], published.crystals, strict=True):
        cell = np.reshape(drawn["cell"], (3, 3))
        fractional = np.column_stack([drawn["x"], drawn["y"], drawn["z"]]) @ np.linalg.inv(cell)
        assert (fractional > -1e-5).all()
        assert (fractional < 1 + 1e-5).all()
        per_atom = abs(np.linalg.det(cell)) / drawn["size"]
        assert per_atom == pytest.approx(crystal.volume_ang3 / len(crystal), rel=1e-6)


@pytest.mark.parametrize("old", [True, False], ids=["spglib returns None", "spglib raises"])
def test_explorer_draws_crystals_without_a_space_group_as_they_are(old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPGLIB_OLD_ERROR_HANDLING", raising=False)
    monkeypatch.setattr(spglib.error, "OLD_ERROR_HANDLING", old)
    crystal = Crystal(np.eye(3) * 3, np.zeros((2, 3)), np.array([6, 6]), id="two atoms in one place")
    (drawn,) = explorer_data([Row(crystal.id)], [crystal], "test")["structures"]
    assert drawn["size"] == 2


@pytest.mark.parametrize("missing", [{"kappa_rta_max_w_per_mk", "kappa_rta_w_per_mk"}, {"map_x", "map_y"}])
def test_explorer_settings_name_only_properties_that_are_there(published, missing):
    rows = [replace(row, **dict.fromkeys(missing)) for row in published.rows]
    data = explorer_data(rows, published.crystals, "test")
    settings = data["settings"]["map"]
    assert {settings[axis]["property"] for axis in ("x", "y", "color")} <= set(data["properties"])
    assert settings["x"]["property"] != settings["y"]["property"]


def test_page_says_what_was_run_and_why_crystals_left(published):
    text = page(published, [])
    for expected in (
        "carbon &lt;test&gt;",
        "fmax above 0.01 eV/Å",
        "duplicate",
        "transport.mesh.length_ang",
        "25.0",
        "phono3py",
        "60.0",
    ):
        assert expected in text
    said = summary(published).replace("\u00a0", " ")
    assert said.startswith("8 crystals (generate → relax → screen → kappa). ")
    assert "κ of 2 was computed at 300 K" in said
    assert "with the potential tersoff" in said
    assert "diamond: 2573 W/(m·K)" in said


def test_page_carries_the_licence_of_the_script_it_inlines(published):
    assert "chemiscope developers" in page(published, [])


def test_no_temporary_files_stay_behind(published, tmp_path):
    write_report(published, tmp_path)
    assert not list(tmp_path.rglob(".*"))

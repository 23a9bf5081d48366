"""The offline page in a real browser: it loads from disk, does what it promises, and asks for nothing else."""

import http.server
import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

import browser
from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.report.write import write_report
from kappaforge.store.published import Published
from kappaforge.store.row import Row, ranked

pytestmark = pytest.mark.skipif(bool(browser.missing()), reason=browser.missing() or "there is a browser")

ARTEFACTS = Path(os.environ.get("KAPPAFORGE_ARTEFACTS", Path(__file__).parents[1] / "build"))
HOSTILE = "</script><script>document.title='taken'</script>"


@pytest.fixture(scope="module")
def published() -> Published:
    """The known carbons on a made-up map, most with a made-up κ, and a compound with a hostile name."""
    rng = np.random.default_rng(11)
    crystals = [entry.crystal for entry in known_carbons()]
    crystals.append(Crystal.from_ase(bulk("BN", "zincblende", a=3.6), id=HOSTILE, source=HOSTILE))
    rows = []
    for number, crystal in enumerate(crystals):
        kappa = np.diag(rng.uniform(20, 2600, 3)) if number % 4 else None
        rows.append(
            Row(
                crystal.id, crystal.source, crystal.formula, len(crystal), density_g_per_cm3=crystal.density_g_per_cm3,
                energy_ev_per_atom=float(rng.uniform(-9, -8)), potential="carbon", temperature_k=300.0,
                kappa_rta_w_per_mk=kappa, kappa_rta_max_w_per_mk=None if kappa is None else float(kappa.max()),
                kappa_lbte_w_per_mk=None if kappa is None else 1.3 * kappa, role="benchmark" if number % 2 else "",
                kappa_lbte_max_w_per_mk=None if kappa is None else float(1.3 * kappa.max()),
                kappa_mesh_error_w_per_mk=None if kappa is None else 12.0, stage="kappa",
                map_x=float(10 * (number % 5)), map_y=float(7 * (number // 5)),
            )
        )  # fmt: skip
    return Published("browsed", {"seed": 1}, {"kappaforge": "0"}, {"kappa": len(rows)}, {}, rows, crystals)


@pytest.fixture(scope="module")
def page(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(published, tmp_path_factory.mktemp("report"))["index.html"]


@pytest.fixture(scope="module")
def driver():
    with browser.chromium() as driver:
        yield driver


@pytest.fixture
def opened(driver, page):
    """The page as it was just loaded; in the end its console must be clean and nothing else asked for."""
    browser.complaints(driver), browser.requests(driver)
    browser.open_report(driver, page)
    yield driver
    assert browser.complaints(driver) == []
    asked = browser.requests(driver)
    assert page.absolute().as_uri() in asked
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert [url for url in asked if url.startswith("file:")] == [page.absolute().as_uri()]


def shown_crystal(driver) -> int:
    return driver.execute_script("return window.explorer.structure.pinned()[0].structure")


def drawn_atoms(driver) -> int:
    """Atoms in the 3D viewer, of all repeated cells."""
    return driver.execute_script(
        "const cells = [...window.explorer.structure._cellsData.values()];"
        "return cells[0].viewer._viewer.selectedAtoms({}).length"
    )


def click_on_point(driver, x: float, y: float) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    place = driver.execute_script(
        """
        const plot = window.explorer.map._plot, layout = plot._fullLayout;
        document.getElementById("explorer").scrollIntoView({block: "start"});
        const box = plot.getBoundingClientRect();
        return [box.left + layout.xaxis._offset + layout.xaxis.l2p(arguments[0]),
                box.top + layout.yaxis._offset + layout.yaxis.l2p(arguments[1])];
        """,
        x,
        y,
    )
    at = [round(value) for value in place]
    mouse = ActionChains(driver)
    mouse.w3c_actions.pointer_action.move_to_location(at[0] - 40, at[1] - 40)
    mouse.w3c_actions.pointer_action.pause(0.2)
    mouse.w3c_actions.pointer_action.move_to_location(*at)
    mouse.w3c_actions.pointer_action.pause(0.5)
    mouse.w3c_actions.pointer_action.click()
    mouse.perform()


def column(driver, header: str) -> list[str]:
    """Cells of the table from top to bottom."""
    return driver.execute_script(
        """
        const headers = [...ranking.tHead.rows[0].cells];
        const column = headers.findIndex(cell => cell.textContent.startsWith(arguments[0]));
        return [...ranking.tBodies[0].rows].filter(row => !row.hidden).map(row => row.cells[column].textContent);
        """,
        header,
    )


def click_header(driver, header: str) -> None:
    driver.execute_script(
        "[...ranking.tHead.rows[0].cells].find(cell => cell.textContent.startsWith(arguments[0]))"
        ".querySelector('button').click()",
        header,
    )


def test_page_loads_from_disk_and_shows_the_best_conductor(opened, published):
    best = ranked(published.rows)[0]
    assert opened.execute_script("return document.title") == "browsed · kappaforge"
    said = opened.find_element("id", "explorer-shown").text
    assert said.startswith(f"{best.id} · {best.formula}")
    assert f"{best.kappa_rta_max_w_per_mk:.0f}" in said
    assert opened.find_element("id", "explorer-message").text == ""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    opened.execute_script("document.getElementById('explorer').scrollIntoView({block: 'start'})")
    browser.wait_for(opened, "window.explorer.map._plot._fullLayout !== undefined")
    screenshot = ARTEFACTS / "explorer.png"
    assert opened.save_screenshot(str(screenshot))
    assert is_drawn(screenshot), "the picture of the explorer is one colour"


def is_drawn(screenshot: Path) -> bool:
    """Whether both halves of the explorer show something: colours on the map, shades of balls beside it."""
    from PIL import Image

    pixels = np.asarray(Image.open(screenshot).convert("RGB"), dtype=int)
    middle = pixels.shape[1] // 2
    coloured = np.ptp(pixels, axis=2) > 60
    dark = pixels.max(axis=2) < 200
    return bool(coloured[:, :middle].sum() > 200 and dark[200:500, middle:].sum() > 500)


def test_click_on_a_point_shows_that_crystal(opened, published):
    data = json.loads(opened.execute_script("return document.getElementById('crystals').textContent"))
    order = ranked(published.rows)[::-1]  # as the explorer holds them
    for place in (3, len(order) - 6):
        row = order[place]
        click_on_point(opened, row.map_x, row.map_y)
        browser.wait_for(opened, f"window.explorer.structure.pinned()[0].structure === {place}", 30)
        assert opened.find_element("id", "explorer-shown").text.startswith(f"{row.id} · {row.formula}")
        assert opened.execute_script("return document.querySelector('tr.shown th').textContent") == row.id
        expected = 8 * data["structures"][place]["size"]
        browser.wait_for(opened, "window.explorer.structure._cellsData.size === 1")
        assert drawn_atoms(opened) == expected, row.id


def test_click_on_an_id_of_the_table_shows_that_crystal(opened, published):
    name = ranked(published.rows)[4].id
    opened.execute_script(
        "[...document.querySelectorAll('[data-crystal]')].find(one => one.textContent === arguments[0]).click()", name
    )
    browser.wait_for(opened, f"document.getElementById('explorer-shown').textContent.startsWith({json.dumps(name)})")
    assert shown_crystal(opened) == len(published.rows) - 1 - 4


def test_every_column_sorts_both_ways_with_the_unknown_last(opened, published):
    before = column(opened, "id")
    assert before == [row.id for row in ranked(published.rows)]
    click_header(opened, "density")
    falling = [float(text) for text in column(opened, "density")]
    assert falling == sorted(falling, reverse=True)
    assert falling != sorted(falling)
    click_header(opened, "density")
    assert [float(text) for text in column(opened, "density")] == falling[::-1]
    click_header(opened, "κ(LBTE) max")
    values = column(opened, "κ(LBTE) max")
    known = [float(text) for text in values if text != "–"]
    assert known == sorted(known, reverse=True)
    assert values[len(known) :] == ["–"] * (len(values) - len(known))
    assert len(known) < len(values)
    click_header(opened, "id")
    assert sorted(column(opened, "id")) == sorted(before)
    click_header(opened, "rank")
    assert column(opened, "id") == before


def test_filter_leaves_the_rows_with_all_words(opened):
    box = opened.find_element("id", "filter")
    box.send_keys("polytype benchmark")
    browser.wait_for(opened, "document.getElementById('filter-found').textContent !== ''")
    found = column(opened, "id")
    assert found
    assert all(name.startswith("polytype") for name in found)
    assert set(column(opened, "role")) == {"benchmark"}


def test_map_is_coloured_by_what_is_chosen(opened, published):
    select = opened.find_element("id", "explorer-colour")
    options = [option.get_attribute("value") for option in select.find_elements("tag name", "option")]
    assert options[0] == "κ max"
    assert "energy" in options
    select.find_element("css selector", "option[value='energy']").click()
    assert opened.execute_script("return window.explorer.map.saveSettings().color.property") == "energy"
    shown = opened.execute_script("const s = window.explorer.map.saveSettings().color; return [s.min, s.max]")
    energies = [row.energy_ev_per_atom for row in published.rows]
    assert shown == pytest.approx([min(energies), max(energies)])


def test_hostile_names_run_nothing(opened):
    assert HOSTILE in column(opened, "id")
    assert opened.execute_script("return document.title") != "taken"


@pytest.mark.slow
def test_ten_thousand_crystals_stay_below_30_mb_and_paint_within_5_s(driver, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    known = [entry.crystal for entry in known_carbons()]
    crystals, rows = [], []
    for number in range(10_000):
        crystal = known[number % len(known)]  # 8.6 atoms in the primitive cell; AIRSS carbon has 9
        strained = crystal.moved_to(crystal.cell * rng.uniform(0.97, 1.03), crystal.positions)
        crystals.append(replace(strained, id=f"{number}"))
        x, y = rng.normal(size=2).tolist()
        kappa = np.diag(rng.uniform(20, 2600, 3)) if number % 4 else None
        rows.append(
            Row(
                f"{number}", "flow", crystal.formula, len(crystal), space_group_number=1 + number % 230,
                density_g_per_cm3=float(rng.uniform(1, 3.6)), energy_ev_per_atom=float(rng.uniform(-9, -8)),
                energy_above_hull_ev_per_atom=float(rng.uniform(0, 1)), prototype="A_cF8_227_a", dimensionality="3D",
                kappa_rta_w_per_mk=kappa, kappa_rta_max_w_per_mk=None if kappa is None else float(kappa.max()),
                kappa_lbte_w_per_mk=kappa, kappa_lbte_max_w_per_mk=None if kappa is None else float(kappa.max()),
                kappa_mesh_error_w_per_mk=None if kappa is None else 12.0, stage="kappa", novel=True,
                reason="" if number % 4 else "same as flow-123456", map_x=x, map_y=y,
            )
        )  # fmt: skip
    published = Published("ten thousand", {"seed": 1}, {"kappaforge": "0"}, {"kappa": 7500}, {}, rows, crystals)
    page = write_report(published, tmp_path)["index.html"]
    assert page.stat().st_size <= 30e6
    browser.open_report(driver, page)
    assert browser.first_paint_s(driver) <= 5
    click_on_point(driver, rows[17].map_x, rows[17].map_y)
    assert browser.complaints(driver) == []


def test_request_to_elsewhere_would_be_seen_and_the_page_may_make_none(driver, page, tmp_path):
    """The check above can fail: a page without our policy reaches a server, one with it does not."""
    asked: list[str] = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    reach = "new Image().src = arguments[0]; const done = arguments[1];fetch(arguments[0]).finally(() => done(1))"
    try:
        free = tmp_path / "free.html"
        free.write_text("<!DOCTYPE html><title>free</title>")
        for address_of, path in ((free, "/free"), (page, "/page")):
            driver.get(address_of.absolute().as_uri())
            driver.execute_async_script(reach, address + path)
        seen = browser.requests(driver)
    finally:
        server.shutdown()
        server.server_close()
    assert address + "/free" in seen
    assert "/free" in asked
    assert "/page" not in asked
    browser.complaints(driver)  # of the policy, which is what was asked for

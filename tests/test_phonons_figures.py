"""Figures of phonons and of κ mode by mode, and the command that writes them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write
from matplotlib.figure import Figure
from typer.testing import CliRunner

from kappaforge.cli.main import app
from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.errors import InputError
from kappaforge.potentials.base import Batch
from kappaforge.potentials.registry import load
from kappaforge.report.canvas import save
from kappaforge.report.modes import mode_figures
from kappaforge.report.phonons import (
    cumulative,
    cumulative_kappa_figure,
    density_figure,
    dispersion_figure,
    lifetimes_figure,
    linewidths_figure,
    speeds_figure,
)
from kappaforge.transport.conductivity import conductivity
from kappaforge.transport.dispersion import dispersion
from kappaforge.transport.order_settings import ForceConstantSettings
from kappaforge.transport.orders import order2
from kappaforge.transport.primitive import primitive_crystal
from kappaforge.transport.settings import KappaSettings

SMALL = ForceConstantSettings(fc2_face_distance_ang=6.0, displacement_ang=0.01, way="finite")
KNOWN = {entry.name: entry.crystal for entry in known_carbons()}


def texts_of(figure: Figure) -> str:
    axes = figure.axes[0]
    entries = [text.get_text() for text in axes.get_legend().get_texts()] if axes.get_legend() else []
    return " ".join([axes.get_xlabel(), axes.get_ylabel(), *entries, *(text.get_text() for text in axes.texts)])


def drawn(figure: Figure, name: str) -> np.ndarray:
    """Return the points of the curves of one name, shape (n, 2)."""
    lines = [line for line in figure.axes[0].lines if line.get_label() == name]
    style = lines[0].get_linestyle()
    same = [line for line in figure.axes[0].lines if line.get_linestyle() == style and len(line.get_xdata()) > 2]
    return np.concatenate([np.column_stack(line.get_data()) for line in same])


def test_dispersion_figure_shows_both_models_and_breaks_at_jumps():
    along = dispersion(order2(primitive_crystal(KNOWN["diamond"], 1e-3), load("brenner"), SMALL), 0.05)
    names = {"carbon": along.frequencies_thz, "DFT": along.frequencies_thz + 0.5}
    arguments = (along.segments, along.labels, along.label_rows)
    figure = dispersion_figure(along.distances_per_ang, names, *arguments)
    assert texts_of(figure) == "wave vector (path of 1.26 Å⁻¹ without 2π) frequency (THz) carbon DFT"
    ticks = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert ticks == ["Γ", "X", "U|K", "Γ", "L", "W", "X"]
    for name, offset in (("carbon", 0.0), ("DFT", 0.5)):
        points = drawn(figure, name)
        assert len(points) == along.frequencies_thz.size
        assert points[:, 1].sum() == pytest.approx((along.frequencies_thz + offset).sum())
    looks = {(line.get_linestyle(), line.get_color()) for line in figure.axes[0].lines if len(line.get_xdata()) > 2}
    assert len(looks) == 2
    assert len({style for style, _ in looks}) == 2, "without colour, two models must differ in dashes"
    below = dispersion_figure(along.distances_per_ang, {"soft": along.frequencies_thz - 5}, *arguments)
    assert "imaginary below 0" in texts_of(below)
    assert below.axes[0].get_ylim()[0] < -4


def test_every_figure_names_its_units_and_is_written_twice(rng, tmp_path):
    frequencies, few = rng.uniform(0, 40, (50, 6)), np.linspace(0, 40, 50)
    lengths = 10 ** rng.uniform(1, 5, (50, 6))
    figures = {
        "states (1/THz per primitive cell)": density_figure({"one": (few, few), "two": (few, few**2)}),
        "lifetime (ps)": lifetimes_figure(frequencies, 1 / frequencies),
        "linewidth (THz)": linewidths_figure(frequencies, {"three phonons": frequencies, "isotopes": frequencies**2}),
        "group velocity (km/s)": speeds_figure(frequencies, rng.normal(size=(50, 6, 3))),
        "cumulative κ (W/(m·K))": cumulative_kappa_figure(lengths, {"xx": frequencies, "zz": 2 * frequencies}),
    }
    for label, figure in figures.items():
        assert label in texts_of(figure)
        assert "frequency (THz)" in texts_of(figure) or "mean free path up to (nm)" in texts_of(figure)
        png, svg = save(figure, tmp_path / "id.5-figure")
        assert (png.name, svg.name) == ("id.5-figure.png", "id.5-figure.svg")
        assert png.stat().st_size > 5000
        assert svg.stat().st_size > 5000


def test_figures_leave_out_modes_without_values_and_say_when_none_is_left():
    frequencies, values = np.array([0.0, -1.0, 5.0, 6.0]), np.array([1.0, 1.0, np.inf, 2.0])
    points = lifetimes_figure(frequencies, values).axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(points, [[6.0, 2.0]])
    nothing = np.full(4, np.nan)
    for figure in (
        lifetimes_figure(frequencies, nothing),
        linewidths_figure(frequencies, {"all": nothing}),
        speeds_figure(frequencies, np.zeros((4, 3))),
        cumulative_kappa_figure(nothing, {"xx": values}),
    ):
        assert texts_of(figure).strip().startswith("No mode")


def test_speeds_are_in_km_per_s():
    points = speeds_figure(np.array([10.0]), np.array([[100.0, 0.0, 0.0]])).axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(points, [[10.0, 10.0]])  # 1 THz·Å is 100 m/s


def test_cumulative_kappa_ends_at_kappa_and_halves_where_it_says():
    lengths, kappas = np.array([[300.0, np.nan], [100.0, 200.0]]), np.array([[5.0, 0.0], [1.0, 4.0]])
    np.testing.assert_array_equal(cumulative(lengths, kappas), [[100, 200, 300], [1, 5, 10]])
    assert "xx (half by 20 nm)" in texts_of(cumulative_kappa_figure(lengths, {"xx": kappas}))


@pytest.fixture
def poscar(tmp_path: Path) -> Path:
    write(tmp_path / "POSCAR", bulk("C", "diamond", a=3.56), format="vasp")
    return tmp_path / "POSCAR"


QUICK = ("--potential", "brenner", "--face-distance", "6", "--spacing", "0.05", "--mesh-length", "20")


def test_command_writes_figures_and_arrays_that_agree(tmp_path, poscar):
    folder = tmp_path / "out"
    ended = CliRunner().invoke(
        app, ["phonons", str(poscar), *QUICK, "--compare", "tersoff", "--output", str(folder), "--json"]
    )
    assert ended.exit_code == 0, ended.output
    content = json.loads(ended.stdout)
    name = content["id"]
    suffixes = [
        "phonons.json",
        *(f"{kind}{which}.csv" for kind in ("dispersion", "dos") for which in ("", "-compared")),
        *(f"{kind}.{ending}" for kind in ("dispersion", "dos") for ending in ("png", "svg")),
    ]
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{name}-{suffix}" for suffix in suffixes)
    assert json.loads((folder / f"{name}-phonons.json").read_text()) == content
    assert (content["status"], content["space_group_number"], content["comparison"]["status"]) == ("ok", 227, "ok")
    assert content["dispersion"]["labels"] == list("ΓXUKΓLWX")
    for suffix, frequencies in (("", content["dispersion"]), ("-compared", content["comparison"])):
        with (folder / f"{name}-dispersion{suffix}.csv").open() as lines:
            rows = list(csv.DictReader(lines))
        bands = np.array([[float(row[f"band_{band}_thz"]) for band in range(1, 7)] for row in rows])
        np.testing.assert_array_equal(bands, frequencies["frequencies_thz"])
        assert [row["label"] for row in rows if row["label"]] == list("ΓXUKΓLWX")
    off = np.subtract(content["comparison"]["frequencies_thz"], content["dispersion"]["frequencies_thz"])
    assert content["comparison"]["largest_difference_thz"] == pytest.approx(np.abs(off).max(), abs=1e-5)
    dos = content["density_of_states"]
    width = dos["frequencies_thz"][1] - dos["frequencies_thz"][0]
    assert sum(dos["states_per_thz"]) * width == pytest.approx(6, rel=1e-3)
    cell = content["primitive_cell"]
    relaxed = Crystal(cell["vectors_ang"], cell["positions_ang"], cell["atomic_numbers"])
    forces = load("brenner").compute(Batch.of([relaxed])).forces_ev_per_ang
    assert np.abs(forces).max() < 1e-4


def test_command_tells_stability_lowest_mode_and_path(poscar):
    ended = CliRunner().invoke(app, ["phonons", str(poscar), *QUICK, "--no-relax"])
    assert ended.exit_code == 0, ended.output
    for fact in ("Fd-3m", "stable", "THz at q = (0, 0, 0)", "Γ–X–U|K–Γ–L–W–X", "brenner"):
        assert fact in ended.stdout


def test_command_refuses_what_makes_no_sense(poscar):
    for options, message in (
        (["--compare", "brenner"], "--compare: give another potential"),
        (["--compare", "tersof"], "did you mean 'tersoff'?"),
        (["--spacing", "0"], "spacing"),
        (["--mesh-length", "-1"], "mesh length"),
        (["--face-distance", "0"], "fc2_face_distance_ang"),
    ):
        ended = CliRunner().invoke(app, ["phonons", str(poscar), *QUICK, *options])
        assert isinstance(ended.exception, InputError), ended.output
        assert message in str(ended.exception)


def test_modes_of_a_file_add_up_to_its_kappa_in_the_cumulative_figure(tmp_path):
    crystals = {entry.name: entry.crystal for entry in known_carbons()}
    constants = ForceConstantSettings(
        fc2_face_distance_ang=5.0, fc3_face_distance_ang=4.5, fc3_cutoff_ang=2.0, displacement_ang=0.01
    )
    settings = KappaSettings(mesh=(5, 5, 5), force_constants=constants)
    record = conductivity(crystals["diamond"], load("brenner"), settings, tmp_path)
    (file,) = tmp_path.glob("kappa-m555.hdf5")
    figures = mode_figures(file)
    assert set(figures) == {"lifetimes", "linewidths", "speeds", "cumulative-kappa"}
    (axes,) = figures["cumulative-kappa"].axes
    tops = [np.max(line.get_ydata()) for line in axes.lines]
    np.testing.assert_allclose(tops[:3], np.diag(record.kappa_rta_w_per_mk), rtol=1e-6)
    left, right = axes.get_xlim()
    assert right / left < 1e6, "modes that stand still do not stretch the axis"

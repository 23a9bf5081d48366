"""Dispersion and density of states, against phonopy, symmetry and what the figures and the command promise."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write
from matplotlib.figure import Figure
from phonopy import Phonopy
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from kappaforge.campaign.phonons import PhononSettings, frequencies_of_other, phonons_of
from kappaforge.cli.main import app
from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.errors import InputError
from kappaforge.potentials.base import Batch, Prediction
from kappaforge.potentials.registry import load
from kappaforge.relax.settings import RelaxSettings
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
from kappaforge.screen.settings import ScreenSettings
from kappaforge.transport.conductivity import conductivity
from kappaforge.transport.dispersion import (
    Dispersion,
    density_of_states,
    dispersion,
    frequencies_at,
    lowest_mode,
    zone_path,
)
from kappaforge.transport.force_constants import SYMPREC, phonopy_atoms
from kappaforge.transport.order_settings import ForceConstantSettings
from kappaforge.transport.orders import SecondOrder, order2
from kappaforge.transport.primitive import PrimitiveCrystal, primitive_crystal
from kappaforge.transport.settings import KappaSettings

SMALL = ForceConstantSettings(fc2_face_distance_ang=6.0, displacement_ang=0.01, way="finite")
SETTINGS = PhononSettings(SMALL, path_spacing_per_ang=0.05, mesh_length_ang=20.0)
TILT = Rotation.from_euler("xyz", [20, 50, -35], degrees=True).as_matrix()
SHEAR = np.array([[1, 0, 0], [1, 1, 0], [-1, 2, 1]])
KNOWN = {entry.name: entry.crystal for entry in known_carbons()}


def primitive_of(name: str) -> PrimitiveCrystal:
    return primitive_crystal(KNOWN[name], 1e-3)


@pytest.fixture(scope="module")
def second() -> dict[str, SecondOrder]:
    brenner, names = load("brenner"), ("diamond", "bct-C4", "Z-carbon", "M-carbon")
    return {name: order2(primitive_of(name), brenner, SMALL) for name in names}


def at(along: Dispersion, label: str) -> np.ndarray:
    return along.frequencies_thz[along.label_rows[along.labels.index(label)]]


def multiplicities(frequencies_thz: np.ndarray) -> list[int]:
    starts = np.flatnonzero(np.diff(frequencies_thz, prepend=-np.inf) > 1e-3)
    return np.diff(starts, append=len(frequencies_thz)).tolist()


def test_diamond_has_the_degeneracies_of_its_space_group(second):
    along = dispersion(second["diamond"], 0.05)
    assert {label: multiplicities(at(along, label)) for label in ("Γ", "X", "L", "W")} == {
        "Γ": [3, 3],
        "X": [2, 2, 2],
        "L": [2, 1, 1, 2],
        "W": [2, 2, 2],
    }
    np.testing.assert_allclose(at(along, "Γ")[:3], 0, atol=1e-3)
    np.testing.assert_allclose(at(along, "K"), at(along, "U"), atol=1e-6)  # they differ by a reciprocal vector


@pytest.mark.parametrize("name", ["diamond", "bct-C4", "Z-carbon"])
def test_frequencies_and_velocities_are_those_of_phonopys_own_band_structure(second, name):
    order = second[name]
    along = dispersion(order, 0.05)
    phonopy = Phonopy(
        phonopy_atoms(primitive_of(name).crystal),
        supercell_matrix=order.choice.matrix.T,
        primitive_matrix="P",
        symprec=SYMPREC,
    )
    phonopy.force_constants = order.fc2
    bands = [along.q_points[first:beyond] for first, beyond in along.segments]
    phonopy.run_band_structure(bands, with_group_velocities=True)
    theirs = phonopy.get_band_structure_dict()
    np.testing.assert_allclose(along.frequencies_thz, np.concatenate(theirs["frequencies"]), atol=1e-5)
    np.testing.assert_allclose(along.velocities_thz_ang, np.concatenate(theirs["group_velocities"]), atol=1e-6)
    lengths = along.distances_per_ang[along.segments[:, 1] - 1] - along.distances_per_ang[along.segments[:, 0]]
    np.testing.assert_allclose(lengths, [each[-1] - each[0] for each in theirs["distances"]], atol=1e-9)


def test_velocities_are_slopes_along_the_path(second):
    along = dispersion(second["Z-carbon"], 0.002)
    middle = (along.label_rows[0] + along.label_rows[1]) // 2
    step = (along.q_points[middle + 1] - along.q_points[middle - 1]) @ np.linalg.inv(
        second["Z-carbon"].primitive.cell
    ).T
    slope = (along.frequencies_thz[middle + 1] - along.frequencies_thz[middle - 1]) / np.linalg.norm(step)
    ours = along.velocities_thz_ang[middle] @ step / np.linalg.norm(step)
    assert multiplicities(along.frequencies_thz[middle]) == [1] * 24
    np.testing.assert_allclose(ours, slope, atol=0.02 * np.abs(slope).max())


def test_special_points_of_a_face_centred_cubic_crystal_are_where_they_are_in_books():
    crystal = primitive_of("diamond").crystal
    a = np.cbrt(4 * crystal.volume_ang3)
    path = zone_path(crystal, 0.05)
    found = path.q_points[path.label_rows] @ np.linalg.inv(crystal.cell).T * a
    books = {
        "Γ": (0, 0, 0), "X": (0, 0, 1), "L": (0.5, 0.5, 0.5),
        "W": (0, 0.5, 1), "K": (0, 0.75, 0.75), "U": (0.25, 0.25, 1),
    }  # fmt: skip
    assert "".join(path.labels) == "ΓXUKΓLWX"
    assert path.segments.tolist()[0][1] == path.label_rows[3]
    for label, point in zip(path.labels, found, strict=True):
        np.testing.assert_allclose(np.sort(np.abs(point)), books[label], atol=1e-6)


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_path_stays_within_the_brillouin_zone(name):
    """No point is nearer to another reciprocal lattice vector than to zero."""
    crystal = primitive_of(name).crystal
    reciprocal = np.linalg.inv(crystal.cell).T
    path = zone_path(crystal, 0.05)
    vectors = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    nearest = np.linalg.norm((path.q_points - vectors) @ reciprocal, axis=2).min(axis=0)
    np.testing.assert_allclose(np.linalg.norm(path.q_points @ reciprocal, axis=1), nearest, atol=1e-6)
    assert {"Γ"} < set(path.labels)


@pytest.mark.parametrize("name", ["diamond", "bct-C4", "Z-carbon", "M-carbon"])
def test_special_points_have_the_same_frequencies_in_another_primitive_cell(second, name):
    order = second[name]
    given = primitive_of(name).crystal
    tilted = zone_path(Crystal(SHEAR @ given.cell @ TILT.T, given.positions @ TILT.T, given.numbers), 0.05)
    upright = zone_path(given, 0.05)
    assert tilted.labels == upright.labels
    np.testing.assert_allclose(tilted.distances_per_ang, upright.distances_per_ang, atol=1e-6)
    ours = tilted.q_points @ np.linalg.inv(SHEAR).T  # fractional coordinates in the upright cell
    assert not np.allclose(ours, tilted.q_points)
    np.testing.assert_allclose(frequencies_at(order, ours), frequencies_at(order, upright.q_points), atol=1e-4)


def test_dispersion_is_the_same_for_a_crystal_given_rotated_and_in_another_cell(second):
    given = primitive_of("bct-C4").crystal
    doubled = given.to_ase() * (1, 2, 1)
    other = Crystal(doubled.cell.array @ TILT.T, doubled.positions[::-1] @ TILT.T + [0.3, -2, 1], doubled.numbers)
    tilted = dispersion(order2(primitive_crystal(other, 1e-3), load("brenner"), SMALL), 0.05)
    upright = dispersion(second["bct-C4"], 0.05)
    assert tilted.labels == upright.labels
    np.testing.assert_allclose(tilted.frequencies_thz, upright.frequencies_thz, atol=2e-3)


def test_path_is_continuous_within_segments_and_spaced_as_asked(second):
    along = dispersion(second["Z-carbon"], 0.03)
    reciprocal = np.linalg.inv(second["Z-carbon"].primitive.cell).T
    assert along.segments[0, 0] == 0
    assert along.segments[-1, 1] == len(along.q_points)
    np.testing.assert_array_equal(along.segments[1:, 0], along.segments[:-1, 1])
    assert len(along.segments) > 1
    for first, beyond in along.segments:
        steps = np.linalg.norm(np.diff(along.q_points[first:beyond], axis=0) @ reciprocal, axis=1)
        assert steps.max() <= 0.03
        np.testing.assert_allclose(np.diff(along.distances_per_ang[first:beyond]), steps, atol=1e-12)
    jumps = along.segments[1:, 0]
    np.testing.assert_array_equal(along.distances_per_ang[jumps], along.distances_per_ang[jumps - 1])
    with pytest.raises(InputError, match="spacing"):
        zone_path(primitive_of("diamond").crystal, 0.0)


@pytest.mark.parametrize("name", ["diamond", "bct-C4"])
def test_states_sum_up_to_three_for_each_atom_and_are_those_of_phonopy(second, name):
    density = density_of_states(second[name], 30.0, 100)
    width = density.frequencies_thz[1] - density.frequencies_thz[0]
    assert density.states_per_thz.sum() * width == pytest.approx(3 * len(primitive_of(name).crystal), rel=1e-9)
    assert density.states_per_thz[0] == density.states_per_thz[-1] == 0
    phonopy = Phonopy(
        phonopy_atoms(primitive_of(name).crystal),
        supercell_matrix=second[name].choice.matrix.T,
        primitive_matrix="P",
        symprec=SYMPREC,
    )
    phonopy.force_constants = second[name].fc2
    phonopy.run_mesh(30.0)
    fine = width / 20
    first = density.frequencies_thz[0] - width / 2 + fine / 2
    theirs = phonopy.run_total_dos(
        freq_min=first, freq_max=first + 102 * width, freq_pitch=fine, use_tetrahedron_method=True
    )
    averaged = theirs.dos[: 20 * 102].reshape(102, 20).mean(axis=1)
    off = np.abs(averaged - density.states_per_thz)
    assert np.median(off) < 0.002 * density.states_per_thz.max()
    assert np.sort(off)[-5] < 0.1 * density.states_per_thz.max()  # sharp edges are what sampling misses


def test_acoustic_states_grow_with_the_square_of_the_frequency(second):
    """Debye's law, with sound velocities from the slopes of the acoustic branches in all directions."""
    density = density_of_states(second["diamond"], 60.0, 200)
    directions = np.random.default_rng(1).normal(size=(600, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    q_points = 0.01 * directions @ second["diamond"].primitive.cell.T
    speeds = frequencies_at(second["diamond"], q_points)[:, :3] / 0.01
    factor = second["diamond"].primitive.volume * 4 * np.pi * (speeds**-3.0).mean(axis=0).sum()
    chosen = (density.frequencies_thz > 3) & (density.frequencies_thz < 7)
    expected = factor * density.frequencies_thz[chosen] ** 2
    np.testing.assert_allclose(density.states_per_thz[chosen].sum(), expected.sum(), rtol=0.05)


class Repelled:
    """Brenner's carbon in which every atom also runs away from its own rest position in an ideal diamond lattice."""

    name, digest, elements = "repelled", "", None

    def __init__(self, strength_ev_per_ang2: float) -> None:
        self.strength = strength_ev_per_ang2
        self.below = load("brenner")

    def compute(self, batch: Batch) -> Prediction:
        prediction = self.below.compute(batch)
        forces = prediction.forces_ev_per_ang.copy()
        for rows in batch.slices:
            atoms = batch.positions[rows]
            rest = np.round(atoms / (A / 8)) * (A / 8)  # diamond's sites lie on a grid of an eighth of its cell
            moved = atoms - rest
            forces[rows] += self.strength * (moved - moved.mean(axis=0))
        return prediction._replace(forces_ev_per_ang=forces)


A = float(np.linalg.norm(primitive_of("diamond").crystal.cell[0]) * np.sqrt(2))


def test_unstable_crystal_keeps_its_phonons_and_names_the_lowest_mode():
    record = phonons_of(
        primitive_of("diamond").crystal, Repelled(30.0), RelaxSettings(), SETTINGS, ScreenSettings(), relaxed=False
    )
    assert record.status == "unstable"
    assert "imaginary" in record.reason
    assert record.dispersion is not None
    assert record.min_frequency_thz == pytest.approx(
        min(record.dispersion.frequencies_thz.min(), record.density.mode_frequencies_thz.min()), abs=0.3
    )
    assert record.min_frequency_thz < -1


def test_stable_crystal_has_its_lowest_mode_at_gamma(second):
    density = density_of_states(second["Z-carbon"], 20.0)
    lowest = lowest_mode(second["Z-carbon"], density.q_points, density.mode_frequencies_thz, KappaSettings())
    assert lowest.reason == ""
    np.testing.assert_array_equal(lowest.q_point, 0)
    assert lowest.frequency_thz == pytest.approx(0, abs=1e-3)


def test_two_potentials_are_compared_at_their_own_minima(second):
    """Another potential of the same numbers agrees everywhere; another one of other numbers does not."""
    brenner = load("brenner")

    def compared(other):
        return phonons_of(KNOWN["bct-C4"], brenner, RelaxSettings(), SETTINGS, ScreenSettings(), compared_to=other)

    same, near = compared(load("brenner")), compared(load("tersoff"))
    assert (same.status, same.comparison.status, near.comparison.potential) == ("ok", "ok", "tersoff")
    np.testing.assert_allclose(same.comparison.frequencies_thz, same.dispersion.frequencies_thz, atol=1e-6)
    alone = phonons_of(KNOWN["bct-C4"], load("tersoff"), RelaxSettings(), SETTINGS, ScreenSettings())
    assert near.comparison.min_frequency_thz == alone.min_frequency_thz
    np.testing.assert_allclose(  # tetragonal, so both paths have the same points of fixed coordinates
        near.comparison.frequencies_thz[0], alone.dispersion.frequencies_thz[0], atol=1e-3
    )
    assert np.abs(near.comparison.frequencies_thz - near.dispersion.frequencies_thz).max() > 1


def test_other_models_cell_may_have_its_axes_elsewhere(second):
    upright = primitive_of("Z-carbon")
    sheared = PrimitiveCrystal(
        upright.crystal.moved_to(SHEAR @ upright.crystal.cell, upright.crystal.positions),
        upright.space_group_number,
        np.rint(np.linalg.inv(SHEAR.T) @ upright.rotations @ SHEAR.T).astype(int),
    )
    along = dispersion(second["Z-carbon"], 0.05)
    doubled = np.array([[1, 1, 0], [0, 2, 0], [0, 0, 1]])  # the cell that both came from, of two primitive ones
    other = order2(sheared, load("brenner"), SMALL)
    found = frequencies_of_other(along, doubled, other, doubled @ np.linalg.inv(SHEAR))
    np.testing.assert_allclose(found, along.frequencies_thz, atol=2e-3)
    assert frequencies_of_other(along, doubled, other, np.eye(3)) is None


def test_crystals_that_cannot_be_relaxed_say_so():
    record = phonons_of(KNOWN["M-carbon"], load("brenner"), RelaxSettings(max_steps=1), SETTINGS, ScreenSettings())
    assert record.status == "unconverged"
    assert record.reason
    assert record.dispersion is None


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


def test_dispersion_figure_shows_both_models_and_breaks_at_jumps(second):
    along = dispersion(second["diamond"], 0.05)
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

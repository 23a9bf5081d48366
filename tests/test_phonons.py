"""Dispersion and density of states, against phonopy, symmetry and what the figures and the command promise."""

import numpy as np
import pytest
from phonopy import Phonopy
from scipy.spatial.transform import Rotation

from kappaforge.campaign.phonons import PhononSettings, frequencies_of_other, phonons_of
from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.errors import InputError
from kappaforge.potentials.base import Batch, Prediction
from kappaforge.potentials.registry import load
from kappaforge.relax.settings import RelaxSettings
from kappaforge.screen.settings import ScreenSettings
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


def test_greek_points_have_greek_letters():
    """Body-centred orthorhombic crystals have Σ and Λ."""
    cell = [[-2.0, 2.5, 3.0], [2.0, -2.5, 3.0], [2.0, 2.5, -3.0]]
    labels = zone_path(Crystal(np.array(cell), np.zeros((1, 3)), np.array([6]), id="bco"), 0.1).labels
    assert {"Γ", "Σ0"} <= set(labels)
    assert all(len(label) <= 2 for label in labels)


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

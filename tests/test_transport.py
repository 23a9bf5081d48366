"""Phonons and thermal conductivity of whole crystals."""

from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
from ase.build import bulk
from ase.data import atomic_masses
from ase.geometry import cellpar_to_cell
from ase.spacegroup import crystal as spacegroup_crystal
from ase.units import _amu, _e
from scipy.spatial.transform import Rotation

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.potentials.base import Batch, Potential, Prediction, UnsupportedElementError
from kappaforge.potentials.registry import load
from kappaforge.transport.conductivity import conductivity, harmonic_stability
from kappaforge.transport.meshes import keeps_symmetry, paper_mesh
from kappaforge.transport.primitive import PrimitiveCrystal, primitive_crystal, symmetrised_tensor
from kappaforge.transport.settings import KappaSettings, PaperProtocol
from kappaforge.transport.stability import imaginary_mode

COARSE = KappaSettings(
    method="paper", paper=PaperProtocol(supercell=(2, 2, 2), fc3_cutoff_ang=2.0, mesh_length_ang=12.0)
)
PAPER = KappaSettings(method="paper")
ALL_PAIRS = replace(PAPER, paper=PaperProtocol(fc3_cutoff_ang=None, fc3_negligible=0.0))
A_TERSOFF_ANG = 3.5656  # of diamond, where its energy is lowest
LONSDALEITE_TERSOFF = (2.52129, 4.11725, 0.0625)  # a, c in Å, z: ideal tetrahedra


@pytest.fixture(scope="module")
def tersoff() -> Potential:
    return load("tersoff")


@pytest.fixture(scope="module")
def diamond_tersoff() -> Crystal:
    return Crystal.from_ase(bulk("C", "diamond", a=A_TERSOFF_ANG), id="diamond")


@pytest.fixture(scope="module")
def lonsdaleite() -> Crystal:
    a, c, z = LONSDALEITE_TERSOFF
    return Crystal.from_ase(
        spacegroup_crystal("C", [(1 / 3, 2 / 3, z)], spacegroup=194, cellpar=[a, a, c, 90, 90, 120]), id="lonsdaleite"
    )


def rotated(crystal: Crystal, rotation: np.ndarray) -> Crystal:
    return crystal.moved_to(crystal.cell @ rotation.T, crystal.positions @ rotation.T)


def sheared(crystal: Crystal) -> Crystal:
    return crystal.moved_to(np.array([[1, 0, 0], [1, 1, 0], [-1, 2, 1]]) @ crystal.cell, crystal.positions)


def permuted(crystal: Crystal) -> Crystal:
    """Swap two lattice vectors, which makes the cell left-handed, and reverse and shift the atoms."""
    return crystal.moved_to(crystal.cell[[1, 0, 2]], crystal.positions[::-1] + np.array([0.3, -2.0, 11.0]))


def doubled(crystal: Crystal) -> Crystal:
    return Crystal.from_ase(crystal.to_ase().repeat((1, 1, 2)), id=crystal.id)


TILT = Rotation.from_euler("xyz", [20, 50, -35], degrees=True).as_matrix()
RECAST = {
    "sheared": sheared,
    "permuted": permuted,
    "doubled": doubled,
    "all": lambda crystal: permuted(sheared(doubled(crystal))),
}


@pytest.mark.parametrize(
    ("settings", "table", "name", "value"),
    [
        (PaperProtocol, "kappa.paper", "supercell", (3, 3)),
        (PaperProtocol, "kappa.paper", "supercell", (3, 0, 3)),
        (PaperProtocol, "kappa.paper", "displacement_ang", 0.0),
        (PaperProtocol, "kappa.paper", "fc3_cutoff_ang", -3.0),
        (PaperProtocol, "kappa.paper", "fc3_negligible", 1.0),
        (KappaSettings, "kappa", "mesh", (11.0, 11, 11)),
        (KappaSettings, "kappa", "mesh_length_ang", float("inf")),
        (KappaSettings, "kappa", "temperature_k", float("nan")),
        (KappaSettings, "kappa", "more_temperatures_k", (200.0, -1.0)),
        (KappaSettings, "kappa", "symprec_ang", -1e-5),
        (KappaSettings, "kappa", "acoustic_tolerance_thz", -0.1),
        (KappaSettings, "kappa", "boundary_length_um", 0.0),
        (KappaSettings, "kappa", "method", "best"),
        (KappaSettings, "kappa", "level", "lbte"),
        (KappaSettings, "kappa", "collisions", "gaussian"),
    ],
)
def test_settings_name_the_bad_field(settings, table, name, value):
    with pytest.raises(InputError, match=rf"\[{table}\] {name}: expected .* got"):
        settings(**{name: value})


def paper_numbers(primitive: PrimitiveCrystal, length_ang: float) -> tuple[int, int, int]:
    return paper_mesh(primitive, replace(PAPER, paper=PaperProtocol(mesh_length_ang=length_ang)))


def test_mesh_numbers_are_the_smallest_above_the_length(diamond_tersoff):
    primitive = primitive_crystal(diamond_tersoff, 1e-3)
    assert paper_numbers(primitive, 25.0) == (10, 10, 10)  # |a| = 2.52 Å
    assert paper_numbers(primitive, 26.0) == (11, 11, 11)


def test_mesh_numbers_exceed_a_length_that_is_a_multiple():
    cubic = primitive_crystal(Crystal.from_ase(bulk("C", "sc", a=2.5)), 1e-3)
    assert paper_numbers(cubic, 25.0) == (11, 11, 11)


def test_mesh_numbers_keep_the_symmetry_of_unequal_equivalent_axes():
    cell = cellpar_to_cell([3.0, 4.0, 7.0, 90, 90, 90])
    centring = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    face_centred = primitive_crystal(Crystal(centring @ cell, np.zeros((1, 3)), np.array([6])), 1e-3)
    assert face_centred.space_group_number == 69
    mesh = paper_numbers(face_centred, 25.0)
    assert len(set(mesh)) == 1
    assert keeps_symmetry(face_centred, mesh)
    assert not keeps_symmetry(face_centred, (mesh[0], mesh[0], mesh[0] + 1))
    assert mesh[0] * np.linalg.norm(face_centred.crystal.cell, axis=1).min() > 25.0


@pytest.mark.parametrize("recast", RECAST.values(), ids=RECAST)
def test_standard_primitive_cell_stays_in_the_frame_of_the_input(lonsdaleite, recast):
    given = rotated(recast(lonsdaleite), TILT)
    primitive = primitive_crystal(given, 1e-3)
    assert len(primitive.crystal) == 4
    assert len(primitive.rotations) == 24
    multiples = given.cell @ np.linalg.inv(primitive.crystal.cell)
    np.testing.assert_allclose(multiples, np.rint(multiples), atol=1e-6)
    # every atom given is one of the primitive crystal, after one common shift
    shifts = given.positions[0] - primitive.crystal.positions

    def misfit(shift):
        offsets = given.positions[:, None] - shift - primitive.crystal.positions
        fractions = offsets @ np.linalg.inv(primitive.crystal.cell)
        return np.abs(fractions - np.rint(fractions)).max(axis=2).min(axis=1).max()

    assert min(misfit(shift) for shift in shifts) < 1e-4


def test_standard_primitive_cell_obeys_the_symmetry_exactly(lonsdaleite, rng):
    noisy = rotated(lonsdaleite, TILT)
    cell = noisy.cell @ (np.eye(3) + rng.normal(scale=5e-5, size=(3, 3)))
    noisy = noisy.moved_to(cell, noisy.fractional @ cell + rng.normal(scale=1e-4, size=noisy.positions.shape))
    primitive = primitive_crystal(noisy, 1e-3)
    exact = primitive_crystal(primitive.crystal, 1e-8)
    assert (exact.space_group_number, len(exact.rotations)) == (194, 24)
    np.testing.assert_allclose(
        np.linalg.norm(primitive.crystal.cell, axis=1), np.linalg.norm(noisy.cell, axis=1), atol=1e-3
    )


def test_symmetrised_tensor_is_isotropic_in_the_basal_plane(lonsdaleite, rng):
    primitive = primitive_crystal(rotated(lonsdaleite, TILT), 1e-3)
    tensor = symmetrised_tensor(primitive, rng.normal(size=(3, 3)))
    upright = TILT.T @ tensor @ TILT
    np.testing.assert_allclose(upright, np.diag([upright[0, 0], upright[0, 0], upright[2, 2]]), atol=1e-8)


def test_gamma_frequency_of_diamond_is_that_of_a_frozen_phonon(diamond_tersoff, tersoff):
    u = 1e-4
    forces = []
    for sign in (1, -1):
        positions = diamond_tersoff.positions + sign * np.array([[u / 2, 0, 0], [-u / 2, 0, 0]])
        moved = diamond_tersoff.moved_to(diamond_tersoff.cell, positions)
        forces.append(tersoff.compute(Batch.of([moved])).forces_ev_per_ang[0, 0])
    spring_n_per_m = -(forces[0] - forces[1]) / (2 * u) * _e * 1e20
    reduced_mass_kg = atomic_masses[6] / 2 * _amu
    frozen_thz = np.sqrt(spring_n_per_m / reduced_mass_kg) / (2 * np.pi) / 1e12
    record = harmonic_stability(diamond_tersoff, tersoff, PAPER)
    assert record.status == "ok"
    assert record.max_frequency_thz == pytest.approx(frozen_thz, rel=2e-3)  # diamond's highest mode is Γ's
    assert record.min_frequency_thz == pytest.approx(0.0, abs=1e-3)


def test_unstable_crystal_is_refused_with_mode_and_q_before_the_third_order(tersoff):
    simple_cubic = Crystal.from_ase(bulk("C", "sc", a=1.9), id="sc")
    record = conductivity(simple_cubic, tersoff, PAPER)
    assert record.status == "unstable"
    assert record.reason.startswith("imaginary mode 1 of 26.9")
    assert "at q = (0.5, 0.5, 0.5)" in record.reason
    assert record.kappa_rta_w_per_mk is None
    assert record.kappa_rta_max_w_per_mk is None
    assert record.min_frequency_thz < -20
    assert record.n_displacements == 1
    assert set(record.seconds_by_part) == {"displacements", "forces", "force_constants", "stability"}


def test_acoustic_modes_have_their_tolerance_at_gamma_only():
    q_points = np.array([[0, 0, 0], [0.5, 0, 0]])
    settings = KappaSettings(acoustic_tolerance_thz=0.01, imaginary_tolerance_thz=0.001)
    at_rest = np.array([[-0.009, 0.0, 0.0, 30.0], [5.0, 6.0, 7.0, 31.0]])
    assert imaginary_mode(q_points, at_rest, settings) == ""
    drifting = at_rest - [[0.002, 0, 0, 0], [0, 0, 0, 0]]
    assert "acoustic mode 1 of 0.011i THz at q = (0, 0, 0)" in imaginary_mode(q_points, drifting, settings)
    optical = np.array([[-2.0, 0.0, 0.0, 0.0], [5.0, 6.0, 7.0, 31.0]])
    assert "imaginary mode 1 of 2.000i THz at q = (0, 0, 0)" in imaginary_mode(q_points, optical, settings)
    at_the_edge = np.array([[0.0, 0.0, 0.0, 30.0], [-0.005, 6.0, 7.0, 31.0]])
    assert "imaginary mode 1 of 0.005i THz at q = (0.5, 0, 0)" in imaginary_mode(q_points, at_the_edge, settings)


@dataclass
class Poisoned:
    """A real potential that has no answer for one crystal of all it is asked for."""

    inner: Potential
    poison: int
    asked: int = 0

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def digest(self) -> str:
        return self.inner.digest

    @property
    def elements(self) -> frozenset[str] | None:
        return self.inner.elements

    def compute(self, batch: Batch) -> Prediction:
        prediction = self.inner.compute(batch)
        for rows in batch.slices:
            if self.asked == self.poison:
                prediction.forces_ev_per_ang[rows] = np.nan
            self.asked += 1
        return prediction


@pytest.mark.parametrize(
    ("poison", "named"), [(0, "single-atom displacement 1 of 1"), (5, r"two-atom displacement 5 of \d+ \(atom 0 by \(")]
)
def test_forces_that_are_not_finite_are_named_with_their_displacement(diamond_tersoff, tersoff, poison, named):
    record = conductivity(diamond_tersoff, Poisoned(tersoff, poison), COARSE)
    assert record.status == "failed"
    assert record.kappa_rta_w_per_mk is None
    with pytest.raises(AssertionError, match="potential 'tersoff' gave no finite forces for " + named):
        raise AssertionError(record.reason)


def test_mesh_that_breaks_the_symmetry_is_refused(diamond_tersoff, tersoff):
    record = conductivity(diamond_tersoff, tersoff, replace(COARSE, mesh=(3, 4, 5)))
    assert record.status == "failed"
    assert record.reason.startswith("the 3×4×5 mesh breaks the symmetry of space group 227")


def test_crystal_without_a_space_group_is_failed_not_raised(diamond_tersoff, tersoff):
    coinciding = diamond_tersoff.moved_to(diamond_tersoff.cell, np.zeros((2, 3)))
    record = conductivity(coinciding, tersoff, COARSE)
    assert record.status == "failed"
    assert record.reason.startswith("spglib finds no space group within 0.001 Å")
    assert record.mesh is None


def test_unknown_element_is_an_input_error(tersoff):
    with pytest.raises(UnsupportedElementError, match="does not know Cu"):
        conductivity(Crystal.from_ase(bulk("Cu")), tersoff, COARSE)


def test_kappa_of_diamond_in_the_papers_protocol(diamond_tersoff, tersoff):
    record = conductivity(diamond_tersoff, tersoff, PAPER)
    assert (record.status, record.reason) == ("ok", "")
    assert record.mesh == (10, 10, 10)
    assert (record.space_group_number, record.symmetry_operations) == (227, 48)
    assert (record.n_displacements, record.n_supercell_atoms) == (95, (54, 54))
    assert (record.potential, record.potential_digest) == ("tersoff", tersoff.digest)
    assert record.seconds == pytest.approx(sum(record.seconds_by_part.values()))
    assert set(record.seconds_by_part) == {"displacements", "forces", "force_constants", "stability", "collisions"}
    np.testing.assert_allclose(
        record.kappa_rta_w_per_mk, record.kappa_rta_max_w_per_mk * np.eye(3), atol=1e-9 * record.kappa_rta_max_w_per_mk
    )
    all_pairs = conductivity(diamond_tersoff, tersoff, ALL_PAIRS)
    assert all_pairs.n_displacements == 181
    assert record.kappa_rta_max_w_per_mk == pytest.approx(all_pairs.kappa_rta_max_w_per_mk, rel=5e-3)


@pytest.mark.slow
def test_cutoff_and_negligible_triplets_change_kappa_little(lonsdaleite, tersoff):
    record = conductivity(lonsdaleite, tersoff, PAPER)
    all_pairs = conductivity(lonsdaleite, tersoff, ALL_PAIRS)
    np.testing.assert_allclose(record.kappa_eigenvalues_w_per_mk, all_pairs.kappa_eigenvalues_w_per_mk, rtol=5e-3)


@pytest.mark.parametrize("recast", RECAST.values(), ids=RECAST)
def test_kappa_of_diamond_does_not_depend_on_the_cell(diamond_tersoff, tersoff, recast):
    expected = conductivity(diamond_tersoff, tersoff, COARSE)
    given = rotated(recast(diamond_tersoff), TILT)
    record = conductivity(given, tersoff, COARSE)
    np.testing.assert_allclose(
        record.kappa_rta_w_per_mk, expected.kappa_rta_w_per_mk, atol=0.01 * expected.kappa_rta_max_w_per_mk
    )


def test_kappa_does_not_depend_on_a_small_displacement(diamond_tersoff, tersoff):
    large = conductivity(diamond_tersoff, tersoff, COARSE)
    small = conductivity(diamond_tersoff, tersoff, replace(COARSE, paper=replace(COARSE.paper, displacement_ang=0.003)))
    assert small.kappa_rta_max_w_per_mk == pytest.approx(large.kappa_rta_max_w_per_mk, rel=0.01)


def test_kappa_of_conventional_cell_is_that_of_the_primitive(diamond_tersoff, tersoff):
    conventional = Crystal.from_ase(bulk("C", "diamond", a=A_TERSOFF_ANG, cubic=True))
    record = conductivity(conventional, tersoff, COARSE)
    assert len(record.crystal) == 2
    expected = conductivity(diamond_tersoff, tersoff, COARSE)
    assert record.kappa_rta_max_w_per_mk == pytest.approx(expected.kappa_rta_max_w_per_mk, rel=0.01)


def test_kappa_tensor_turns_with_an_anisotropic_crystal(lonsdaleite, tersoff):
    record = conductivity(lonsdaleite, tersoff, COARSE)
    upright = record.kappa_rta_w_per_mk
    assert abs(upright[2, 2] - upright[0, 0]) > 0.02 * upright[0, 0], "too isotropic to show anything"
    tilted = conductivity(rotated(permuted(sheared(lonsdaleite)), TILT), tersoff, COARSE)
    np.testing.assert_allclose(
        tilted.kappa_rta_w_per_mk, TILT @ upright @ TILT.T, atol=2e-3 * tilted.kappa_rta_max_w_per_mk
    )
    standard = []
    for each in (record, tilted):
        turn = each.rotation_to_standard
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1)
        standard.append(turn @ each.kappa_rta_w_per_mk @ turn.T)
    np.testing.assert_allclose(*standard, atol=2e-3 * tilted.kappa_rta_max_w_per_mk)


def test_same_crystal_gives_the_same_bits(diamond_tersoff, tersoff):
    first, second = (conductivity(diamond_tersoff, tersoff, COARSE) for _ in range(2))
    for field in fields(first):
        if field.name not in ("seconds", "seconds_by_part", "peak_gib_by_part", "crystal", "solutions"):
            assert np.array_equal(getattr(first, field.name), getattr(second, field.name)), field.name
    assert np.array_equal(first.kappa_rta_w_per_mk, second.kappa_rta_w_per_mk)
    assert first.crystal.digest == second.crystal.digest


def test_kappa_without_scattering_is_refused():
    """Dimers that the potential does not connect: infinite lifetimes, not an ultrahigh conductor."""
    dimers = Crystal(np.diag([3.0, 3.0, 4.0]), [[0, 0, 0], [0, 0, 1.39]], [6, 6], id="dimers")
    record = conductivity(dimers, load("brenner"), COARSE)
    assert record.status == "failed"
    assert "nothing to scatter with" in record.reason
    assert record.kappa_rta_max_w_per_mk is None

"""κ by supercells large enough, our own kernel and two meshes; small settings, a classical potential."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from scipy.spatial.transform import Rotation

from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.potentials.base import Batch, Potential, Prediction
from kappaforge.potentials.registry import load
from kappaforge.transport.conductivity import conductivity
from kappaforge.transport.converged import Tensors, _combined
from kappaforge.transport.meshes import converged_meshes, extrapolated, keeps_symmetry, reciprocal_lengths
from kappaforge.transport.modes import conduction_w_per_mk_per_ps, mode_kappas_w_per_mk
from kappaforge.transport.order_settings import ForceConstantSettings
from kappaforge.transport.orders import order2
from kappaforge.transport.phonon_grid import phonon_grid
from kappaforge.transport.primitive import primitive_crystal
from kappaforge.transport.record import KappaRecord
from kappaforge.transport.settings import KappaSettings
from kappaforge.transport.solution import Solution

FORCES = ForceConstantSettings(
    fc2_face_distance_ang=6.0,
    fc3_face_distance_ang=5.0,
    fc3_cutoff_ang=2.7,
    fc3_fit_cutoff_ang=2.7,
    displacement_ang=0.01,
    way="finite",
)
SMALL = KappaSettings(mesh_length_ang=11.0, force_constants=FORCES)
ONE_MESH = replace(SMALL, extrapolate=False)
TILT = Rotation.from_euler("xyz", [20, 50, -35], degrees=True).as_matrix()


@pytest.fixture(scope="module")
def brenner() -> Potential:
    return load("brenner")


@pytest.fixture(scope="module")
def crystals() -> dict[str, Crystal]:
    return {entry.name: entry.crystal for entry in known_carbons()}


@pytest.fixture(scope="module")
def bct(brenner: Potential, crystals: dict[str, Crystal]) -> KappaRecord:
    return conductivity(crystals["bct-C4"], brenner, ONE_MESH)


def test_record_tells_method_supercells_meshes_and_parts(brenner, crystals):
    record = conductivity(crystals["diamond"], brenner, SMALL)
    assert (record.status, record.method, record.level) == ("ok", "converged", "full")
    assert record.meshes == ((5, 5, 5), (7, 7, 7))
    assert record.ways == ("finite", "finite")
    assert record.fit_residual is None
    assert len(record.n_supercell_atoms) == 2
    parts = {"displacements", "forces", "force_constants", "stability", "collisions", "solution"}
    assert set(record.seconds_by_part) == set(record.peak_gib_by_part) == parts
    assert 0.05 < min(record.peak_gib_by_part.values()) <= max(record.peak_gib_by_part.values()) < 24
    assert record.conduction_w_per_mk_per_ps > 0
    (solution,) = record.solutions
    assert len(solution.by_mesh) == 2
    assert solution.mesh_error_w_per_mk > 0


def test_kernel_agrees_with_phono3py_on_the_same_force_constants(brenner, crystals, bct):
    """bct-C4's supercells of both orders have their atoms in different cells, which the kernel must not mix up."""
    theirs = conductivity(crystals["bct-C4"], brenner, replace(ONE_MESH, collisions="phono3py"))
    cells = conductivity(crystals["bct-C4"], brenner, replace(ONE_MESH, collisions="cells"))
    for name in ("kappa_rta_w_per_mk", "kappa_lbte_w_per_mk"):
        expected = getattr(theirs, name)
        np.testing.assert_allclose(getattr(bct, name), expected, atol=0.02 * np.abs(expected).max())
        np.testing.assert_allclose(getattr(cells, name), expected, atol=0.15 * np.abs(expected).max())


def test_collisions_that_do_not_fit_are_refused(brenner, crystals):
    record = conductivity(crystals["diamond"], brenner, replace(ONE_MESH, collision_memory_gib=0.01))
    assert record.status == "failed"
    assert "mesh need about" in record.reason
    assert "raise collision_memory_gib" in record.reason
    assert not record.solutions


@pytest.mark.parametrize("recast", ["sheared", "rotated", "permuted", "doubled"])
def test_kappa_does_not_depend_on_the_cell_it_is_given_in(brenner, crystals, bct, recast):
    given, turn = crystals["bct-C4"], np.eye(3)
    if recast == "sheared":
        given = given.moved_to(np.array([[1, 0, 0], [1, 1, 0], [-1, 2, 1]]) @ given.cell, given.positions)
    elif recast == "rotated":
        turn = TILT
        given = given.moved_to(given.cell @ TILT.T, given.positions @ TILT.T)
    elif recast == "permuted":
        given = given.moved_to(given.cell[[1, 0, 2]], given.positions[::-1] + np.array([0.3, -2.0, 11.0]))
    else:
        given = Crystal.from_ase(given.to_ase().repeat((1, 1, 2)), id="doubled")
    record = conductivity(given, brenner, ONE_MESH)
    for name in ("kappa_rta_w_per_mk", "kappa_lbte_w_per_mk"):
        expected = turn @ getattr(bct, name) @ turn.T
        np.testing.assert_allclose(getattr(record, name), expected, atol=0.01 * np.abs(expected).max())


def test_seed_of_random_displacements_changes_kappa_little(brenner, crystals):
    found = []
    for seed in (0, 1):
        constants = replace(FORCES, way="fit", seed=seed)
        record = conductivity(crystals["diamond"], brenner, replace(ONE_MESH, force_constants=constants))
        assert record.ways == ("fit", "fit")
        assert 0 < record.fit_residual < 0.02
        found.append(record.kappa_lbte_max_w_per_mk)
    assert found[1] == pytest.approx(found[0], rel=0.02)


@pytest.mark.parametrize("collisions", ["cells", "tetrahedra"])
def test_whole_equation_has_no_gap_on_boundaries_where_bands_cross(brenner, crystals, collisions):
    """On the top of lonsdaleite's zone bands of opposite velocities are degenerate; they must carry their heat."""
    settings = replace(SMALL, collisions=collisions)
    odd, even = (
        conductivity(crystals["lonsdaleite"], brenner, replace(settings, mesh=mesh)) for mesh in ((7, 7, 5), (7, 7, 4))
    )
    # four points along z: 1.1 % above the RTA by cells, 0.06 % below it by tetrahedra; on five 8.8 and 6.7 % above
    share = 0.999 if collisions == "tetrahedra" else 1.0
    assert odd.kappa_lbte_w_per_mk[2, 2] > odd.kappa_rta_w_per_mk[2, 2]
    assert even.kappa_lbte_w_per_mk[2, 2] > share * even.kappa_rta_w_per_mk[2, 2]
    assert even.kappa_lbte_w_per_mk[2, 2] == pytest.approx(odd.kappa_lbte_w_per_mk[2, 2], rel=0.25)


def test_level_decides_how_far_it_goes(brenner, crystals):
    harmonic, rta = (
        conductivity(crystals["diamond"], brenner, replace(ONE_MESH, level=level)) for level in ("harmonic", "rta")
    )
    assert harmonic.solutions == ()
    assert harmonic.n_displacements == 1
    assert harmonic.conduction_w_per_mk_per_ps == pytest.approx(rta.conduction_w_per_mk_per_ps)
    assert rta.kappa_lbte_w_per_mk is None
    assert rta.kappa_rta_max_w_per_mk > 100


def test_temperatures_isotopes_and_boundaries_act_as_they_should(brenner, crystals):
    diamond = crystals["diamond"]
    plain = conductivity(diamond, brenner, replace(ONE_MESH, more_temperatures_k=(200.0, 600.0, 300.0)))
    assert [solution.temperature_k for solution in plain.solutions] == [300.0, 200.0, 600.0]
    hot, cold = plain.solutions[2], plain.solutions[1]
    assert hot.kappa_w_per_mk[0, 0] < plain.solutions[0].kappa_w_per_mk[0, 0] < cold.kappa_w_per_mk[0, 0]
    isotopes = conductivity(diamond, brenner, replace(ONE_MESH, isotope_scattering=True))
    narrow = conductivity(diamond, brenner, replace(ONE_MESH, boundary_length_um=0.05))
    for record in (isotopes, narrow):
        assert record.kappa_lbte_max_w_per_mk < 0.98 * plain.kappa_lbte_max_w_per_mk


def test_unstable_crystal_is_named_with_mode_and_q(brenner):
    record = conductivity(Crystal.from_ase(bulk("C", "sc", a=1.9), id="sc"), load("tersoff"), SMALL)
    assert record.status == "unstable"
    assert record.reason.startswith("imaginary mode 1 of ")
    assert " THz at q = (" in record.reason
    assert record.min_frequency_thz < -20
    assert record.solutions == ()


def test_potential_without_an_answer_is_named_with_its_displacement(brenner, crystals):
    class Broken:
        name, digest, elements = "broken", "", None

        def compute(self, batch: Batch) -> Prediction:
            prediction = brenner.compute(batch)
            prediction.forces_ev_per_ang[0] = np.nan
            return prediction

    record = conductivity(crystals["diamond"], Broken(), SMALL)
    assert record.status == "failed"
    assert "potential 'broken' gave no finite forces for single-atom displacement 1 of 1" in record.reason


def test_meshes_follow_reciprocal_lengths_and_are_odd(crystals):
    for crystal in crystals.values():
        primitive = primitive_crystal(crystal, 1e-3)
        coarse, fine = converged_meshes(primitive, KappaSettings())
        for mesh in (coarse, fine):
            assert all(number % 2 for number in mesh)
            assert keeps_symmetry(primitive, mesh)
        assert all(first < second for first, second in zip(coarse, fine, strict=True))
        length_ang = KappaSettings().mesh_length_ang * min(1, 4 / len(primitive.crystal)) ** (1 / 3)
        assert np.all(np.array(coarse) >= length_ang * reciprocal_lengths(primitive) - 1 - 1e-6)


def test_extrapolation_is_exact_where_kappa_is_linear_in_the_distance_of_points():
    meshes = (7, 7, 5), (11, 11, 7)
    true = np.diag([100.0, 90.0, 50.0])
    coarse, fine = (true - 80 * np.eye(3) / np.prod(mesh) ** (1 / 3) for mesh in meshes)
    np.testing.assert_allclose(extrapolated((coarse, fine), meshes), true)


def test_mesh_error_covers_what_the_finer_mesh_changes(brenner, crystals):
    """The estimate from two meshes against a mesh three times as fine."""
    estimated = conductivity(crystals["diamond"], brenner, SMALL)
    fine = conductivity(crystals["diamond"], brenner, replace(SMALL, mesh=(17, 17, 17)))
    assert abs(estimated.kappa_lbte_max_w_per_mk - fine.kappa_lbte_max_w_per_mk) < 2 * (
        estimated.solution.mesh_error_w_per_mk
    )


def test_kappa_that_falls_from_mesh_to_mesh_is_not_extrapolated():
    """Long waves only add to it."""
    meshes = (7, 7, 7), (11, 11, 11)
    turn = Rotation.from_euler("xyz", [20, 40, 60], degrees=True).as_matrix()
    coarse, fine = (turn @ np.diag(each) @ turn.T for each in ([50.0, 40.0, 30.0], [40.0, 44.0, 5.0]))
    expected = turn @ np.diag([40.0, 44.0 + 4.0 / (11 / 7 - 1), 5.0]) @ turn.T
    np.testing.assert_allclose(extrapolated((coarse, fine), meshes), expected)


def test_mesh_error_is_that_of_the_direction_that_changes_most():
    """Of C-40118-1783-26 the largest eigenvalues are alike, but those of different directions."""
    coarse, fine = Tensors(np.diag([50.0, 40.0, 30.0])), Tensors(np.diag([39.0, 45.0, 30.0]))
    for meshes, share in ((((5, 5, 5), (7, 7, 7)), 1.0), (((7, 7, 7), (11, 11, 11)), 0.5)):
        combined = _combined(300.0, [coarse, fine], meshes)
        assert combined.mesh_step_w_per_mk == pytest.approx(11.0 / (meshes[1][0] / meshes[0][0] - 1))
        assert combined.mesh_error_w_per_mk == pytest.approx(share * combined.mesh_step_w_per_mk)


def test_mesh_error_of_three_points_is_never_small():
    alike = [Tensors(np.diag([50.0, 40.0, 30.0]))] * 2
    assert _combined(300.0, alike, ((3, 5, 5), (5, 7, 7))).mesh_error_w_per_mk == pytest.approx(5.0)
    assert _combined(300.0, alike, ((5, 5, 5), (7, 7, 7))).mesh_error_w_per_mk == 0.0


def test_cutoff_of_zero_is_none(brenner, crystals):
    """TOML has no null."""
    small = replace(FORCES, fc3_face_distance_ang=4.0)
    zero, none = (
        conductivity(
            crystals["diamond"], brenner, replace(ONE_MESH, force_constants=replace(small, fc3_cutoff_ang=cutoff))
        )
        for cutoff in (0.0, None)
    )
    assert zero.n_displacements == none.n_displacements
    np.testing.assert_array_equal(zero.kappa_rta_w_per_mk, none.kappa_rta_w_per_mk)


def test_conduction_is_kappa_for_lifetimes_of_a_picosecond(brenner, crystals):
    """Of the modes' own sum, with the same half width 1 / (4π ps) for each."""
    second = order2(primitive_crystal(crystals["bct-C4"], 1e-3), brenner, FORCES)
    grid = phonon_grid(second.phonopy, (3, 3, 3))
    alive = grid.frequencies_thz[grid.irreducible] > 0
    same = Solution(300.0, np.eye(3), None, np.where(alive, 1 / (4 * np.pi), 0.0), 0)
    expected = np.trace(mode_kappas_w_per_mk(grid, same).sum(axis=(0, 1))) / 3
    assert conduction_w_per_mk_per_ps(grid, 300.0) == pytest.approx(expected, rel=1e-9)

"""Coherences of the Wigner equation against phono3py, differences of the root of D, and changes of the cell."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from phono3py import Phono3py
from phonopy import Phonopy

from kappaforge.crystal import Crystal
from kappaforge.potentials.registry import load
from kappaforge.transport.force_constants import displace_atoms, force_constants, phonopy_with
from kappaforge.transport.forces import supercell_forces
from kappaforge.transport.phonon_grid import PhononGrid, phonon_grid
from kappaforge.transport.settings import PaperProtocol
from kappaforge.transport.wigner import DEGENERATE_THZ, coherence_kappa_w_per_mk, velocity_operators_thz_ang
from test_transport_force_constants import distorted, silicon_example, with_forces
from test_transport_kernel import harmonic

TEMPERATURES_K = [100.0, 300.0, 1000.0]


@pytest.fixture(scope="module", params=["silicon", "distorted"])
def crystal(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Phono3py, Phonopy]:
    if request.param == "silicon":
        forces = Path(__file__).parent / "data" / "silicon" / "FORCES_FC3.xz"
        phono3py = silicon_example(forces.read_bytes(), tmp_path_factory.mktemp("silicon"))
    else:
        phono3py = with_forces(distorted(), PaperProtocol(supercell=(2, 2, 2)))
    constants = force_constants(phono3py)
    phono3py.fc2, phono3py.fc3 = constants.fc2, constants.fc3
    return phono3py, harmonic(phono3py, constants)


def test_coherences_are_those_of_phono3py_with_its_linewidths(crystal: tuple[Phono3py, Phonopy]) -> None:
    phono3py, phonopy = crystal
    phono3py.mesh_numbers = [4, 4, 4]
    phono3py.init_phph_interaction(symmetrize_fc3q=False, symmetrize_tetrahedra=True)
    phono3py.run_thermal_conductivity(is_LBTE=False, temperatures=TEMPERATURES_K, transport_type="SMM19")
    theirs = phono3py.thermal_conductivity
    one, two = theirs.frequencies[:, :, None], theirs.frequencies[:, None, :]
    # Against the paper, and its own older code, phono3py 4.10 has degenerate pairs, which are populations, among those
    # between bands, and gradients of D over 2 √(ω ω') for velocities, instead of ω + ω', which are those of √D.
    factor = np.where(np.abs(one - two) < DEGENERATE_THZ, 0.0, 4 * np.maximum(one * two, 0) / (one + two) ** 2)
    pairs = theirs.mode_kappa_matrix[0] * factor[None, ..., None]
    expected = pairs.sum(axis=(1, 2, 3)) / 4**3

    grid = phonon_grid(phonopy, (4, 4, 4))
    for place, temperature_k in enumerate(TEMPERATURES_K):
        ours = coherence_kappa_w_per_mk(phonopy, grid, theirs.gamma[0, place], temperature_k)
        np.testing.assert_allclose(np.diag(ours), expected[place, :3], rtol=1e-5)
        np.testing.assert_allclose(ours[[1, 0, 0], [2, 2, 1]], 0, atol=1e-9 * ours.max())


def root_of_dynamical_matrix(phonopy: Phonopy, q: np.ndarray) -> np.ndarray:
    phonopy.dynamical_matrix.run(q)
    values, vectors = np.linalg.eigh(phonopy.dynamical_matrix.dynamical_matrix)
    return (vectors * np.sqrt(np.abs(values))) @ vectors.conj().T * phonopy.unit_conversion_factor


def test_velocity_operators_are_gradients_of_the_root_of_the_dynamical_matrix(
    crystal: tuple[Phono3py, Phonopy],
) -> None:
    _, phonopy = crystal
    grid = phonon_grid(phonopy, (4, 4, 4))
    operators = velocity_operators_thz_ang(phonopy, grid)
    step = 1e-5
    for point, operator in list(zip(grid.irreducible, operators, strict=True))[1:]:  # at Γ the root has no gradient
        vectors = grid.eigenvectors[point]
        for axis in range(3):
            move = phonopy.primitive.cell @ (step * np.eye(3)[axis])
            difference = root_of_dynamical_matrix(phonopy, grid.points[point] + move)
            difference -= root_of_dynamical_matrix(phonopy, grid.points[point] - move)
            expected = vectors.conj().T @ difference @ vectors / (2 * step)
            np.testing.assert_allclose(operator[axis], expected, atol=1e-5 * np.abs(operators).max())


def test_diagonal_of_the_velocity_operators_are_the_group_velocities(crystal: tuple[Phono3py, Phonopy]) -> None:
    _, phonopy = crystal
    grid = phonon_grid(phonopy, (4, 4, 4))
    diagonal = np.einsum("qall->qla", velocity_operators_thz_ang(phonopy, grid)).real
    frequencies = grid.frequencies_thz[grid.irreducible]
    gaps = np.abs(frequencies[:, :, None] - frequencies[:, None, :]) + np.where(np.eye(frequencies.shape[1]), np.inf, 0)
    single = gaps.min(axis=2) > DEGENERATE_THZ
    assert single.sum() > 10
    np.testing.assert_allclose(diagonal[single], grid.velocities_thz_ang[grid.irreducible][single], atol=1e-6)


def tersoff_phonons(crystal: Crystal, cell: tuple[int, int, int] = (1, 1, 1)) -> Phonopy:
    """Return phonons that are counted in a cell of so many of the crystal's own."""
    displaced = phonopy_with(crystal, np.diag([4, 4, 4]))
    displace_atoms(displaced, 0.03)
    displaced.forces = supercell_forces(
        load("tersoff"), displaced.supercell, displaced.supercells_with_displacements, "single-atom"
    )
    displaced.produce_force_constants(calculate_full_force_constants=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the doubled cell has fewer symmetries than the supercell
        phonopy = Phonopy(
            displaced.unitcell, supercell_matrix=np.diag([4, 4, 4]), primitive_matrix=np.diag(cell).astype(float)
        )
    phonopy.force_constants = displaced.force_constants
    return phonopy


def widths_thz(grid: PhononGrid) -> np.ndarray:
    """Return linewidths that depend on the frequency alone, as broad as those of a glass so that many pairs count."""
    return 0.002 * grid.frequencies_thz[grid.irreducible] ** 2


def test_coherences_do_not_depend_on_the_cell_that_phonons_are_counted_in() -> None:
    """A doubled cell folds the zone; without the smooth phase, pairs of folded modes would have a velocity."""
    primitive, doubled = tersoff_phonons(distorted()), tersoff_phonons(distorted(), (2, 1, 1))
    assert (len(primitive.primitive), len(doubled.primitive)) == (2, 4)
    grids = phonon_grid(primitive, (4, 4, 4)), phonon_grid(doubled, (2, 4, 4))
    one, two = (
        coherence_kappa_w_per_mk(phonopy, grid, widths_thz(grid), 300.0)
        for phonopy, grid in zip((primitive, doubled), grids, strict=True)
    )
    assert np.diag(one).min() > 0
    np.testing.assert_allclose(two, one, atol=1e-5 * one.max())


def test_coherences_turn_with_the_crystal_and_are_isotropic_in_a_cubic_one(diamond: Crystal) -> None:
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)  # no mirror
    for crystal in (distorted(), diamond):
        turned = Crystal(crystal.cell @ turn.T, crystal.positions @ turn.T, crystal.numbers)
        tensors = []
        for each in (crystal, turned):
            phonopy = tersoff_phonons(each)
            grid = phonon_grid(phonopy, (4, 4, 4))
            tensors.append(coherence_kappa_w_per_mk(phonopy, grid, widths_thz(grid), 300.0))
        np.testing.assert_allclose(tensors[1], turn @ tensors[0] @ turn.T, atol=1e-5 * tensors[0].max())
    np.testing.assert_allclose(tensors[0], np.trace(tensors[0]) / 3 * np.eye(3), atol=1e-9 * tensors[0].max())


def test_coherences_grow_with_the_linewidths_while_these_are_narrow(diamond: Crystal) -> None:
    phonopy = tersoff_phonons(diamond)
    grid = phonon_grid(phonopy, (4, 4, 4))
    narrow, wider, none = (
        coherence_kappa_w_per_mk(phonopy, grid, widths_thz(grid) * by, 300.0)[0, 0] for by in (1e-4, 1e-3, 0)
    )
    assert wider / narrow == pytest.approx(10, rel=1e-3)
    assert none == 0

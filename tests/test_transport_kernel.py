"""Our own kernel of three-phonon scattering against phono3py, and against what it must obey whatever the numbers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from phono3py import Phono3py
from phono3py.other.isotope import get_mass_variances
from phonopy import Phonopy

from kappaforge.transport.collision_memory import collision_gib, temperatures_at_once
from kappaforge.transport.energy import Integration, spread_density
from kappaforge.transport.failure import TransportError
from kappaforge.transport.force_constants import ForceConstants, force_constants
from kappaforge.transport.interaction import ThreePhonon, lattice_terms
from kappaforge.transport.phonon_grid import PhononGrid, phonon_grid
from kappaforge.transport.scattering import isotope_rates_thz, three_phonon_scattering
from kappaforge.transport.settings import PaperProtocol
from kappaforge.transport.solution import Solution, solve
from test_transport_force_constants import distorted, silicon_example, with_forces


def harmonic(phono3py: Phono3py, constants: ForceConstants) -> Phonopy:
    phonopy = Phonopy(
        phono3py.unitcell,
        supercell_matrix=phono3py.supercell_matrix,
        primitive_matrix=phono3py.primitive_matrix,
        log_level=0,
    )
    phonopy.force_constants = constants.fc2
    return phonopy


@pytest.fixture(scope="module")
def silicon(tmp_path_factory: pytest.TempPathFactory) -> tuple[Phonopy, ForceConstants]:
    forces = Path(__file__).parent / "data" / "silicon" / "FORCES_FC3.xz"
    phono3py = silicon_example(forces.read_bytes(), tmp_path_factory.mktemp("silicon"))
    constants = force_constants(phono3py)
    return harmonic(phono3py, constants), constants


@pytest.fixture(scope="module")
def silicon_grid(silicon: tuple[Phonopy, ForceConstants]) -> tuple[PhononGrid, ThreePhonon]:
    phonopy, constants = silicon
    grid = phonon_grid(phonopy, (9, 9, 9))
    return grid, ThreePhonon(lattice_terms(constants.fc3, constants.known, phonopy.primitive), grid, phonopy.primitive)


def test_strengths_are_those_of_phono3py_for_a_crystal_of_low_symmetry() -> None:
    phono3py = with_forces(distorted(), PaperProtocol(supercell=(2, 2, 2)))
    constants = force_constants(phono3py)
    phonopy = harmonic(phono3py, constants)
    grid = phonon_grid(phonopy, (4, 4, 4))
    terms = lattice_terms(constants.fc3, constants.known, phonopy.primitive)
    kernel = ThreePhonon(terms, grid, phonopy.primitive, precision="double")

    phono3py.fc2, phono3py.fc3 = constants.fc2, constants.fc3
    phono3py.mesh_numbers = [4, 4, 4]
    phono3py.init_phph_interaction(symmetrize_fc3q=False)
    theirs = phono3py.phph_interaction
    theirs.run_phonon_solver()
    for point, triplets, strengths in kernel.each():
        theirs.set_grid_point(grid.bz_grid.grg2bzg[point])
        theirs.run()
        expected = theirs.interaction_strength / theirs.unit_conversion_factor
        np.testing.assert_array_equal(theirs.get_triplets_at_q()[0], triplets.in_zone)
        inverse = np.where(grid.frequencies_thz > 0, 1 / np.where(grid.frequencies_thz > 0, grid.frequencies_thz, 1), 0)
        ours = strengths.numpy() * inverse[point][None, :, None, None]
        ours *= inverse[triplets.second][:, None, :, None] * inverse[triplets.third][:, None, None, :]
        # degenerate modes may be mixed differently, which their sum does not see
        np.testing.assert_allclose(ours.sum(axis=(1, 2, 3)), expected.sum(axis=(1, 2, 3)), rtol=1e-8)


@pytest.mark.parametrize(
    ("integration", "tolerance"),
    [("tetrahedra", 0.01), ("cells", 0.05)],
)
def test_silicon_has_the_kappa_of_phono3py(
    silicon_grid: tuple[PhononGrid, ThreePhonon], silicon: tuple[Phonopy, ForceConstants], integration, tolerance
) -> None:
    grid, kernel = silicon_grid
    (scattering,) = three_phonon_scattering(kernel, [300.0], integration)
    isotopes = isotope_rates_thz(grid, get_mass_variances(silicon[0].primitive))
    pure = solve(grid, scattering)
    natural = solve(grid, scattering, isotope_rates_thz=isotopes)
    # phono3py 4.10 on the same mesh, with tetrahedra
    for tensor, expected in (
        (pure.kappa_rta_w_per_mk, 106.7),
        (pure.kappa_lbte_w_per_mk, 110.3),
        (natural.kappa_rta_w_per_mk, 96.1),
    ):
        np.testing.assert_allclose(tensor, expected * np.eye(3), atol=tolerance * expected)


def test_strength_of_scattering_does_not_depend_on_how_the_work_is_cut(
    silicon: tuple[Phonopy, ForceConstants], monkeypatch: pytest.MonkeyPatch
) -> None:
    phonopy, constants = silicon
    grid = phonon_grid(phonopy, (3, 3, 3))
    terms = lattice_terms(constants.fc3, constants.known, phonopy.primitive)
    (whole,) = three_phonon_scattering(ThreePhonon(terms, grid, phonopy.primitive, precision="double"), [300.0])
    monkeypatch.setattr("kappaforge.transport.interaction.CHUNK_BYTES", 1)
    (cut,) = three_phonon_scattering(ThreePhonon(terms, grid, phonopy.primitive, precision="double"), [300.0])
    np.testing.assert_allclose(cut.linewidths_thz, whole.linewidths_thz, rtol=1e-9)
    np.testing.assert_allclose(cut.back_thz, whole.back_thz, rtol=1e-5, atol=1e-6 * whole.back_thz.max())


def test_temperatures_share_the_memory_out(silicon: tuple[Phonopy, ForceConstants]) -> None:
    grid = phonon_grid(silicon[0], (9, 9, 9))
    always, each = collision_gib(grid, 1000, 6, whole=True)
    temperatures_k = [100.0, 200.0, 300.0, 400.0, 500.0]
    allowed = always + 2.5 * each
    assert temperatures_at_once(grid, 1000, temperatures_k, allowed, whole=True) == [[100, 200], [300, 400], [500]]
    assert temperatures_at_once(grid, 1000, temperatures_k, allowed, whole=False) == [temperatures_k]
    assert temperatures_at_once(grid, 1000, temperatures_k, None, whole=True) == [temperatures_k]
    with pytest.raises(TransportError, match=r"9×9×9 mesh need about .* GiB, and .* are allowed: take a smaller"):
        temperatures_at_once(grid, 1000, temperatures_k, always + each / 2, whole=True)
    # what one temperature gives back is most of what it takes
    n_modes = 729 * 6
    assert each * 2**30 == pytest.approx(4 * len(grid.irreducible) * 6 * n_modes)


def test_each_temperature_is_as_if_alone_and_whole_or_not_does_not_change_linewidths(
    silicon: tuple[Phonopy, ForceConstants],
) -> None:
    phonopy, constants = silicon
    grid = phonon_grid(phonopy, (3, 3, 3))
    kernel = ThreePhonon(lattice_terms(constants.fc3, constants.known, phonopy.primitive), grid, phonopy.primitive)
    cold, warm = three_phonon_scattering(kernel, [100.0, 300.0])
    (alone,) = three_phonon_scattering(kernel, [300.0])
    (short,) = three_phonon_scattering(kernel, [300.0], whole=False)
    np.testing.assert_array_equal(warm.linewidths_thz, alone.linewidths_thz)
    np.testing.assert_array_equal(warm.back_thz, alone.back_thz)
    np.testing.assert_array_equal(short.linewidths_thz, alone.linewidths_thz)
    assert short.back_thz is None
    assert solve(grid, short).kappa_lbte_w_per_mk is None
    assert cold.linewidths_thz.sum() < warm.linewidths_thz.sum()


def solved(
    settings: PaperProtocol, mesh: tuple[int, int, int], integration: Integration = "tetrahedra", **options: float
) -> Solution:
    phono3py = with_forces(distorted(), settings)
    constants = force_constants(phono3py)
    phonopy = harmonic(phono3py, constants)
    grid = phonon_grid(phonopy, mesh)
    terms = lattice_terms(constants.fc3, constants.known, phonopy.primitive)
    (scattering,) = three_phonon_scattering(ThreePhonon(terms, grid, phonopy.primitive), [300.0], integration)
    return solve(grid, scattering, **options)


def test_whole_equation_is_that_of_phono3py_for_a_crystal_of_low_symmetry() -> None:
    settings = PaperProtocol(supercell=(2, 2, 2))
    ours = solved(settings, (5, 5, 5), "tetrahedra")
    phono3py = with_forces(distorted(), settings)
    constants = force_constants(phono3py)
    phono3py.fc2, phono3py.fc3 = constants.fc2, constants.fc3
    phono3py.mesh_numbers = [5, 5, 5]  # even numbers put points where bands of opposite velocities are degenerate
    phono3py.init_phph_interaction(symmetrize_fc3q=False, symmetrize_tetrahedra=True)
    phono3py.run_thermal_conductivity(is_LBTE=True, temperatures=[300.0])
    theirs = phono3py.thermal_conductivity
    for ours_now, theirs_now in ((ours.kappa_rta_w_per_mk, theirs.kappa_RTA), (ours.kappa_lbte_w_per_mk, theirs.kappa)):
        np.testing.assert_allclose(np.diag(ours_now), theirs_now[0, 0, :3], rtol=0.02)


def test_narrow_boundaries_leave_what_they_scatter() -> None:
    """κ = Σ C v v τ with τ = L / |v| where nothing else scatters; it falls with the length."""
    settings = replace(PaperProtocol(), supercell=(2, 2, 2))
    wide, narrow, narrower = (solved(settings, (4, 4, 4), boundary_length_um=length) for length in (1e3, 1e-4, 1e-5))
    largest = [np.abs(each.kappa_rta_w_per_mk).max() for each in (wide, narrow, narrower)]
    assert largest[0] > largest[1]
    assert largest[1] / largest[2] == pytest.approx(10, rel=0.02)


def test_spread_density_is_a_density(rng: np.random.Generator) -> None:
    widths = torch.from_numpy(rng.uniform(0.02, 2.0, size=(20, 3)))
    reach = widths.sum(dim=1) / 2
    at = torch.linspace(-1.01, 1.01, 4001, dtype=torch.float64)[:, None] * reach
    density = spread_density(at, widths.expand(len(at), 20, 3))
    area = torch.trapezoid(density, at, dim=0)
    variance = torch.trapezoid(density * at.square(), at, dim=0)
    torch.testing.assert_close(area, torch.ones(20, dtype=torch.float64), rtol=1e-3, atol=0)
    torch.testing.assert_close(variance, widths.square().sum(dim=1) / 12, rtol=5e-3, atol=0)
    assert density[[0, -1]].max() < 1e-12


def test_single_precision_changes_kappa_by_less_than_a_thousandth(silicon: tuple[Phonopy, ForceConstants]) -> None:
    phonopy, constants = silicon
    grid = phonon_grid(phonopy, (5, 5, 5))
    terms = lattice_terms(constants.fc3, constants.known, phonopy.primitive)
    single, double = (
        solve(
            grid,
            *three_phonon_scattering(ThreePhonon(terms, grid, phonopy.primitive, precision=precision), [300.0]),
        )
        for precision in ("single", "double")
    )
    np.testing.assert_allclose(single.kappa_lbte_w_per_mk, double.kappa_lbte_w_per_mk, atol=1e-3)

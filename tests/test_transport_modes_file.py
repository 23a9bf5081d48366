"""Mode by mode κ, and the file of it that phono3py's tools read, against phono3py's own file and tools."""

import subprocess
import sysconfig
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pytest
from phono3py import Phono3py
from phonopy.physical_units import get_physical_units

from kappaforge.errors import InputError
from kappaforge.report.phonons import cumulative
from kappaforge.transport.force_constants import force_constants
from kappaforge.transport.interaction import ThreePhonon, lattice_terms
from kappaforge.transport.modes import (
    heat_capacities_ev_per_k,
    lifetimes_ps,
    mean_free_paths_ang,
    mode_kappas_w_per_mk,
)
from kappaforge.transport.phono3py_file import voigt, write_phono3py_file
from kappaforge.transport.phonon_grid import PhononGrid, phonon_grid
from kappaforge.transport.scattering import three_phonon_scattering
from kappaforge.transport.settings import PaperProtocol
from kappaforge.transport.solution import Solution, solve
from test_transport_force_constants import distorted, silicon_example, with_forces
from test_transport_kernel import harmonic

TEMPERATURES_K = [100.0, 300.0]
MESH = (6, 6, 6)


class Solved(NamedTuple):
    phono3py: Phono3py
    grid: PhononGrid
    solutions: list[Solution]


@pytest.fixture(scope="module", params=["silicon", "distorted"])
def solved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Solved:
    if request.param == "silicon":
        forces = Path(__file__).parent / "data" / "silicon" / "FORCES_FC3.xz"
        phono3py = silicon_example(forces.read_bytes(), tmp_path_factory.mktemp("silicon"))
    else:
        phono3py = with_forces(distorted(), PaperProtocol(supercell=(2, 2, 2)))
    constants = force_constants(phono3py)
    phono3py.fc2, phono3py.fc3 = constants.fc2, constants.fc3
    phonopy = harmonic(phono3py, constants)
    grid = phonon_grid(phonopy, MESH)
    terms = lattice_terms(constants.fc3, constants.known, phonopy.primitive)
    scatterings = three_phonon_scattering(ThreePhonon(terms, grid, phonopy.primitive), TEMPERATURES_K)
    return Solved(phono3py, grid, [solve(grid, scattering) for scattering in scatterings])


def tensor(six: np.ndarray) -> np.ndarray:
    return six[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]


def test_kappas_of_modes_add_up_to_kappa_and_have_the_symmetry_of_the_crystal(solved: Solved) -> None:
    for solution in solved.solutions:
        kappas = mode_kappas_w_per_mk(solved.grid, solution)
        assert kappas.shape == (*solution.linewidths_thz.shape, 3, 3)
        np.testing.assert_allclose(
            kappas.sum(axis=(0, 1)), solution.kappa_rta_w_per_mk, atol=1e-9 * solution.kappa_rta_w_per_mk.max()
        )
        for rotation in solved.grid.rotations:
            turned = rotation @ kappas @ rotation.T
            np.testing.assert_allclose(turned, kappas, atol=1e-9 * kappas.max())


def test_heat_capacities_are_those_of_oscillators(solved: Solved) -> None:
    units = get_physical_units()
    frequencies = solved.grid.frequencies_thz[solved.grid.irreducible]
    moving = frequencies > 0
    hot, cold = (heat_capacities_ev_per_k(solved.grid, temperature_k) for temperature_k in (1e6, 1e-2))
    np.testing.assert_allclose(hot, units.KB * moving, rtol=1e-6)
    assert (cold >= 0).all()
    assert cold.max() < 1e-20

    def energies_ev(temperature_k: float) -> np.ndarray:
        quanta = frequencies * units.THzToEv
        return quanta / np.expm1(np.where(moving, quanta, np.inf) / (units.KB * temperature_k))

    expected = (energies_ev(300.01) - energies_ev(299.99)) / 0.02
    np.testing.assert_allclose(heat_capacities_ev_per_k(solved.grid, 300.0), expected, rtol=1e-6, atol=1e-15)


def test_mean_free_paths_are_speeds_times_lifetimes(solved: Solved) -> None:
    solution = solved.solutions[0]
    lifetimes = lifetimes_ps(solution.linewidths_thz)
    assert lifetimes_ps(np.array([1 / (4 * np.pi), 0.0])).tolist() == [pytest.approx(1.0), 0.0]
    speeds = np.linalg.norm(solved.grid.velocities_thz_ang, axis=2)[solved.grid.irreducible]
    np.testing.assert_allclose(mean_free_paths_ang(solved.grid, solution.linewidths_thz), speeds * lifetimes)


def test_cumulative_kappa_rises_to_the_whole(solved: Solved) -> None:
    solution = solved.solutions[1]
    kappas = mode_kappas_w_per_mk(solved.grid, solution)
    paths = mean_free_paths_ang(solved.grid, solution.linewidths_thz)
    traces = np.trace(kappas, axis1=-2, axis2=-1)
    lengths, sums = cumulative(paths, traces)
    assert (np.diff(lengths) >= 0).all()
    assert (np.diff(sums) >= 0).all()
    np.testing.assert_allclose(sums[-1], np.trace(solution.kappa_rta_w_per_mk), rtol=1e-9)
    middle = len(sums) // 2
    np.testing.assert_allclose(sums[middle], traces[paths <= lengths[middle]].sum(), rtol=1e-6)


def last_of_kaccum(folder: Path, file: Path, *options: str) -> np.ndarray:
    """Return the last row that ``phono3py-kaccum`` prints of each temperature."""
    command = Path(sysconfig.get_path("scripts")) / "phono3py-kaccum"
    done = subprocess.run([command, *options, file.name], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # blocks are apart by two empty lines
    blocks = [block for block in done.stdout.split("\n\n\n") if block.strip()]
    return np.array([[float(part) for part in block.strip().splitlines()[-1].split()] for block in blocks])


@pytest.mark.parametrize("options", [(), ("--mfp",)], ids=["frequency", "mean free path"])
def test_kaccum_of_phono3py_accumulates_our_kappa(solved: Solved, tmp_path: Path, options: tuple[str, ...]) -> None:
    solved.phono3py.save(tmp_path / "phono3py.yaml", settings={"force_sets": False, "force_constants": False})
    file = write_phono3py_file(tmp_path, solved.grid, solved.solutions, whole=False)
    assert file == tmp_path / "kappa-m666.hdf5"
    last = last_of_kaccum(tmp_path, file, *options)
    for row, solution in zip(last, solved.solutions, strict=True):
        kappa = solution.kappa_rta_w_per_mk
        np.testing.assert_allclose(row[1:7], voigt(kappa), atol=0.01 * kappa.max())


def test_kaccum_of_phono3py_reads_a_file_of_the_whole_equation(solved: Solved, tmp_path: Path) -> None:
    solved.phono3py.save(tmp_path / "phono3py.yaml", settings={"force_sets": False, "force_constants": False})
    file = write_phono3py_file(tmp_path, solved.grid, solved.solutions)
    lifetimes = [lifetimes_ps(solution.linewidths_thz) for solution in solved.solutions]
    expected = np.einsum("q,tql->t", solved.grid.multiplicity, lifetimes) / len(solved.grid.points)
    np.testing.assert_allclose(last_of_kaccum(tmp_path, file, "--tau")[:, 1], expected, rtol=0.01)


@pytest.mark.parametrize("whole", [False, True], ids=["RTA", "LBTE"])
def test_file_is_that_of_phono3py_for_its_linewidths(
    solved: Solved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    solved.phono3py.mesh_numbers = MESH
    solved.phono3py.init_phph_interaction(symmetrize_fc3q=False, symmetrize_tetrahedra=True)
    solved.phono3py.run_thermal_conductivity(
        is_LBTE=whole, temperatures=TEMPERATURES_K, transport_type=None, write_kappa=True
    )
    found = solved.phono3py.thermal_conductivity
    solutions = []
    for place, solution in enumerate(solved.solutions):
        with_theirs = replace(solution, linewidths_thz=found.gamma[0, place])
        rta = mode_kappas_w_per_mk(solved.grid, with_theirs).sum(axis=(0, 1))
        lbte = tensor(found.kappa[0, place]) if whole else None
        solutions.append(replace(with_theirs, kappa_rta_w_per_mk=rta, kappa_lbte_w_per_mk=lbte))
    file = write_phono3py_file(tmp_path / "ours", solved.grid, solutions, whole=whole)
    with h5py.File(file) as ours, h5py.File(file.name) as theirs:
        # the response of each mode is not in a Solution; v vᵀ is of use to kaccum for LBTE too
        assert set(ours) - {"gv_by_gv"} == set(theirs) - {"gv_by_gv", "f_vector"}
        for name in set(ours) & set(theirs):
            assert ours[name].shape == theirs[name].shape, name
            assert ours[name].dtype.kind == theirs[name].dtype.kind, name
        for name in ("mesh", "temperature", "weight", "grid_point", "version"):
            np.testing.assert_array_equal(ours[name][()], theirs[name][()])
        np.testing.assert_allclose(ours["frequency"][:], theirs["frequency"][:], atol=1e-4)  # acoustic ones at Γ
        np.testing.assert_allclose(ours["qpoint"][:], theirs["qpoint"][:], atol=1e-12)
        np.testing.assert_allclose(ours["kappa_unit_conversion"], theirs["kappa_unit_conversion"], rtol=1e-9)
        frequencies = theirs["frequency"][:]
        moving = frequencies > 1e-4
        capacities = [each["heat_capacity"][:][:, moving] for each in (ours, theirs)]
        np.testing.assert_allclose(*capacities, rtol=1e-6)
        # degenerate modes may be mixed differently
        single = np.diff(frequencies, axis=1, prepend=-1, append=1e3).clip(max=1)
        single = (single[:, 1:] > 1e-3) & (single[:, :-1] > 1e-3)
        for name in {"group_velocity", "gv_by_gv"} & set(theirs):
            np.testing.assert_allclose(ours[name][:][single], theirs[name][:][single], atol=1e-4)
        np.testing.assert_allclose(ours["gamma"][:], theirs["gamma"][:])
        modes = "mode_kappa_RTA" if whole else "mode_kappa"
        largest = theirs[modes][:].max(axis=(1, 2, 3))[:, None, None]
        np.testing.assert_allclose(
            ours[modes][:][:, single] / largest, theirs[modes][:][:, single] / largest, atol=1e-5
        )
        for name in ("kappa", "kappa_RTA") if whole else ("kappa",):
            np.testing.assert_allclose(ours[name][:], theirs[name][:], rtol=1e-5, atol=1e-6)


def test_phono3py_makes_the_same_kappas_of_modes_from_our_linewidths(solved: Solved, tmp_path: Path) -> None:
    """C v vᵀ τ of the file's own data are its κ of modes: units, order and weights hang together."""
    with h5py.File(write_phono3py_file(tmp_path, solved.grid, solved.solutions, whole=False)) as file:
        gamma = file["gamma"][:]
        rates = np.where(gamma > 0, 2 * gamma, np.inf)[..., None]
        made = file["heat_capacity"][:][..., None] * file["gv_by_gv"][:] / rates * file["kappa_unit_conversion"][()]
        np.testing.assert_allclose(file["mode_kappa"][:], made, atol=1e-9 * made.max())
        np.testing.assert_allclose(file["kappa"][:], made.sum(axis=(1, 2)) / 6**3, atol=1e-9 * file["kappa"][:].max())


def test_file_without_the_whole_equation_has_the_relaxation_times(solved: Solved, tmp_path: Path) -> None:
    partly = [replace(solved.solutions[0], kappa_lbte_w_per_mk=None), solved.solutions[1]]
    with h5py.File(write_phono3py_file(tmp_path, solved.grid, partly)) as file:
        np.testing.assert_allclose(file["kappa"][:], [voigt(each.kappa_rta_w_per_mk) for each in partly])
        assert "mode_kappa" in file
    with pytest.raises(InputError, match="at least one temperature"):
        write_phono3py_file(tmp_path, solved.grid, [])


def test_file_that_cannot_be_finished_leaves_the_old_one(solved: Solved, tmp_path: Path) -> None:
    file = write_phono3py_file(tmp_path, solved.grid, solved.solutions)
    before = file.read_bytes()
    broken = replace(solved.solutions[0], linewidths_thz=np.zeros((1, 1, 7)))
    with pytest.raises(ValueError, match=r"shape|broadcast"):
        write_phono3py_file(tmp_path, solved.grid, [broken])
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]

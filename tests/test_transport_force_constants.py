"""From forces to force constants to κ, against phono3py itself, its documented numbers and the potential."""

import lzma
from pathlib import Path

import numpy as np
import phono3py as phono3py_package
import pytest
from ase.build import bulk
from phono3py import Phono3py
from phono3py.phonon3.fc3 import get_fc3, set_permutation_symmetry_compact_fc3

from kappaforge.crystal import Crystal
from kappaforge.potentials.base import Batch
from kappaforge.potentials.registry import load
from kappaforge.transport import force_constants as module
from kappaforge.transport.boltzmann import rta_conductivity
from kappaforge.transport.force_constants import force_constants, pair_supercells, phono3py_of, set_forces
from kappaforge.transport.forces import supercell_forces
from kappaforge.transport.settings import KappaSettings
from kappaforge.transport.stability import displaced_phonopy

SILICON_PAIR_CUTOFF_ANG = 5.0


def with_forces(crystal: Crystal, settings: KappaSettings) -> Phono3py:
    potential = load("tersoff")
    phonopy = displaced_phonopy(crystal, settings)
    phono3py = phono3py_of(crystal, settings)
    single = supercell_forces(potential, phonopy.supercell, phonopy.supercells_with_displacements, "single-atom")
    set_forces(phono3py, single, supercell_forces(potential, phono3py.supercell, pair_supercells(phono3py), "two-atom"))
    return phono3py


def distorted() -> Crystal:
    """A diamond cell without cubic symmetry and with two inequivalent directions."""
    diamond = bulk("C", "diamond", a=3.5656)
    return Crystal(
        diamond.cell.array @ np.diag([1.0, 1.02, 1.05]), diamond.positions @ np.diag([1, 1.02, 1.05]), [6, 6]
    )


def test_harmonic_displacements_are_the_first_of_the_third_order():
    settings = KappaSettings(supercell=(2, 2, 2))
    harmonic = displaced_phonopy(distorted(), settings)
    third_order = phono3py_of(distorted(), settings)
    np.testing.assert_array_equal(harmonic.supercell.positions, third_order.supercell.positions)
    firsts = third_order.dataset["first_atoms"]
    assert [single["number"] for single in harmonic.dataset["first_atoms"]] == [single["number"] for single in firsts]
    for single, first in zip(harmonic.dataset["first_atoms"], firsts, strict=True):
        np.testing.assert_array_equal(single["displacement"], first["displacement"])


@pytest.mark.parametrize("cutoff", [2.0, 3.0, None])
def test_fc3_before_sum_rules_is_that_of_phono3py(monkeypatch, cutoff):
    monkeypatch.setattr(module, "SUM_RULE_ROUNDS", 0)
    settings = KappaSettings(supercell=(2, 2, 2), fc3_cutoff_ang=cutoff)
    phono3py = with_forces(distorted(), settings)
    ours = force_constants(phono3py)
    for single in phono3py.dataset["first_atoms"]:  # phono3py's solver takes forces of zero where there are none
        for pair in single["second_atoms"]:
            pair.setdefault("forces", np.zeros((len(phono3py.supercell), 3)))
    _, theirs = get_fc3(phono3py.supercell, phono3py.primitive, phono3py.dataset, phono3py.symmetry, is_compact_fc=True)
    if cutoff is None:  # without a cutoff phono3py leaves the permutations to a later step
        set_permutation_symmetry_compact_fc3(theirs, phono3py.primitive)
    np.testing.assert_allclose(ours.fc3, theirs, atol=1e-9 * np.abs(theirs).max())


@pytest.mark.parametrize("cutoff", [2.0, None])
def test_fc3_obeys_sum_rules_and_stays_within_the_cutoff(cutoff):
    constants = force_constants(with_forces(distorted(), KappaSettings(supercell=(2, 2, 2), fc3_cutoff_ang=cutoff)))
    largest = np.abs(constants.fc3).max()
    for axis in (1, 2):
        assert np.abs(constants.fc3.sum(axis=axis)).max() < 1e-4 * largest
    assert np.abs(constants.fc2.sum(axis=1)).max() < 1e-8 * np.abs(constants.fc2).max()
    assert not constants.fc3[~constants.known].any()
    assert constants.known.all() == (cutoff is None)
    swapped = constants.fc3.transpose(0, 2, 1, 3, 5, 4)
    np.testing.assert_allclose(constants.fc3, swapped, atol=1e-9 * largest)


def test_force_constants_predict_forces_of_random_displacements(rng):
    settings = KappaSettings(supercell=(2, 2, 2), fc3_cutoff_ang=None, displacement_ang=0.01)
    phono3py = with_forces(distorted(), settings)
    constants = force_constants(phono3py)
    supercell, primitive = phono3py.supercell, phono3py.primitive

    moves = rng.normal(scale=0.02, size=(len(supercell), 3))
    odd_and_even = []
    for sign in (1, -1, 0):
        crystal = Crystal(supercell.cell, supercell.positions + sign * moves, supercell.numbers)
        odd_and_even.append(load("tersoff").compute(Batch.of([crystal])).forces_ev_per_ang)
    plus, minus, rest = odd_and_even
    first_order, second_order = (plus - minus) / 2, (plus + minus) / 2 - rest

    in_cell = primitive.p2s_map
    predicted_first = -np.einsum("ijab,jb->ia", constants.fc2, moves)
    predicted_second = -0.5 * np.einsum("ijkabc,jb,kc->ia", constants.fc3, moves, moves)
    np.testing.assert_allclose(predicted_first, first_order[in_cell], atol=0.02 * np.abs(first_order).max())
    np.testing.assert_allclose(predicted_second, second_order[in_cell], atol=0.05 * np.abs(second_order).max())


@pytest.fixture(scope="module")
def silicon_files(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The displacements of phono3py's silicon example and the forces its own test suite uses with them."""
    folder = shared_data / "reference" / "phono3py-Si"
    forces = tmp_path_factory.mktemp("silicon") / "FORCES_FC3"
    forces.write_bytes(lzma.decompress((folder / "FORCES_FC3_si_pbesol.xz").read_bytes()))
    return folder / "Si-PBEsol_phono3py_disp.yaml", forces


@pytest.fixture
def silicon(silicon_files: tuple[Path, Path]) -> Phono3py:
    displacements, forces = silicon_files
    return phono3py_package.load(
        displacements, forces_fc3_filename=forces, produce_fc=False, make_r0_average=True, lang="Rust", log_level=0
    )


def without_far_pairs(silicon: Phono3py) -> Phono3py:
    """Leave out the pairs of atoms farther apart than 5 Å, whose forces the file holds as zeros instead."""
    for single in silicon.dataset["first_atoms"]:
        for pair in single["second_atoms"]:
            pair["included"] = bool(np.any(pair["forces"]))
    silicon.dataset["cutoff_distance"] = SILICON_PAIR_CUTOFF_ANG
    return silicon


def test_silicon_gives_the_kappa_of_phono3pys_own_tests(silicon):
    """With zeros taken as forces, as there (test/conductivity/test_kappa_RTA.py, which allows 0.5 W/(m·K))."""
    constants = force_constants(silicon)
    for isotope_scattering, expected in ((False, 107.694), (True, 97.296)):
        kappa = rta_conductivity(
            silicon, constants, mesh=(9, 9, 9), temperature_k=300.0, isotope_scattering=isotope_scattering
        )
        np.testing.assert_allclose(kappa, expected * np.eye(3), atol=0.5)


def test_silicon_gives_the_documented_kappa(silicon):
    constants = force_constants(without_far_pairs(silicon))
    kappa = rta_conductivity(silicon, constants, mesh=(11, 11, 11), temperature_k=300.0)
    np.testing.assert_allclose(kappa, 109.1 * np.eye(3), atol=0.005 * 109.1)


@pytest.mark.slow
def test_silicon_gives_the_documented_kappa_on_a_fine_mesh(silicon):
    """The documented number comes from all pairs; without those beyond 5 Å it is 0.8 % lower."""
    constants = force_constants(without_far_pairs(silicon))
    kappa = rta_conductivity(silicon, constants, mesh=(19, 19, 19), temperature_k=300.0)
    np.testing.assert_allclose(kappa, 124.4 * np.eye(3), atol=0.01 * 124.4)

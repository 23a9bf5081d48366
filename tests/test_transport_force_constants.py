"""From forces to force constants to κ, against phono3py itself, its documented numbers and the potential."""

import lzma
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from phono3py import Phono3py
from phono3py.file_IO import parse_FORCES_FC3
from phono3py.phonon3.fc3 import get_fc3, set_permutation_symmetry_compact_fc3
from phonopy.structure.atoms import PhonopyAtoms

from kappaforge.crystal import Crystal
from kappaforge.potentials.base import Batch
from kappaforge.potentials.registry import load
from kappaforge.transport import force_constants as module
from kappaforge.transport.boltzmann import phono3py_conductivity
from kappaforge.transport.force_constants import force_constants, pair_supercells, phono3py_of, set_forces
from kappaforge.transport.forces import supercell_forces
from kappaforge.transport.paper import displaced_phonopy
from kappaforge.transport.settings import PaperProtocol

SILICON_SITES = (
    (0.875, 0.875, 0.875), (0.875, 0.375, 0.375), (0.375, 0.875, 0.375), (0.375, 0.375, 0.875),
    (0.125, 0.125, 0.125), (0.125, 0.625, 0.625), (0.625, 0.125, 0.625), (0.625, 0.625, 0.125),
)  # fmt: skip


def with_forces(crystal: Crystal, settings: PaperProtocol) -> Phono3py:
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
    settings = PaperProtocol(supercell=(2, 2, 2))
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
    settings = PaperProtocol(supercell=(2, 2, 2), fc3_cutoff_ang=cutoff)
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
    constants = force_constants(with_forces(distorted(), PaperProtocol(supercell=(2, 2, 2), fc3_cutoff_ang=cutoff)))
    largest = np.abs(constants.fc3).max()
    for axis in (1, 2):
        assert np.abs(constants.fc3.sum(axis=axis)).max() < 1e-4 * largest
    assert np.abs(constants.fc2.sum(axis=1)).max() < 1e-8 * np.abs(constants.fc2).max()
    assert not constants.fc3[~constants.known].any()
    assert constants.known.all() == (cutoff is None)
    swapped = constants.fc3.transpose(0, 2, 1, 3, 5, 4)
    np.testing.assert_allclose(constants.fc3, swapped, atol=1e-9 * largest)


def test_force_constants_predict_forces_of_random_displacements(rng):
    settings = PaperProtocol(supercell=(2, 2, 2), fc3_cutoff_ang=None, displacement_ang=0.01)
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


def silicon_example(forces: bytes, folder: Path) -> Phono3py:
    """Return phono3py's example of silicon (PBEsol): 2×2×2 conventional cells, displacements of 0.03 Å, its forces."""
    cell = PhonopyAtoms(symbols=["Si"] * 8, cell=5.43356003 * np.eye(3), scaled_positions=SILICON_SITES)
    silicon = Phono3py(cell, supercell_matrix=[2, 2, 2], primitive_matrix="F", make_r0_average=True, lang="Rust")
    silicon.generate_displacements(distance=0.03)
    file = folder / "FORCES_FC3"
    file.write_bytes(lzma.decompress(forces))
    parse_FORCES_FC3(silicon.dataset, file)
    return silicon


@pytest.fixture
def silicon(tmp_path: Path) -> Phono3py:
    forces = Path(__file__).parent / "data" / "silicon" / "FORCES_FC3.xz"
    return silicon_example(forces.read_bytes(), tmp_path)


@pytest.mark.parametrize(
    ("mesh", "expected"),
    [(11, 109.1), pytest.param(19, 124.4, marks=pytest.mark.slow)],
    ids=["11x11x11", "19x19x19"],
)
def test_silicon_gives_the_documented_kappa(silicon: Phono3py, mesh: int, expected: float):
    ((kappa, _),) = phono3py_conductivity(
        silicon, force_constants(silicon), mesh=(mesh, mesh, mesh), temperatures_k=[300.0]
    )
    np.testing.assert_allclose(kappa, expected * np.eye(3), atol=0.005 * expected)


def test_silicon_gives_the_kappa_of_phono3pys_own_tests(shared_data: Path, tmp_path: Path):
    """With its test suite's forces, zero for pairs beyond 5 Å (test/conductivity/test_kappa_RTA.py: ±0.5 W/(m·K))."""
    forces = shared_data / "reference" / "phono3py-Si" / "FORCES_FC3_si_pbesol.xz"
    silicon = silicon_example(forces.read_bytes(), tmp_path)
    constants = force_constants(silicon)
    for isotope_scattering, expected in ((False, 107.694), (True, 97.296)):
        ((kappa, _),) = phono3py_conductivity(
            silicon, constants, mesh=(9, 9, 9), temperatures_k=[300.0], isotope_scattering=isotope_scattering
        )
        np.testing.assert_allclose(kappa, expected * np.eye(3), atol=0.5)

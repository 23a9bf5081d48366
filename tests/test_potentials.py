"""The contract of every potential, and the oracles of our own evaluations."""

import os
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from matscipy.calculators.manybody import Manybody
from matscipy.calculators.manybody.explicit_forms.tersoff_brenner import TersoffBrenner
from scipy.spatial.transform import Rotation

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.potentials.base import Batch, Potential, Prediction, UnsupportedElementError, require_elements
from kappaforge.potentials.registry import available, load
from kappaforge.potentials.settings import PotentialSettings
from kappaforge.potentials.sevennet import sevennet_0

EMT_NAME = "ase:ase.calculators.emt:EMT"


@dataclass(frozen=True)
class Case:
    """A potential, a crystal it knows, and what its precision allows."""

    potential: Potential
    crystal: Crystal
    tolerance: float  # of energies (eV), forces (eV/Å) and stresses (eV/Å³) that should be equal
    step: float  # of finite differences, Å or strain
    slope_tolerance: float


NEEDED = {"7net-0": ("sevenn", "sevenn")}
"""Module and extra behind a potential."""

PRECISION = {"7net-0": (2e-4, 5e-3, 1e-2), "carbon": (5e-5, 2e-3, 2e-3)}
"""Of those that compute in single precision."""


@pytest.fixture(scope="module", params=[*available(), EMT_NAME])
def case(request) -> Case:
    if request.param in NEEDED:
        module, extra = NEEDED[request.param]
        pytest.importorskip(module, reason=f"{module} is not installed: pip install 'kappaforge[{extra}]'")
    atoms = bulk("Cu", "fcc", a=3.7) * (2, 1, 1) if request.param == EMT_NAME else bulk("C", "diamond", a=3.5)
    return Case(load(request.param), distorted(atoms), *PRECISION.get(request.param, (1e-9, 1e-5, 1e-6)))


def distorted(atoms, seed=7) -> Crystal:
    rng = np.random.default_rng(seed)
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), scale_atoms=True)
    atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
    return Crystal.from_ase(atoms)


def compute(potential: Potential, *crystals: Crystal) -> Prediction:
    return potential.compute(Batch.of(crystals))


def assert_same(one: Prediction, other: Prediction, tolerance: float) -> None:
    for values, others in zip(one, other, strict=True):
        np.testing.assert_allclose(values, others, rtol=0, atol=tolerance)


def test_potential_satisfies_the_protocol(case):
    assert isinstance(case.potential, Potential)
    assert load(case.potential.name) is case.potential
    assert len(case.potential.digest) == 64
    assert case.potential.elements is None or case.crystal.elements <= case.potential.elements


def test_prediction_has_the_documented_shapes_and_is_double(case):
    prediction = compute(case.potential, case.crystal, case.crystal)
    n_atoms = 2 * len(case.crystal)
    assert [values.shape for values in prediction] == [(2,), (n_atoms, 3), (2, 3, 3)]
    assert all(values.dtype == np.float64 and np.isfinite(values).all() for values in prediction)
    stresses = prediction.stresses_ev_per_ang3
    np.testing.assert_array_equal(stresses, stresses.transpose(0, 2, 1))


def test_translation_changes_nothing(case):
    crystal = case.crystal
    moved = crystal.moved_to(crystal.cell, crystal.positions + 3 * crystal.cell[0] - crystal.cell[2] + [0.3, -5.0, 1.7])
    assert_same(compute(case.potential, crystal), compute(case.potential, moved), case.tolerance)


def test_rotation_turns_forces_and_stress(case):
    turn = Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix()
    crystal = case.crystal
    plain = compute(case.potential, crystal)
    turned = compute(case.potential, crystal.moved_to(crystal.cell @ turn.T, crystal.positions @ turn.T))
    expected = Prediction(
        plain.energies_ev, plain.forces_ev_per_ang @ turn.T, turn @ plain.stresses_ev_per_ang3 @ turn.T
    )
    assert_same(turned, expected, case.tolerance)


def test_permutation_permutes_forces(case):
    crystal, order = case.crystal, np.arange(len(case.crystal))[::-1]
    plain = compute(case.potential, crystal)
    permuted = compute(case.potential, crystal.moved_to(crystal.cell, crystal.positions[order]))
    assert_same(permuted, plain._replace(forces_ev_per_ang=plain.forces_ev_per_ang[order]), case.tolerance)


def test_supercell_of_a_cell_shorter_than_the_cutoff_is_extensive(case):
    supercell = Crystal.from_ase(case.crystal.to_ase() * (3, 3, 3))
    small, large = compute(case.potential, case.crystal), compute(case.potential, supercell)
    assert large.energies_ev[0] == pytest.approx(27 * small.energies_ev[0], abs=27 * case.tolerance)
    np.testing.assert_allclose(large.forces_ev_per_ang, np.tile(small.forces_ev_per_ang, (27, 1)), atol=case.tolerance)
    np.testing.assert_allclose(large.stresses_ev_per_ang3, small.stresses_ev_per_ang3, atol=case.tolerance)


def test_forces_are_minus_the_gradient_of_the_energy(case, rng):
    crystal, direction = case.crystal, rng.normal(size=case.crystal.positions.shape)
    moves = [crystal.moved_to(crystal.cell, crystal.positions + sign * case.step * direction) for sign in (1, -1)]
    energies = compute(case.potential, *moves).energies_ev
    slope = (energies[0] - energies[1]) / (2 * case.step)
    forces = compute(case.potential, crystal).forces_ev_per_ang
    assert -(forces * direction).sum() == pytest.approx(slope, rel=case.slope_tolerance, abs=case.slope_tolerance)


def test_stress_is_the_derivative_of_the_energy_with_strain(case, rng):
    crystal, strain = case.crystal, rng.normal(size=(3, 3))
    strain = 0.5 * (strain + strain.T)
    deformations = [np.eye(3) + sign * case.step * strain for sign in (1, -1)]
    moves = [crystal.moved_to(crystal.cell @ bend, crystal.positions @ bend) for bend in deformations]
    energies = compute(case.potential, *moves).energies_ev
    slope = (energies[0] - energies[1]) / (2 * case.step) / crystal.volume_ang3
    stress = compute(case.potential, crystal).stresses_ev_per_ang3[0]
    assert (stress * strain).sum() == pytest.approx(slope, rel=case.slope_tolerance, abs=case.slope_tolerance)


def test_stress_is_positive_where_the_cell_would_shrink(case):
    crystal = case.crystal
    stretched = crystal.moved_to(1.1 * crystal.cell, 1.1 * crystal.positions)
    squeezed = crystal.moved_to(0.9 * crystal.cell, 0.9 * crystal.positions)
    traces = np.trace(compute(case.potential, stretched, squeezed).stresses_ev_per_ang3, axis1=1, axis2=2)
    assert traces[0] > 0 > traces[1]


def test_batch_is_not_changed(case):
    batch = Batch.of([case.crystal])
    copies = [values.copy() for values in batch]
    case.potential.compute(batch)
    for values, copy in zip(batch, copies, strict=True):
        np.testing.assert_array_equal(values, copy)


def test_batch_equals_one_by_one_to_the_last_bit(case):
    crystal = case.crystal
    crystals = [crystal, distorted(crystal.to_ase() * (2, 1, 1), seed=3), distorted(crystal.to_ase(), seed=4)]
    together = compute(case.potential, *crystals)
    alone = [compute(case.potential, each) for each in crystals]
    for values, parts in zip(together, zip(*alone, strict=True), strict=True):
        np.testing.assert_array_equal(values, np.concatenate(parts))


@pytest.mark.parametrize("fault", ["atoms on top of each other", "not finite"])
def test_faulty_crystal_gets_nan_and_does_not_spoil_its_neighbours(case, fault):
    batch = Batch.of([case.crystal] * 3)
    rows = batch.slices[1]
    batch.positions[rows] = np.nan if fault == "not finite" else batch.positions[rows][0]
    prediction, alone = case.potential.compute(batch), compute(case.potential, case.crystal)
    for index in (0, 2):
        assert prediction.energies_ev[index] == alone.energies_ev[0]
        np.testing.assert_array_equal(prediction.forces_ev_per_ang[batch.slices[index]], alone.forces_ev_per_ang)
        np.testing.assert_array_equal(prediction.stresses_ev_per_ang3[index], alone.stresses_ev_per_ang3[0])
    faulty = prediction.energies_ev[1], prediction.forces_ev_per_ang[rows], prediction.stresses_ev_per_ang3[1]
    assert all(np.isnan(values).all() for values in faulty)


def test_same_input_gives_the_same_bits(case):
    other = distorted(case.crystal.to_ase(), seed=5)
    first = compute(case.potential, case.crystal)
    compute(case.potential, other)
    assert_same(first, compute(case.potential, case.crystal), 0.0)


def test_unknown_element_is_refused_with_the_known_ones(case):
    if case.potential.elements is None:
        require_elements(case.potential, frozenset({"Og"}))
    else:
        with pytest.raises(UnsupportedElementError, match=f"'{case.potential.name}' does not know Og"):
            require_elements(case.potential, frozenset({"C", "Og"}))


@pytest.mark.filterwarnings("ignore:'where' used without 'out'")
@pytest.mark.parametrize("name", ["tersoff", "brenner"])
def test_bond_orders_equal_matscipys_own_calculator(name):
    potential = load(name)
    crystals = [distorted(bulk("C", "diamond", a=3.5) * (2, 1, 1), seed) for seed in range(3)]
    if name == "tersoff":
        crystals += [distorted(bulk("SiC", "zincblende", a=4.4)), distorted(bulk("Si", "diamond", a=5.4))]
    batch = Batch.of(crystals)
    prediction = potential.compute(batch)
    for index, (crystal, rows) in enumerate(zip(crystals, batch.slices, strict=True)):
        atoms = crystal.to_ase()
        atoms.calc = Manybody(**TersoffBrenner(potential.parameters))
        assert prediction.energies_ev[index] == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(prediction.forces_ev_per_ang[rows], atoms.get_forces(), atol=1e-9)
        np.testing.assert_allclose(prediction.stresses_ev_per_ang3[index], atoms.get_stress(voigt=False), atol=1e-9)


def test_tersoff_gives_the_published_diamond():
    """Tersoff, Phys. Rev. B 39, 5566 (1989): 7.37 eV per atom, lattice constant 3.57 Å."""
    prediction = compute(load("tersoff"), Crystal.from_ase(bulk("C", "diamond", a=3.566)))
    assert prediction.energies_ev[0] / 2 == pytest.approx(-7.37, abs=0.005)
    assert np.abs(prediction.stresses_ev_per_ang3).max() < 0.005


def test_crushed_crystal_is_refused_before_its_triplets_fill_the_memory():
    crushed = Crystal.from_ase(bulk("C", "diamond", a=1.2))
    assert np.isnan(compute(load("tersoff"), crushed).energies_ev).all()


def test_atom_without_neighbours_has_no_energy():
    lonely = Crystal(10 * np.eye(3), np.zeros((1, 3)), np.array([6]))
    prediction = compute(load("tersoff"), lonely)
    assert all((values == 0).all() for values in prediction)


def test_crystal_at_which_a_calculator_raises_gets_nan_and_the_others_their_values():
    copper, silicon = Crystal.from_ase(bulk("Cu")), Crystal.from_ase(bulk("Si"))
    with pytest.raises(NotImplementedError):
        EMT().get_potential_energy(silicon.to_ase())
    prediction = compute(load(EMT_NAME), copper, silicon, copper)
    assert np.isnan(prediction.energies_ev[1])
    assert prediction.energies_ev[[0, 2]] == pytest.approx(EMT().get_potential_energy(copper.to_ase()))


def test_digest_is_the_same_in_another_process():
    names = ["tersoff", "brenner", EMT_NAME]
    program = f"from kappaforge.potentials.registry import load\nfor n in {names}: print(load(n).digest)"
    environment = {**os.environ, "PYTHONHASHSEED": "99"}
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    assert answer.stdout.split() == [load(name).digest for name in names]
    assert len(set(answer.stdout.split())) == 3


def test_unknown_potential_is_refused_with_a_suggestion():
    with pytest.raises(InputError, match=r"unknown potential 'tersof' \(did you mean 'tersoff'\?\)"):
        load("tersof")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ase:ase.calculators.emt", "expected 'ase:module.path:factory'"),
        ("ase:no_such_module:make", "cannot import it"),
        ("ase:ase.calculators.emt:NoSuchThing", "cannot import it"),
        ("ase:ase.calculators.mixing:SumCalculator", r"calling SumCalculator\(\) without arguments failed"),
        ("ase:builtins:dict", "expected an ASE calculator, got dict"),
        ("ase:ase.calculators.tip3p:TIP3P", "does not implement stress"),
    ],
)
def test_calculator_that_cannot_be_used_is_refused(name, message):
    with pytest.raises(InputError, match=message):
        load(name)


def test_missing_sevenn_names_what_to_install(monkeypatch):
    for module in ("sevenn", "sevenn._const", "sevenn.calculator"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=r"pip install 'kappaforge\[sevenn\]'"):
        sevennet_0()


def test_settings_refuse_an_empty_name():
    with pytest.raises(InputError, match=r"\[potential\] name"):
        PotentialSettings(name=" ")

"""Force constants of each order from supercells of their own: two ways, against each other and against phono3py's."""

from dataclasses import replace

import numpy as np
import pytest
from phono3py.phonon3.fc3 import get_fc3, set_permutation_symmetry_compact_fc3
from phonopy import Phonopy
from phonopy.interface.symfc import SymfcFCSolver
from scipy.spatial.transform import Rotation

from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.errors import InputError
from kappaforge.potentials.base import Batch, Potential, Prediction
from kappaforge.potentials.registry import load
from kappaforge.transport import force_constants as solver
from kappaforge.transport.boltzmann import phono3py_conductivity
from kappaforge.transport.failure import TransportError
from kappaforge.transport.fit import (
    cutoff_in_gap,
    fit_force_constants,
    random_displacements,
    symmetric_basis,
)
from kappaforge.transport.force_constants import (
    SYMPREC,
    displace_pairs,
    pair_distances,
    pair_supercells,
    phono3py_with,
    phonopy_atoms,
    set_forces,
)
from kappaforge.transport.forces import supercell_forces
from kappaforge.transport.order_costs import Cost, cheaper_way
from kappaforge.transport.order_settings import ForceConstantSettings
from kappaforge.transport.orders import order2, order3, phono3py_of_orders
from kappaforge.transport.primitive import PrimitiveCrystal, primitive_crystal
from kappaforge.transport.supercells import smallest_supercell

SMALL = ForceConstantSettings(
    fc2_face_distance_ang=8.0,
    fc3_face_distance_ang=5.0,
    fc3_cutoff_ang=2.7,
    fc3_fit_cutoff_ang=2.7,  # of a potential whose triplets share bonds; the next shell begins at 2.9 Å
    displacement_ang=0.01,
)
FINITE, FIT = replace(SMALL, way="finite"), replace(SMALL, way="fit")


@pytest.fixture(scope="module")
def brenner() -> Potential:
    return load("brenner")


def primitive_of(name: str) -> PrimitiveCrystal:
    crystals = {entry.name: entry.crystal for entry in known_carbons()}
    return primitive_crystal(crystals[name], 1e-3)


@pytest.fixture(scope="module")
def diamond() -> PrimitiveCrystal:
    return primitive_of("diamond")


def frequencies(primitive: PrimitiveCrystal, order, q_points) -> np.ndarray:
    phonopy = Phonopy(
        phonopy_atoms(primitive.crystal), supercell_matrix=order.choice.matrix.T, primitive_matrix="P", symprec=SYMPREC
    )
    phonopy.force_constants = order.fc2
    return phonopy.run_qpoints(q_points).frequencies


@pytest.mark.parametrize("name", ["diamond", "bct-C4"])
def test_fc2_of_both_ways_gives_the_same_frequencies(brenner, name, rng):
    primitive = primitive_of(name)
    finite, fit = (order2(primitive, brenner, way) for way in (FINITE, FIT))
    assert (finite.way, fit.way) == ("finite", "fit")
    assert finite.residual is None
    assert fit.residual < 1e-3
    q_points = rng.uniform(-0.5, 0.5, (6, 3))
    np.testing.assert_allclose(
        frequencies(primitive, fit, q_points), frequencies(primitive, finite, q_points), atol=0.02, rtol=1e-3
    )
    for order in (finite, fit):
        assert np.abs(order.fc2.sum(axis=1)).max() < 1e-6 * np.abs(order.fc2).max()


@pytest.mark.parametrize("name", ["diamond", "bct-C4"])
def test_fc3_of_both_ways_is_the_same(brenner, name):
    primitive = primitive_of(name)
    finite, fit = (order3(primitive, brenner, way) for way in (FINITE, FIT))
    largest = np.abs(finite.fc3).max()
    np.testing.assert_allclose(fit.fc3, finite.fc3, atol=5e-3 * largest)
    assert np.linalg.norm(fit.fc3 - finite.fc3) < 5e-3 * np.linalg.norm(finite.fc3)
    assert fit.n_supercells < finite.n_supercells / 2
    assert fit.residual < 0.01
    assert fit.known.sum() < finite.known.sum()
    assert (finite.cutoff_ang, fit.cutoff_ang) == (fit.cutoff_ang, finite.cutoff_ang)
    for order in (finite, fit):
        assert not order.fc3[~order.known].any()
        assert order.known.shape == order.fc3.shape[:3]
        for axis in (1, 2):
            assert np.abs(order.fc3.sum(axis=axis)).max() < 1e-4 * largest
        np.testing.assert_allclose(order.fc3, order.fc3.transpose(0, 2, 1, 3, 5, 4), atol=1e-8 * largest)
        assert set(order.seconds_by_part) == {"displacements", "forces", "force_constants"}


@pytest.mark.parametrize(("name", "cutoff"), [("bct-C4", 2.7), ("bct-C4", None), ("lonsdaleite", 2.7)])
def test_finite_way_is_phono3pys_own_from_a_third_of_its_supercells(monkeypatch, brenner, name, cutoff):
    monkeypatch.setattr(solver, "SUM_RULE_ROUNDS", 0)
    primitive = primitive_of(name)
    # phono3py's error is of first order in the displacement where it does not make both signs of the second one
    small = replace(FINITE, displacement_ang=5e-4)
    ours = order3(primitive, brenner, replace(small, fc3_cutoff_ang=cutoff))
    assert name == "lonsdaleite" or np.abs(ours.choice.matrix - np.diag(np.diag(ours.choice.matrix))).any()
    phono3py = phono3py_with(primitive.crystal, ours.choice.matrix)
    displace_pairs(phono3py, small.displacement_ang, ours.cutoff_ang)
    n_singles = len(phono3py.dataset["first_atoms"])
    singles = phono3py.supercells_with_displacements[:n_singles]
    set_forces(
        phono3py,
        supercell_forces(brenner, phono3py.supercell, singles, "single-atom"),
        supercell_forces(brenner, phono3py.supercell, pair_supercells(phono3py), "two-atom"),
    )
    for single in phono3py.dataset["first_atoms"]:
        for pair in single["second_atoms"]:
            pair.setdefault("forces", np.zeros((len(phono3py.supercell), 3)))
    _, theirs = get_fc3(phono3py.supercell, phono3py.primitive, phono3py.dataset, phono3py.symmetry, is_compact_fc=True)
    if cutoff is None:
        set_permutation_symmetry_compact_fc3(theirs, phono3py.primitive)
    np.testing.assert_allclose(ours.fc3, theirs, atol=5e-4 * np.abs(theirs).max())
    assert ours.n_supercells < (n_singles + len(pair_supercells(phono3py))) / 3


@pytest.mark.parametrize("order", [2, 3])
def test_fit_is_that_of_symfcs_own_solver(brenner, order):
    primitive = primitive_of("bct-C4")
    choice = smallest_supercell(primitive, 5.0)
    phonopy = Phonopy(
        phonopy_atoms(primitive.crystal), supercell_matrix=choice.matrix.T, primitive_matrix="P", symprec=SYMPREC
    )
    basis = symmetric_basis(phonopy.supercell, phonopy.primitive, phonopy.symmetry, order, 2.7)
    moves = random_displacements(basis.supercells_needed(3.0), choice.n_atoms, 0.06, seed=5)
    plus, minus, rest = (
        supercell_forces(brenner, phonopy.supercell, moved(phonopy.supercell, sign * moves), "random")
        for sign in (1, -1, 0)
    )
    forces = (plus - minus) / 2 if order == 2 else (plus + minus) / 2 - rest
    symfc = SymfcFCSolver(phonopy.supercell, moves, forces, symmetry=phonopy.symmetry, options={"cutoff": {order: 2.7}})
    symfc.run([order], is_compact_fc=True)
    theirs = symfc.force_constants[order]
    ours = fit_force_constants(basis, moves, forces)
    assert ours.residual > 1e-3, "too good a fit to tell least squares apart"
    np.testing.assert_allclose(ours.constants, theirs, atol=2e-5 * np.abs(theirs).max())
    assert ours.n_parameters == symfc.basis_set[order].blocked_basis_set.shape[1]


def moved(supercell, moves):
    cells = [supercell.copy() for _ in moves]
    for cell, move in zip(cells, moves, strict=True):
        cell.positions = supercell.positions + move
    return cells


def test_under_determined_fit_says_how_many_supercells_it_needs():
    primitive = primitive_of("Z-carbon")
    choice = smallest_supercell(primitive, 5.0)
    phonopy = Phonopy(
        phonopy_atoms(primitive.crystal), supercell_matrix=choice.matrix.T, primitive_matrix="P", symprec=SYMPREC
    )
    basis = symmetric_basis(phonopy.supercell, phonopy.primitive, phonopy.symmetry, 3, 2.7)
    needed = basis.supercells_needed(1.0)
    moves = random_displacements(needed - 1, choice.n_atoms, 0.03, seed=0)
    with pytest.raises(TransportError, match="under-determined fit of order 3") as raised:
        fit_force_constants(basis, moves, moves)
    assert f"which need {needed} (better {basis.supercells_needed(4.5)})" in raised.value.reason
    assert "\n" not in raised.value.reason


def test_fit_that_explains_nothing_is_refused(diamond, rng):
    choice = smallest_supercell(diamond, 5.0)
    phonopy = Phonopy(
        phonopy_atoms(diamond.crystal), supercell_matrix=choice.matrix.T, primitive_matrix="P", symprec=SYMPREC
    )
    basis = symmetric_basis(phonopy.supercell, phonopy.primitive, phonopy.symmetry, 3, 2.7)
    moves = random_displacements(6, choice.n_atoms, 0.03, seed=0)
    with pytest.raises(TransportError, match=r"leaves \d+% of the forces"):
        fit_force_constants(basis, moves, rng.normal(size=moves.shape))
    with pytest.raises(TransportError, match="all force constants of order 3 vanish"):
        fit_force_constants(basis, moves, np.zeros_like(moves))


def test_force_constants_turn_with_the_crystal(brenner):
    """The same tensor, up to the order of atoms, for a crystal given rotated and in another cell."""
    upright = primitive_of("bct-C4")
    tilt = Rotation.from_euler("xyz", [20, 50, -35], degrees=True).as_matrix()
    shear = np.array([[1, 0, 0], [1, 1, 0], [-1, 2, 1]])
    given = upright.crystal
    tilted = primitive_crystal(
        Crystal(shear @ given.cell @ tilt.T, given.positions[::-1] @ tilt.T + [0.3, -2.0, 1.0], given.numbers), 1e-3
    )
    sizes = []
    for primitive in (upright, tilted):
        for settings in (FINITE, FIT):
            order = order3(primitive, brenner, settings)
            squares = (order.fc3**2).sum(axis=(3, 4, 5))
            sizes.append(np.sqrt(np.sort(squares, axis=None)[::-1][:60]))
            sizes[-1] = np.append(sizes[-1], np.sqrt(squares.sum()))
    for other in sizes[1:]:
        np.testing.assert_allclose(other, sizes[0], rtol=0.02)


def test_seed_of_displacements_matters_little(brenner, diamond):
    first, second = (order3(diamond, brenner, replace(FIT, seed=seed)) for seed in (0, 1))
    again = order3(diamond, brenner, FIT)
    np.testing.assert_array_equal(first.fc3, again.fc3)
    np.testing.assert_allclose(first.fc3, second.fc3, atol=5e-3 * np.abs(first.fc3).max())


def test_orders_make_a_phono3py_that_gives_kappa(brenner, diamond):
    kappas = []
    for settings in (FINITE, FIT):
        second, third = (order(diamond, brenner, settings) for order in (order2, order3))
        assert second.choice.n_atoms > third.choice.n_atoms
        phono3py = phono3py_of_orders(diamond, second, third)
        constants = solver.ForceConstants(second.fc2, third.fc3, third.known)
        kappas.append(phono3py_conductivity(phono3py, constants, mesh=(5, 5, 5), temperatures_k=[300.0])[0][0])
    np.testing.assert_allclose(kappas[1], kappas[0], atol=0.02 * kappas[0].max())


@pytest.mark.parametrize("way", ["finite", "fit"])
def test_forces_that_are_not_finite_are_named_with_their_displacement(diamond, brenner, way):
    class Broken:
        name, digest, elements = "broken", "", None

        def compute(self, batch: Batch) -> Prediction:
            prediction = brenner.compute(batch)
            prediction.forces_ev_per_ang[len(batch.numbers) // 2] = np.nan
            return prediction

    kind = "one- or two-atom" if way == "finite" else "random"
    with pytest.raises(TransportError, match=rf"no finite forces for {kind} displacement \d+ of \d+ \(atom 0 by"):
        order3(diamond, Broken(), replace(SMALL, way=way))


def test_cheaper_way_is_taken_and_shown(brenner, diamond):
    dear = order3(diamond, brenner, replace(SMALL, force_ms_per_atom=50.0))
    assert dear.way == "fit"
    assert dear.costs["fit"].seconds < dear.costs["finite"].seconds
    assert dear.costs["fit"].n_supercells == pytest.approx(dear.n_supercells, abs=2)
    finite = order3(diamond, brenner, FINITE)
    assert finite.costs["finite"].n_supercells == finite.n_supercells


def test_memory_decides_between_the_ways():
    costs = {"finite": Cost(900, 80.0, 0.5), "fit": Cost(40, 9.0, 7.0)}
    assert cheaper_way(costs, replace(SMALL, memory_gib=8.0)) == "fit"
    assert cheaper_way(costs, replace(SMALL, memory_gib=4.0)) == "finite"
    with pytest.raises(
        TransportError, match=r"'fit' needs about 7.0 GiB, and memory_gib allows 4: .*'finite' \(0.5 GiB"
    ):
        cheaper_way(costs, replace(FIT, memory_gib=4.0))
    with pytest.raises(TransportError, match=r"'finite' needs about 0.5 GiB and 'fit' needs about 7.0 GiB"):
        cheaper_way(costs, replace(SMALL, memory_gib=0.1))


def test_cutoff_goes_into_a_gap_between_shells(diamond):
    distances = np.array([0.0, 1.5, 2.5, 2.50004, 2.9, 3.6])
    assert cutoff_in_gap(distances, 2.55) == pytest.approx(2.7)  # not short of a shell just below it
    assert cutoff_in_gap(distances, 3.0) == pytest.approx(3.25)
    assert cutoff_in_gap(distances, 9.0) == 9.0
    phono3py = phono3py_with(diamond.crystal, np.diag([3, 3, 3]))
    shells = np.array([1, np.sqrt(8 / 3), np.sqrt(11 / 3)]) * 3.5687 * np.sqrt(3) / 4
    assert cutoff_in_gap(pair_distances(phono3py.primitive), 2.7) == pytest.approx(shells[1:].mean(), abs=1e-3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fc2_face_distance_ang", 0.0),
        ("fc3_face_distance_ang", float("nan")),
        ("fc3_cutoff_ang", -1.0),
        ("fc3_fit_cutoff_ang", float("inf")),
        ("oversampling", 0.9),
        ("way", "best"),
        ("distance_between", "atoms"),
        ("memory_gib", 0.0),
    ],
)
def test_settings_name_the_bad_field(name, value):
    with pytest.raises(InputError, match=rf"\[kappa.force_constants\] {name}: expected .* got"):
        ForceConstantSettings(**{name: value})

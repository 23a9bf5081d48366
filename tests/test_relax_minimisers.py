"""FIRE against ASE's, L-BFGS against BFGS with dense matrices, and the model of the stiffness that it starts from."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene
from ase.calculators.lj import LennardJones
from ase.data import covalent_radii
from ase.neighborlist import primitive_neighbor_list
from ase.optimize import FIRE

from kappaforge.crystal import Crystal
from kappaforge.relax.fire import Fire, fire_step
from kappaforge.relax.lbfgs import LONGEST, SHORTEST, SMALL_MOVE_ANG, Lbfgs, lbfgs_step
from kappaforge.relax.stiffness import (
    BOND_EV_PER_ANG2,
    DECAY,
    FLOOR_EV_PER_ANG2,
    LARGEST,
    REACH,
    SIDEWAYS,
    inverse_stiffness,
)


def test_fire_takes_the_steps_of_ases_fire(rng):
    clusters = [Atoms("Ar6", positions=1.5 * rng.normal(size=(6, 3)) + np.arange(6)[:, None]) for _ in range(2)]
    for atoms in clusters:
        atoms.calc = LennardJones(sigma=1.5, rc=20.0)
        atoms.rattle(0.1)
    positions = np.concatenate([atoms.positions for atoms in clusters])
    owner, state = np.repeat([0, 1], 6), Fire.at_rest(12, 2)
    ghosts = [atoms.copy() for atoms in clusters]
    for _ in range(40):
        forces = []
        for ghost, rows in zip(ghosts, (slice(0, 6), slice(6, 12)), strict=True):
            ghost.positions, ghost.calc = positions[rows], LennardJones(sigma=1.5, rc=20.0)
            forces.append(ghost.get_forces())
        state, moves = fire_step(state, np.concatenate(forces), owner, max_move=1e9)
        positions = positions + moves
    for atoms in clusters:
        FIRE(atoms, logfile=None, maxstep=1e9).run(fmax=0, steps=40)
    np.testing.assert_allclose(positions, np.concatenate([atoms.positions for atoms in clusters]), atol=1e-8)


def test_fire_never_moves_a_row_further_than_allowed(rng):
    owner = np.repeat([0, 1, 2], 4)
    forces = 1e3 * rng.normal(size=(12, 3))
    forces[owner == 2] = 0.0
    state, moves = fire_step(Fire.at_rest(12, 3), forces, owner, max_move=0.2)
    lengths = np.linalg.norm(moves, axis=1)
    assert [lengths[owner == which].max() for which in range(3)] == pytest.approx([0.2, 0.2, 0.0])
    assert np.isfinite(state.velocities).all()


def spring_energy(crystal: Crystal, moves: np.ndarray, strain: np.ndarray) -> float:
    """Sum up the springs of the model one by one, in units of which the stiffness is the second derivative."""
    energy = 0.0
    springs = primitive_neighbor_list("ijD", [True] * 3, crystal.cell, crystal.positions, 3.4)
    for i, j, spring in zip(*springs, strict=True):
        length = np.linalg.norm(spring)
        ratio = length / (2 * covalent_radii[6])
        if ratio >= REACH:
            continue
        constant = BOND_EV_PER_ANG2 * (np.exp(DECAY * (1 - max(ratio, 0.8))) - np.exp(DECAY * (1 - REACH)))
        stretch = moves[j] - moves[i] + spring @ (strain + strain.T) / 2
        along = stretch @ spring / length
        energy += 0.25 * constant * ((1 - SIDEWAYS) * along**2 + SIDEWAYS * stretch @ stretch)
    return energy


def test_model_of_the_stiffness_is_that_of_its_springs(rng):
    atoms = graphene(vacuum=1.8)
    atoms.rattle(0.1, seed=4)
    crystal = Crystal.from_ase(atoms)
    inverse = inverse_stiffness(crystal.cell, crystal.positions, crystal.numbers)
    floor = FLOOR_EV_PER_ANG2 * np.repeat([1.0, 1 / len(crystal)], [3 * len(crystal), 9])
    springs = np.linalg.inv(inverse) - np.diag(floor)
    assert np.linalg.eigvalsh(inverse).min() > 0
    for _ in range(3):
        moves, strain = rng.normal(size=(len(crystal), 3)), rng.normal(size=(3, 3))
        rows = np.concatenate([moves.ravel(), len(crystal) * strain.ravel()])
        assert 0.5 * rows @ springs @ rows == pytest.approx(spring_energy(crystal, moves, strain), rel=1e-8)


def test_large_crystals_do_without_springs():
    crystal = Crystal.from_ase(bulk("C", "diamond", cubic=True) * 4)
    inverse = inverse_stiffness(crystal.cell, crystal.positions, crystal.numbers)
    assert len(crystal) > LARGEST
    assert inverse.shape == (3 * len(crystal) + 9,)
    assert inverse.min() > 0


def test_lbfgs_goes_on_where_the_energy_has_a_step(rng):
    matrices, owner = quadratic(rng, [2])
    state = Lbfgs.at_rest(2, 1)._replace(inverses=tuple(np.linalg.inv(matrix) for matrix in matrices))
    forces = rng.normal(size=(2, 3))
    state, _ = lbfgs_step(state, forces, np.zeros(1), np.zeros(1), owner, max_move=SMALL_MOVE_ANG / 2)
    state, moves = lbfgs_step(state, 0.9 * forces, np.ones(1), np.zeros(1), owner, max_move=0.2)
    assert (state.energies == 1.0).all()
    assert (moves * forces).sum() > 0


def quadratic(rng, sizes: list[int]) -> tuple[list[np.ndarray], np.ndarray]:
    """Return random positive definite matrices, and the owner of each row."""
    roots = [rng.normal(size=(3 * size, 3 * size)) for size in sizes]
    return [root @ root.T + 5 * np.eye(len(root)) for root in roots], np.repeat(np.arange(len(sizes)), sizes)


def test_lbfgs_takes_the_steps_of_bfgs_with_dense_matrices(rng):
    matrices, owner = quadratic(rng, [2, 3])
    inverses = tuple(np.diag(1 / np.diag(matrix)) for matrix in matrices)
    state = Lbfgs.at_rest(5, 2)._replace(inverses=(inverses[0], np.diag(inverses[1])))
    rows = rng.normal(size=(5, 3))
    pasts = [[], []]
    for _ in range(6):
        points = [rows[owner == which].ravel() for which in range(2)]
        forces = [-matrix @ point for matrix, point in zip(matrices, points, strict=True)]
        before = state
        state, moves = lbfgs_step(
            state, np.concatenate(forces).reshape(-1, 3), np.zeros(2), np.full(2, np.inf), owner, max_move=1e9
        )
        for which, force in enumerate(forces):
            own = owner == which
            if pasts[which] or before.moves[own].any():
                pasts[which].append((before.moves[own].ravel(), before.forces[own].ravel() - force))
            inverse = inverses[which]
            if pasts[which]:
                move, change = pasts[which][-1]
                inverse = inverse * (move @ change) / (change @ inverse @ change)
            for move, change in pasts[which]:
                turn = np.eye(len(move)) - np.outer(change, move) / (move @ change)
                inverse = turn.T @ inverse @ turn + np.outer(move, move) / (move @ change)
            np.testing.assert_allclose(moves[own].ravel(), inverse @ force, rtol=1e-6, atol=1e-9)
        rows = rows + 0.5 * moves
        state = state._replace(moves=0.5 * moves)


def test_lbfgs_goes_back_from_where_the_energy_rose_and_forgets(rng):
    matrices, owner = quadratic(rng, [2, 2])
    state = Lbfgs.at_rest(4, 2)._replace(inverses=tuple(np.linalg.inv(matrix) for matrix in matrices))
    forces = rng.normal(size=(4, 3))
    state, first = lbfgs_step(state, forces, np.zeros(2), np.zeros(2), owner, max_move=1e9)
    state, second = lbfgs_step(state, 0.1 * forces, np.array([5.0, -1.0]), np.zeros(2), owner, max_move=1e9)
    share = 1 + second[0] / first[0]
    np.testing.assert_allclose(share, share[0])
    assert SHORTEST <= share[0] <= LONGEST
    assert (state.past_weights[:, 0] == 0).all()
    assert (state.past_weights[0] > 0).tolist() == [False, True]
    np.testing.assert_array_equal(state.energies, [0.0, -1.0])


def test_lbfgs_never_moves_a_row_further_than_allowed(rng):
    matrices, owner = quadratic(rng, [2, 2])
    state = Lbfgs.at_rest(4, 2)._replace(inverses=tuple(np.linalg.inv(matrix) for matrix in matrices))
    forces = 1e3 * rng.normal(size=(4, 3))
    forces[owner == 1] = 0.0
    _, moves = lbfgs_step(state, forces, np.zeros(2), np.zeros(2), owner, max_move=0.2)
    lengths = np.linalg.norm(moves, axis=1)
    assert [lengths[owner == which].max() for which in range(2)] == pytest.approx([0.2, 0.0])

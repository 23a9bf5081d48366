"""The flow: patterns, ways, network, solvers."""

import numpy as np
import pytest
import scipy.linalg
import spglib
import torch
from ase.neighborlist import neighbor_list

from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.generate.constraints import SpaceGroups, exact
from kappaforge.generate.flow import path as paths
from kappaforge.generate.flow.geometry import _harmonics, neighbourhoods, tensors_of
from kappaforge.generate.flow.network import FlowNetwork
from kappaforge.generate.flow.settings import FlowSettings
from kappaforge.generate.pattern import pattern_of
from kappaforge.generate.prior import Wish, learn
from kappaforge.generate.solvers import SOLVERS, Rest, State, times
from kappaforge.generate.wyckoff import random_pattern

SMALL = FlowSettings(layers=2, scalars=24, vectors=12, tensors=6, radials=8, latent=8, encoder_layers=1)
KNOWN = [entry.crystal for entry in known_carbons()]


def number_of_operations(cell, fractional, numbers, symprec=1e-3):
    return len(spglib.get_symmetry_dataset((cell, fractional, numbers), symprec=symprec).rotations)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    return FlowNetwork(SMALL, 2).double().eval()


@pytest.fixture
def state(rng):
    cells = 3 * np.eye(3) + rng.normal(scale=0.4, size=(4, 3, 3))
    return State(torch.from_numpy(rng.random((4, 5, 3))), torch.from_numpy(cells))


TYPES = torch.tensor([[0, 0, 1, 1, 1]] * 4)
TIMES = torch.tensor([0.0, 0.3, 0.8, 0.99], dtype=torch.float64)


# patterns


@pytest.mark.parametrize("crystal", KNOWN, ids=lambda crystal: crystal.id)
def test_pattern_lets_move_only_what_its_group_allows(crystal, rng):
    pattern, cell = pattern_of(crystal)
    found = number_of_operations(cell, pattern.fractional, pattern.numbers)
    assert len(pattern.rotations) == found
    strain = pattern.strain(rng.normal(scale=0.2, size=(3, 3)))
    moved = pattern.reference_cell @ scipy.linalg.expm(strain) * np.cbrt(7 * len(pattern))
    positions = pattern.random_positions(rng)
    assert number_of_operations(moved, positions, pattern.numbers, 1e-4) % len(pattern.rotations) == 0


def test_pattern_that_moves_nothing_gives_the_crystal_back():
    for crystal in KNOWN:
        pattern, _ = pattern_of(crystal)
        apart = pattern.spread([np.zeros(3)] * len(pattern.orbits)) - pattern.fractional
        assert np.abs(apart - np.round(apart)).max() < 1e-3


@pytest.mark.parametrize("number", [12, 63, 166, 194, 227])
def test_sites_from_tables_have_the_group_and_the_atoms_asked_for(number, rng):
    made = [pattern for _ in range(40) if (pattern := random_pattern(number, {"C": 8}, rng)) is not None]
    assert len(made) >= 5
    for pattern in made:
        assert len(pattern) == 8
        order = {12: 4, 63: 8, 166: 12, 194: 24, 227: 48}[number]
        assert len(pattern.rotations) % order == 0
    assert len({tuple(len(makers[makers >= 0]) for _, makers, _ in pattern.orbits) for pattern in made}) > 1


def test_prior_draws_what_is_wished_for(rng):
    found = [pattern_of(crystal) for crystal in KNOWN]
    prior = learn([pattern for pattern, _ in found], [cell for _, cell in found])
    assert set(prior.sizes) <= {len(pattern) for pattern, _ in found}
    for enumerated in (0.0, 1.0):
        wish = Wish(sizes=(4, 8), elements=("C",), min_operations=8, enumerated=enumerated)
        drawn = [prior.draw(wish, rng) for _ in range(20)]
        assert all(len(pattern) in (4, 8) and len(pattern.rotations) >= 8 for pattern in drawn if pattern)
        assert sum(pattern is not None for pattern in drawn) >= 15
    shown = {pattern.number for pattern, _ in found}
    assert {pattern.number for pattern in drawn if pattern} - shown, "tables give groups that the data lack"
    assert prior.draw(Wish(sizes=(4,), elements=("Si",), groups=(230,)), rng) is None


# neighbourhoods and network


def test_neighbourhoods_hold_every_image_that_ase_finds(rng):
    cell = np.array([[2.5, 0, 0], [2.4, 1.1, 0], [-3.0, 2.0, 6.0]])  # skewed, with vectors shorter than the reach
    fractional = rng.random((3, 3))
    length = np.cbrt(np.linalg.det(cell) / 3)
    around = neighbourhoods(torch.from_numpy(fractional)[None], torch.from_numpy(cell)[None], 2.0, 5)
    atoms = Crystal(cell, fractional @ cell, np.full(3, 6)).to_ase()
    one, two, apart = neighbor_list("ijd", atoms, 2.0 * length)
    centres, width = np.linspace(0.05, 0.95, 5), 0.9 / 4
    scaled = apart / (2 * length)
    radials = np.exp(-(((scaled[:, None] - centres) / width) ** 2) / 2) * ((1 - scaled**2) ** 2)[:, None]
    expected = np.zeros((3, 3, 5))
    np.add.at(expected, (one, two), radials)
    np.testing.assert_allclose(around.zeroth[0].numpy().reshape(3, 3, 5), expected, atol=1e-10)


def test_tensors_agree_with_their_harmonics(rng):
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    fives = torch.from_numpy(rng.normal(size=5))
    along = torch.from_numpy(direction)
    assert float(along @ tensors_of(fives) @ along) == pytest.approx(float(_harmonics(along[None])[0, 4:] @ fives))


def test_network_turns_with_the_crystal(network, state):
    here = network(state, TIMES, TYPES)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]  # proper or not
    there = network(State(state.fractional, state.cells @ turn), TIMES, TYPES)
    torch.testing.assert_close(there.displacements_ang, here.displacements_ang @ turn)
    torch.testing.assert_close(there.strains, turn.T @ here.strains @ turn)
    assert here.displacements_ang.abs().max() > 1e-3
    assert here.strains.abs().max() > 1e-3


def test_network_knows_no_origin_no_image_and_no_lattice_basis(network, state):
    here = network(state, TIMES, TYPES)
    basis = torch.tensor([[1.0, 1, 0], [0, 1, -1], [1, 1, 1]], dtype=torch.float64)
    shifted = state.fractional + 0.3 + torch.randint(-2, 3, state.fractional.shape)
    there = network(State(shifted @ torch.linalg.inv(basis), basis @ state.cells), TIMES, TYPES)
    torch.testing.assert_close(there.displacements_ang, here.displacements_ang)
    torch.testing.assert_close(there.strains, here.strains)


def test_network_follows_the_order_of_the_atoms(network, state):
    here = network(state, TIMES, TYPES)
    order = torch.tensor([3, 0, 4, 1, 2])
    there = network(State(state.fractional[:, order], state.cells), TIMES, TYPES[:, order])
    torch.testing.assert_close(there.displacements_ang, here.displacements_ang[:, order])
    torch.testing.assert_close(there.strains, here.strains)


def test_network_tells_elements_times_and_latents_apart(network, state):
    here = network(state, TIMES, TYPES).displacements_ang
    assert not torch.allclose(here, network(state, TIMES, 1 - TYPES).displacements_ang)
    assert not torch.allclose(here, network(state, 0.5 * TIMES, TYPES).displacements_ang)
    latent = torch.ones(4, 8, dtype=torch.float64)
    assert not torch.allclose(here, network(state, TIMES, TYPES, latent).displacements_ang)
    none = torch.full_like(latent, torch.nan)
    torch.testing.assert_close(here, network(state, TIMES, TYPES, none).displacements_ang)


def test_latent_is_that_of_the_crystal_not_of_its_description(network, state):
    mean, _ = network.encode(state, TYPES)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    order = torch.tensor([3, 0, 4, 1, 2])
    same = State(state.fractional[:, order] - 0.4, state.cells @ turn)
    torch.testing.assert_close(network.encode(same, TYPES[:, order])[0], mean)


@pytest.mark.parametrize("number", [15, 63, 166, 194, 225])
def test_symmetry_is_kept_on_the_way_without_being_enforced(network, number, rng):
    patterns = [pattern for _ in range(30) if (pattern := random_pattern(number, {"C": 6}, rng)) is not None][:4]
    assert patterns
    settings = FlowSettings()
    cells = [paths.start_cell(pattern, 42.0, settings, rng) for pattern in patterns]
    starts = [pattern.random_positions(rng) for pattern in patterns]
    state = State(torch.from_numpy(np.stack(starts)), torch.from_numpy(np.stack(cells)))
    types = torch.zeros(len(patterns), 6, dtype=int)
    rest = network(state, torch.full((len(patterns),), 0.5, dtype=torch.float64), types)
    kept = SpaceGroups(patterns)
    kept.rotations, kept.inverse, kept.shares = kept.rotations.double(), kept.inverse.double(), kept.shares.double()
    projected = kept.project(state, rest)
    torch.testing.assert_close(projected.displacements_ang, rest.displacements_ang, atol=1e-9, rtol=1e-6)
    torch.testing.assert_close(projected.strains, rest.strains, atol=1e-9, rtol=1e-6)


def test_constraint_takes_out_what_breaks_the_symmetry(rng):
    pattern, cell = pattern_of(KNOWN[2])
    start = State(torch.from_numpy(pattern.fractional)[None].float(), torch.from_numpy(cell)[None].float())
    noise = torch.from_numpy(rng.normal(size=(1, len(pattern), 3))).float()
    strain = torch.from_numpy(rng.normal(size=(1, 3, 3))).float()
    rest = SpaceGroups([pattern]).project(start, Rest(noise, strain + strain.transpose(1, 2)))
    once = SpaceGroups([pattern]).project(start, rest)
    torch.testing.assert_close(once.displacements_ang, rest.displacements_ang, atol=1e-5, rtol=1e-4)
    moved = pattern.fractional + 0.1 * np.linalg.solve(cell.T, rest.displacements_ang[0].double().numpy().T).T
    wider = cell @ scipy.linalg.expm(0.1 * rest.strains[0].double().numpy())
    assert number_of_operations(wider, moved, pattern.numbers) % len(pattern.rotations) == 0
    fractional, cell = exact(pattern, pattern.fractional, moved + 1e-3 * rng.normal(size=moved.shape), wider)
    assert number_of_operations(cell, fractional, pattern.numbers, 1e-6) % len(pattern.rotations) == 0


# ways


def end_of(way):
    return way.fractional + way.displacements, way.cell @ scipy.linalg.expm(way.strain)


def difference(ends, fractional):
    apart = ends - fractional
    apart = apart - apart[0]
    return np.abs(apart - np.round(apart)).max()


@pytest.mark.parametrize("crystal", KNOWN, ids=lambda crystal: crystal.id)
def test_ways_end_at_the_crystal(crystal, rng):
    example = paths.example_of(crystal, [6])
    way = paths.symmetric_way(example.symmetric, example.symmetric_cell, 50.0, FlowSettings(), rng)
    ends, cell = end_of(way)
    assert difference(ends, example.symmetric.fractional) < 1e-3
    np.testing.assert_allclose(cell @ cell.T, example.symmetric_cell @ example.symmetric_cell.T, atol=1e-6)
    halfway = way.fractional + way.displacements / 2
    numbers = example.symmetric.numbers
    between = way.cell @ scipy.linalg.expm(way.strain / 2)
    kept = number_of_operations(between, halfway, numbers, 1e-4)
    assert kept % len(example.symmetric.rotations) == 0

    way = paths.free_way(example.free, example.free_cell, 50.0, FlowSettings(), rng)
    ends, cell = end_of(way)
    np.testing.assert_allclose(cell @ cell.T, example.free_cell @ example.free_cell.T, atol=1e-6)
    moved = Crystal(cell, ends @ cell, numbers)
    at = Crystal(cell, example.free.fractional @ cell, numbers)
    one, two = (np.sort(neighbor_list("d", each.to_ase(), 2.6)) for each in (moved, at))
    np.testing.assert_allclose(one, two, atol=1e-4)


def test_optimal_transport_shortens_the_ways(rng):
    example = paths.example_of(next(crystal for crystal in KNOWN if len(crystal) >= 8), [6])
    paired = np.mean(
        [
            np.square(paths.free_way(example.free, example.free_cell, 50.0, FlowSettings(), rng).displacements).sum()
            for _ in range(20)
        ]
    )
    plain = len(example.free) * 3 / 12  # of coordinates anywhere between -1/2 and 1/2
    assert paired < 0.6 * plain


# solvers


@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_solvers_arrive_where_the_predictor_points(name, state, rng):
    ends = torch.from_numpy(rng.random((4, 5, 3)))
    strains = torch.from_numpy(rng.normal(scale=0.1, size=(4, 1, 1))) * torch.eye(3)

    def predict(here, time):
        left = torch.log(torch.linalg.det(goal) / torch.linalg.det(here.cells))[:, None, None] / 3 * torch.eye(3)
        return Rest((ends - here.fractional) @ here.cells, left)

    goal = state.cells @ torch.linalg.matrix_exp(strains)
    arrived = SOLVERS[name](predict, state, times(7))
    torch.testing.assert_close(arrived.fractional, ends)
    torch.testing.assert_close(arrived.cells, goal)


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2)])
def test_solvers_have_their_order(name, order, state):
    def predict(here, time):
        # the velocity is exp(t) along x, whatever the place
        velocity = torch.zeros_like(here.fractional)
        velocity[..., 0] = np.exp(time)
        return Rest((1 - time) * velocity @ here.cells, torch.zeros_like(here.cells))

    def error(n_steps):
        until = [0.9 * step / n_steps for step in range(n_steps + 1)]
        arrived = SOLVERS[name](predict, state, until)
        return abs(float((arrived.fractional - state.fractional)[0, 0, 0]) - (np.exp(0.9) - 1))

    assert error(10) / error(20) == pytest.approx(2**order, rel=0.15)

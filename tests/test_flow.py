"""The flow: patterns, ways, network, solvers, training."""

import re
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import spglib
import torch
from ase.build import bulk
from ase.neighborlist import neighbor_list

from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.dataset.writers import write
from kappaforge.errors import InputError
from kappaforge.generate import registry
from kappaforge.generate.base import LearnedGenerator
from kappaforge.generate.constraints import SpaceGroups, exact
from kappaforge.generate.flow import path as paths
from kappaforge.generate.flow.generator import Flow
from kappaforge.generate.flow.geometry import _harmonics, neighbourhoods, tensors_of
from kappaforge.generate.flow.losses import losses
from kappaforge.generate.flow.network import FlowNetwork
from kappaforge.generate.flow.sampling import Draft, Sampler, proposal
from kappaforge.generate.flow.settings import FlowSettings
from kappaforge.generate.pattern import free_pattern, pattern_of
from kappaforge.generate.prior import Wish, learn
from kappaforge.generate.settings import GenerateSettings
from kappaforge.generate.solvers import SOLVERS, Rest, State, times
from kappaforge.generate.training import TrainingSettings, train
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


# training


def small_fit(crystals, tmp_path, **arguments):
    training = arguments.pop("training", TrainingSettings(epochs=4, batch_size=4, learning_rate=3e-3))
    return Flow.fit(crystals, model=SMALL, training=training, **arguments)


def weights(flow):
    return [tensor.clone() for tensor in flow.network.state_dict().values()]


def test_loss_falls_on_known_carbons(tmp_path):
    rows = []
    training = TrainingSettings(epochs=150, batch_size=4, learning_rate=3e-3)
    small_fit(KNOWN[:8], tmp_path, training=training, on_epoch=rows.append)
    found = np.array([row.losses["loss"] for row in rows])
    assert found[-30:].mean() < 0.75 * found[:15].mean()


def test_training_killed_on_the_way_gives_the_same_weights(tmp_path):
    whole = small_fit(KNOWN[:5], tmp_path)
    checkpoint = tmp_path / "checkpoint"

    def kill(losses):
        if losses.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small_fit(KNOWN[:5], tmp_path, checkpoint=checkpoint, on_epoch=kill)
    resumed = small_fit(KNOWN[:5], tmp_path, checkpoint=checkpoint)
    assert all(torch.equal(one, two) for one, two in zip(weights(whole), weights(resumed), strict=True))


def test_checkpoint_of_another_training_is_refused(tmp_path):
    checkpoint = tmp_path / "checkpoint"
    small_fit(KNOWN[:3], tmp_path, checkpoint=checkpoint)
    with pytest.raises(InputError, match="of a training with other crystals"):
        small_fit(KNOWN[:4], tmp_path, checkpoint=checkpoint)
    checkpoint.write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match="is damaged"):
        small_fit(KNOWN[:3], tmp_path, checkpoint=checkpoint)


def test_training_goes_on_from_a_generator(small_flow):
    start = Flow.load(small_flow)
    rows = []
    further = Flow.fit(KNOWN[:6], start=start, training=TrainingSettings(epochs=1, batch_size=6), on_epoch=rows.append)
    assert further.elements == start.elements
    assert any(not torch.equal(one, two) for one, two in zip(weights(start), weights(further), strict=True))


def test_processes_of_torchrun_share_batches_and_end_with_the_same_weights(tmp_path):
    script = tmp_path / "shared.py"
    script.write_text(
        "import sys, torch\n"
        "from kappaforge.generate.training import TrainingSettings, train\n"
        "torch.manual_seed(0)\n"
        "network = torch.nn.Linear(1, 1)\n"
        "seen = []\n"
        "def losses(batch, rng):\n"
        "    seen.append(float(batch))\n"
        "    return {'loss': (network(batch) - 3 * batch).square().sum()}\n"
        "settings = TrainingSettings(epochs=3, averaging=0.0, schedule='constant', clip=0.0)\n"
        "batches = lambda rng: [torch.full((1, 1), float(n)) for n in range(4)]\n"
        "train(network, losses, batches, settings=settings, seed=0, identity='')\n"
        "rank = torch.distributed.get_rank()\n"
        "torch.save((seen, network.weight.item(), network.bias.item()), f'{sys.argv[1]}/{rank}.pt')\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*command, str(script), str(tmp_path)], check=True, capture_output=True, timeout=120)
    (seen, *weights), (other, *others) = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert sorted(seen + other) == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0]
    assert weights == others


def test_losses_that_are_not_finite_stop_the_training():
    network = torch.nn.Linear(1, 1)
    with pytest.raises(InputError, match="the loss is nan in epoch 1"):
        train(
            network,
            lambda batch, rng: {"loss": network(batch).sum() * float("nan")},
            lambda rng: [torch.ones(1, 1)],
            settings=TrainingSettings(epochs=1),
            seed=0,
            identity="",
        )


def test_losses_are_those_of_a_perfect_network(rng):
    """A network that knows the end has no loss: the targets and the units are those of the prediction."""
    examples = [paths.example_of(crystal, [6]) for crystal in KNOWN if len(crystal) == 4]
    settings = replace(SMALL, latent=0)
    ways = paths.ways_of(examples, np.array([6.0]), settings, rng)

    class Perfect(torch.nn.Linear):  # some module with parameters
        settings = replace(SMALL, latent=0)

        def forward(self, state, now, types, latent):
            _, displacements, strains = ways.at(now)
            return Rest(displacements, strains)

    parts = losses(Perfect(1, 1), ways, torch.Generator().manual_seed(0))
    assert float(parts["loss"]) == pytest.approx(0, abs=1e-9)


# the generator


def test_flow_is_a_learned_generator(small_flow):
    flow = registry.load(str(small_flow))
    assert isinstance(flow, LearnedGenerator)
    latents = flow.encode(KNOWN[:3])
    assert latents.shape == (3, 8)
    assert [proposal.id for proposal in flow.decode(latents)] == ["g000000", "g000001", "g000002"]
    (three,) = flow.decode(latents[:1], num_atoms=3)
    assert three.crystal is not None
    assert len(three.crystal) == 3
    assert len(flow.reconstruct(KNOWN[:3])) == 3
    guided = flow.sample(2, latent=latents[0])
    assert [p.crystal.digest for p in guided] != [p.crystal.digest for p in flow.sample(2)]
    with pytest.raises(InputError, match=r"latents: expected finite numbers of shape \(n, 8\)"):
        flow.decode(np.zeros((2, 5)))


def test_saved_flow_gives_the_same_crystals(small_flow, tmp_path):
    flow = Flow.load(small_flow)
    flow.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == small_flow.read_bytes()
    again = Flow.load(tmp_path / "again.safetensors")
    assert again.digest == flow.digest
    assert [p.crystal.digest for p in again.sample(3)] == [p.crystal.digest for p in flow.sample(3)]


def test_flow_samples_two_elements():
    crystals = []
    for symbols, lattice in (("BN", 3.6), ("AlN", 4.4), ("AlP", 5.5), ("BP", 4.5)):
        for structure, scale in (("zincblende", 1.0), ("rocksalt", 0.94), ("wurtzite", 1 / np.sqrt(2))):
            atoms = bulk(symbols, structure, a=lattice * scale)
            crystals.append(Crystal.from_ase(atoms, id=f"{symbols}-{structure}"))
    settings = GenerateSettings(elements=("B", "N"), min_atoms=2, max_atoms=8, min_distance_factor=0.3)
    flow = Flow.fit(
        crystals, model=SMALL, training=TrainingSettings(epochs=40, batch_size=4, learning_rate=3e-3), settings=settings
    )
    assert flow.elements == ("B", "N", "Al", "P")
    made = [proposal.crystal for proposal in flow.sample(8) if proposal.crystal]
    assert len(made) >= 6
    assert all(crystal.elements == {"B", "N"} for crystal in made)
    shares = [crystal.numbers.tolist().count(5) / len(crystal) for crystal in made]
    assert set(shares) == {0.5}
    reconstructed = flow.reconstruct(crystals[:2])
    assert all(proposal.crystal.elements <= {"B", "N", "Al", "P"} for proposal in reconstructed if proposal.crystal)


def test_flow_tells_what_to_do_about_elements_it_has_not_seen(small_flow):
    flow = registry.load(str(small_flow), GenerateSettings(elements=("Si",)))
    with pytest.raises(InputError, match="has learned C, not Si; train one on your crystals"):
        flow.sample(1)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-20], "is damaged or not a .safetensors file"),
        (lambda content: b"a text", "is damaged or not a .safetensors file"),
        (lambda content: content.replace(b'\\"C\\"', b'\\"N\\"'), "content does not match its digest"),
        (lambda content: content.replace(b"kappaforge-flow-1", b"kappaforge-flow-9"), "no trained generator"),
    ],
)
def test_damaged_flow_is_one_clear_error(small_flow, tmp_path, damage, message):
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(damage(small_flow.read_bytes()))
    with pytest.raises(InputError, match=re.escape(message)):
        registry.load(str(path))


def test_model_of_another_kind_and_missing_files_are_clear_errors(tmp_path):
    from kappaforge.potentials.registry import model_file

    with pytest.raises(InputError, match="no trained generator"):
        registry.load(str(model_file("carbon")))
    with pytest.raises(InputError, match="does not exist"):
        registry.load(str(tmp_path / "none.safetensors"))
    with pytest.raises(InputError, match="training needs at least one crystal"):
        Flow.fit([])


def test_proposal_is_the_draft_that_looks_best(small_flow):
    def looks(flow):
        return np.median(flow.doubts([proposal.crystal for proposal in flow.sample(24) if proposal.crystal]))

    options = {"max_attempts": 1, "min_distance_factor": 0.1}
    one, four = (Flow.load(small_flow, GenerateSettings(best_of=best_of, **options)) for best_of in (1, 4))
    assert looks(four) < 0.9 * looks(one)


def test_judge_decides_which_drafts_are_proposed(small_flow):
    flow = Flow.load(small_flow, GenerateSettings(best_of=1, max_attempts=12, min_distance_factor=0.1))
    crystals = [proposal.crystal for proposal in flow.sample(64) if proposal.crystal]
    volumes = np.array([crystal.volume_ang3 / len(crystal) for crystal in crystals])
    judged = flow.with_judge(crystals, volumes)  # it likes dense crystals, which the network does not
    assert np.corrcoef(judged.doubts(crystals), volumes)[0, 1] > 0.8
    chosen = [proposal.crystal for proposal in judged.sample(64) if proposal.crystal]
    assert np.mean(judged.doubts(chosen) <= judged.judge.limit) > 0.8 > 0.6 > np.mean(volumes <= judged.judge.limit)


def test_judge_is_saved_with_the_flow_and_told_apart(small_flow, tmp_path):
    flow = Flow.load(small_flow)
    crystals = [proposal.crystal for proposal in flow.sample(16) if proposal.crystal]
    judged = flow.with_judge(crystals, np.linspace(-1, 1, len(crystals)))
    assert judged.digest != flow.digest
    judged.save(tmp_path / "judged.safetensors")
    again = Flow.load(tmp_path / "judged.safetensors")
    assert again.digest == judged.digest
    np.testing.assert_array_equal(again.doubts(crystals), judged.doubts(crystals))


def test_judge_sees_the_same_in_any_frame_and_cell(small_flow, rng):
    flow = Flow.load(small_flow)
    crystal = next(proposal.crystal for proposal in flow.sample(8) if proposal.crystal)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    order = rng.permutation(len(crystal))
    sheared = np.array([[1, 1, 0], [0, 1, 0], [0, -1, 1]]) @ crystal.cell
    other = Crystal(sheared @ turn, (crystal.positions[order] + 0.3) @ turn, crystal.numbers[order])
    np.testing.assert_allclose(flow.doubts([other]), flow.doubts([crystal]), rtol=1e-3)
    crystals = [proposal.crystal for proposal in flow.sample(16) if proposal.crystal]
    judged = flow.with_judge(crystals, rng.normal(size=len(crystals)))
    np.testing.assert_allclose(judged.doubts([other]), judged.doubts([crystal]), rtol=1e-3)


def test_collapsed_draft_costs_the_others_nothing(small_flow):
    flow = Flow.load(small_flow)
    sampler = Sampler(flow.network, flow.elements, flow.volumes_ang3, SOLVERS["euler"], 5)
    pattern = free_pattern(np.array([6, 6]), np.array([[0.0, 0, 0], [0.25, 0.25, 0.25]]))
    good = Draft(pattern, pattern.fractional, 2.5 * np.eye(3))
    flat = Draft(pattern, pattern.fractional, np.diag([1e3, 1e3, 1e-6]))
    doubts = sampler.doubts([good, flat])
    assert np.isfinite(doubts[0])
    assert np.isinf(doubts[1])
    whole, gone = sampler.ends([good, flat])
    assert gone is None
    np.testing.assert_allclose(whole.cell, sampler.ends([good])[0].cell)
    assert proposal(3, gone, "flow").reason == "its cell collapsed"


def test_command_killed_on_the_way_writes_the_same_generator(tmp_path):
    data = tmp_path / "data.extxyz"
    write(KNOWN[:6], data)

    def command(name):
        script = "from kappaforge.cli.main import main; main()"
        options = ["--epochs", "40", "--batch-size", "2", "--log", str(tmp_path / f"{name}.csv")]
        output = ["--output", str(tmp_path / f"{name}.safetensors")]
        return [sys.executable, "-c", script, "train-generator", str(data), *output, *options]

    subprocess.run(command("whole"), check=True, capture_output=True, timeout=300)
    killed = subprocess.Popen(command("killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = tmp_path / "killed.csv"
    until = time.monotonic() + 120
    while not log.exists() and time.monotonic() < until:
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    assert (tmp_path / "killed.checkpoint").exists()
    assert not (tmp_path / "killed.safetensors").exists()
    subprocess.run(command("killed"), check=True, capture_output=True, timeout=300)
    one, two = (Flow.load(tmp_path / f"{name}.safetensors") for name in ("whole", "killed"))
    assert one.digest == two.digest
    assert (tmp_path / "whole.csv").read_bytes() == (tmp_path / "killed.csv").read_bytes()

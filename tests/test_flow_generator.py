"""The flow as a generator: training, samples, files, the judge, the command."""

import re
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import bulk

from kappaforge.cli.main import app
from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.dataset.writers import write
from kappaforge.errors import InputError
from kappaforge.generate import registry
from kappaforge.generate.base import LearnedGenerator
from kappaforge.generate.flow import path as paths
from kappaforge.generate.flow.generator import Flow
from kappaforge.generate.flow.losses import losses
from kappaforge.generate.flow.sampling import Draft, Sampler, proposal
from kappaforge.generate.flow.settings import FlowSettings
from kappaforge.generate.pattern import free_pattern
from kappaforge.generate.settings import GenerateSettings
from kappaforge.generate.solvers import SOLVERS, Rest
from kappaforge.generate.training import TrainingSettings, train

SMALL = FlowSettings(layers=2, scalars=24, vectors=12, tensors=6, radials=8, latent=8, encoder_layers=1)
KNOWN = [entry.crystal for entry in known_carbons()]


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


def test_flow_towards_other_crystals_draws_their_patterns_and_keeps_its_network(small_flow, tmp_path):
    flow = Flow.load(small_flow)
    diamond = next(entry.crystal for entry in known_carbons() if entry.name == "diamond")
    app(
        ["train-generator", str(_written(diamond, tmp_path)), "--start", str(small_flow), "--prior-only", "-o",
         str(tmp_path / "more.safetensors")],
        standalone_mode=False,
    )  # fmt: skip
    turned = Flow.load(tmp_path / "more.safetensors", GenerateSettings(max_atoms=8, enumerated=0.0))
    assert turned.digest != replace(flow, settings=turned.settings).digest
    for name, weights in flow.network.state_dict().items():
        torch.testing.assert_close(turned.network.state_dict()[name], weights, rtol=0, atol=0)
    made = [one.crystal for one in turned.sample(6, seed=1) if one.crystal is not None]
    assert made
    assert all(len(crystal) == 2 for crystal in made), "diamond's pattern has two atoms"
    with pytest.raises(InputError, match="at least one crystal"):
        flow.towards([])
    with pytest.raises(InputError, match="expected a flow to keep"):
        app(["train-generator", str(tmp_path), "--prior-only", "-o", "x.safetensors"], standalone_mode=False)


def _written(crystal, folder):
    path = folder / "one.extxyz"
    write([crystal], path, "extxyz")
    return path


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

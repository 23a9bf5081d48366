"""CDVAE as a generator: what it asks, keeps, writes and reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.io import write

from kappaforge.cli.main import app
from kappaforge.errors import InputError
from kappaforge.generate.base import LearnedGenerator
from kappaforge.generate.cdvae.generator import Cdvae
from kappaforge.generate.cdvae.network import fresh_network
from kappaforge.generate.cdvae.settings import PRESETS, CdvaeSettings, EncoderSettings, LangevinSettings
from kappaforge.generate.registry import load
from kappaforge.generate.settings import GenerateSettings
from kappaforge.generate.training import TrainingSettings
from kappaforge.weights import read_weights, write_weights
from test_cdvae import TINY, random_crystal, rebased, rotated, translated
from test_cdvae_training import carbons, salts

SHORT = TrainingSettings(epochs=3, batch_size=8, averaging=0.9)
ASK = GenerateSettings(min_atoms=2, max_atoms=6, steps=50, max_attempts=2, min_distance_factor=0.01)


def weights(cdvae: Cdvae) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in cdvae.network.state_dict().items()}


def fit(crystals, **options) -> Cdvae:
    return Cdvae.fit(crystals * 4, **{"model": TINY, "training": SHORT, "settings": ASK, **options})


@pytest.fixture(scope="module")
def of_carbon() -> Cdvae:
    return fit(carbons())


@pytest.fixture(scope="module")
def of_two() -> Cdvae:
    return fit(salts()[2:3], settings=replace(ASK, elements=("B", "N")))


def geometries(proposals) -> list[tuple]:
    return [(p.id, p.reason) + ((p.crystal.positions.tobytes(),) if p.crystal else ()) for p in proposals]


def test_it_obeys_the_protocol_and_learns_from_what_it_is_given(of_carbon: Cdvae) -> None:
    assert isinstance(of_carbon, LearnedGenerator)
    assert of_carbon.elements == ("C",)
    assert of_carbon.card["data"] == "16 crystals"
    assert int(of_carbon.network.epochs) == SHORT.epochs


def test_proposals_depend_on_number_and_seed_alone(of_carbon: Cdvae) -> None:
    whole = geometries(of_carbon.sample(20, seed=5))
    assert whole[14:19] == geometries(of_carbon.sample(5, first=14, seed=5))
    assert whole != geometries(of_carbon.sample(20, seed=6))
    assert len(set(whole)) == 20


def test_steps_and_latent_decide_the_crystals(of_carbon: Cdvae) -> None:
    latent = np.zeros(TINY.latent)
    plain, longer = (of_carbon.sample(1, num_atoms=4, steps=steps) for steps in (50, 100))
    assert geometries(plain) != geometries(longer)
    cells = [p.crystal.cell for p in of_carbon.sample(3, num_atoms=4, latent=latent) if p.crystal]
    np.testing.assert_allclose(cells[0], cells[-1])
    with pytest.raises(InputError, match="latents"):
        of_carbon.sample(1, latent=np.zeros(3))


def test_elements_formula_and_size_are_as_asked(of_two: Cdvae) -> None:
    for proposal in of_two.sample(4):
        assert proposal.status == "failed" or proposal.crystal.elements == {"B", "N"}
    asked = replace(of_two, settings=replace(of_two.settings, formula="BN2"))
    made = [proposal.crystal for proposal in asked.sample(4, num_atoms=6) if proposal.crystal]
    assert made
    for crystal in made:
        assert sorted(crystal.numbers) == [5, 5, 7, 7, 7, 7]
    with pytest.raises(InputError, match="multiple of 3"):
        asked.sample(1, num_atoms=4)
    with pytest.raises(InputError, match="has learned B, N, not C"):
        replace(of_two, settings=ASK).sample(1)
    with pytest.raises(InputError, match="without space groups"):
        of_two.sample(1, spacegroup=12)


def test_sizes_follow_the_model_within_those_asked_for(of_carbon: Cdvae) -> None:
    network = fresh_network(TINY, seed=0).eval()
    last = network.num_atoms[-1]
    with torch.no_grad():
        network.lattice_mean.copy_(torch.tensor([2.0, 2.0, 2.0, 90.0, 90.0, 90.0]))
        last.weight.zero_()
        last.bias.fill_(-20)
        last.bias[[4, 6, 9]] = torch.tensor([1.0, 0.0, 3.0])
    made = replace(of_carbon, network=network, settings=replace(ASK, max_attempts=1))
    sizes = [len(proposal.crystal) for proposal in made.sample(32) if proposal.crystal]
    assert set(sizes) == {4, 6}
    assert 1.2 < sizes.count(4) / sizes.count(6) < 8  # e


def test_atoms_that_come_too_close_are_failures(of_carbon: Cdvae) -> None:
    strict = replace(of_carbon, settings=replace(ASK, min_distance_factor=1.2, max_attempts=1, min_atoms=6))
    assert {proposal.reason for proposal in strict.sample(4)} == {"its atoms come too close"}


def test_latents_are_of_the_crystal_not_its_description(of_carbon: Cdvae) -> None:
    crystals = [random_crystal(1), random_crystal(2)]
    latents = of_carbon.encode(crystals)
    assert latents.shape == (2, TINY.latent)
    assert abs(latents[0] - latents[1]).max() > 1e-3
    for change in (rotated, translated, rebased):
        np.testing.assert_allclose(of_carbon.encode([change(one) for one in crystals]), latents, atol=1e-4)
    with pytest.raises(InputError, match="knows C, not"):
        of_carbon.encode(salts())


def test_decoding_is_repeatable_and_reconstruction_is_encoding_and_decoding(of_carbon: Cdvae) -> None:
    latents = of_carbon.encode(carbons())
    made = of_carbon.decode(latents, seed=1)
    assert [proposal.id for proposal in made] == [f"g{index:06d}" for index in range(4)]
    assert geometries(made) == geometries(of_carbon.reconstruct(carbons(), seed=1))
    assert geometries(made) != geometries(of_carbon.decode(latents, seed=2))
    assert {len(p.crystal) for p in of_carbon.decode(latents, num_atoms=3) if p.crystal} == {3}


def test_saved_models_come_back_the_same(of_carbon: Cdvae, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    of_carbon.save(path)
    again = Cdvae.load(path, ASK)
    assert again.digest == of_carbon.digest
    assert again.card == of_carbon.card
    assert weights(again) == weights(of_carbon)
    assert geometries(again.sample(2)) == geometries(of_carbon.sample(2))
    assert replace(again, langevin=LangevinSettings(steps_per_level=3)).digest != again.digest


def test_damaged_and_foreign_files_are_refused(of_carbon: Cdvae, tmp_path: Path) -> None:
    path, other = tmp_path / "model.safetensors", tmp_path / "other.safetensors"
    of_carbon.save(path)
    about, arrays = read_weights(path, "kappaforge-cdvae-1")
    write_weights(other, "kappaforge-cdvae-1", about, arrays | {"mean.bias": arrays["mean.bias"] + 1})
    with pytest.raises(InputError, match="damaged"):
        Cdvae.load(other)
    write_weights(other, "kappaforge-flow-1", about, arrays)
    with pytest.raises(InputError, match="another kind"):
        Cdvae.load(other)
    write_weights(other, "kappaforge-cdvae-1", about | {"settings": {"latent": 3}}, arrays)
    with pytest.raises(InputError, match="unusable settings"):
        Cdvae.load(other)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="damaged"):
        Cdvae.load(path)


def test_a_training_that_was_stopped_ends_with_the_same_weights(of_carbon: Cdvae, tmp_path: Path) -> None:
    def stop(row) -> None:
        if row.epoch == 2:
            raise KeyboardInterrupt

    checkpoint = tmp_path / "training.ckpt"
    with pytest.raises(KeyboardInterrupt):
        fit(carbons(), checkpoint=checkpoint, on_epoch=stop)
    epochs = []
    resumed = fit(carbons(), checkpoint=checkpoint, on_epoch=lambda row: epochs.append(row.epoch))
    assert epochs == [1, 2, 3]
    assert weights(resumed) == weights(of_carbon)
    with pytest.raises(InputError, match="other crystals, settings or seed"):
        fit(salts(), checkpoint=checkpoint)


def test_training_goes_on_from_another_model(of_two: Cdvae) -> None:
    assert fit(salts()[2:3], start=of_two).elements == of_two.elements
    with pytest.raises(InputError, match="knows"):
        fit(carbons(), start=of_two)


def test_a_property_is_learned_beside(tmp_path: Path) -> None:
    model = replace(TINY, predict_property=True)
    fitted = fit(carbons(), model=model, properties=[1.0, 2.0, 3.0, 4.0] * 4)
    fitted.save(tmp_path / "model.safetensors")
    again = Cdvae.load(tmp_path / "model.safetensors")
    assert float(again.network.property_mean) == pytest.approx(2.5)


def test_the_command_trains_a_preset_and_refuses_others(tmp_path: Path) -> None:
    data, output = tmp_path / "carbons.extxyz", tmp_path / "made.safetensors"
    write(data, [crystal.to_ase() for crystal in carbons()])

    def command(*arguments: str) -> None:
        app(["train-generator", str(data), "-o", str(output), "--epochs", "1", *arguments], standalone_mode=False)

    command("--model", "cdvae", "--preset", "small")
    made = load(str(output), ASK)
    assert isinstance(made, Cdvae)
    assert made.network.settings == PRESETS["small"]
    assert made.card["files"] == "carbons.extxyz"
    with pytest.raises(InputError, match="did you mean 'small'"):
        command("--model", "cdvae", "--preset", "smal")
    with pytest.raises(InputError, match="a flow has none"):
        command("--model", "flow", "--preset", "small")
    with pytest.raises(InputError, match="keeps that generator's size"):
        command("--model", "cdvae", "--preset", "small", "--start", str(output))


def test_data_that_cannot_be_learned_are_refused() -> None:
    with pytest.raises(InputError, match="at least one crystal"):
        fit([])
    with pytest.raises(InputError, match="max_atoms"):
        fit([random_crystal(1)], model=CdvaeSettings(encoder=EncoderSettings(hidden=8), max_atoms=3))

"""Allegro models: the contract of every potential, training, and the files of models and checkpoints."""

import copy
import multiprocessing
import os
import re
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from allegro.nn._strided._contract import Contracter
from ase.build import bulk
from e3nn.o3 import Irreps
from safetensors.numpy import save_file

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.label.base import Label
from kappaforge.potentials.allegro import AllegroPotential
from kappaforge.potentials.allegro_model import AllegroModel, ModelCard, fresh_module, weights_of
from kappaforge.potentials.allegro_settings import PRESETS, AllegroSettings, TrainingSettings
from kappaforge.potentials.base import Batch
from kappaforge.potentials.contraction import AtomwiseContracter
from kappaforge.potentials.core import REACH_ANG
from kappaforge.potentials.family import read_committee, write_committee
from kappaforge.potentials.model_file import model_digest, read_model, write_model
from kappaforge.potentials.registry import load
from kappaforge.potentials.training import _examples, _Tally, train
from test_potentials import (  # noqa: F401 (the contract, which runs here on the model of `case`)
    Case,
    compute,
    distorted,
    test_batch_equals_one_by_one_to_the_last_bit,
    test_batch_is_not_changed,
    test_faulty_crystal_gets_nan_and_does_not_spoil_its_neighbours,
    test_forces_are_minus_the_gradient_of_the_energy,
    test_permutation_permutes_forces,
    test_potential_satisfies_the_protocol,
    test_prediction_has_the_documented_shapes_and_is_double,
    test_rotation_turns_forces_and_stress,
    test_same_input_gives_the_same_bits,
    test_stress_is_positive_where_the_cell_would_shrink,
    test_stress_is_the_derivative_of_the_energy_with_strain,
    test_supercell_of_a_cell_shorter_than_the_cutoff_is_extensive,
    test_translation_changes_nothing,
    test_unknown_element_is_refused_with_the_known_ones,
)

SHAPE = AllegroSettings(
    l_max=1, tensor_features=4, scalar_features=16, cutoff_ang=3.0, two_body_hidden=(16,), readout_hidden=(16,)
)
BRIEF = TrainingSettings(epochs=4, batch_size=4, precision="float64", averaging=0.9)


def fresh_model(elements=("C",), precision="float64", shape=SHAPE) -> AllegroModel:
    weights = weights_of(fresh_module(shape, elements, 20.0, precision, seed=1))
    return AllegroModel(shape, elements, 20.0, precision, weights)


@pytest.fixture(scope="module")
def labels() -> list[Label]:
    """Strained and rattled diamond, with Brenner's potential as the teacher."""
    rng = np.random.default_rng(4)
    crystals = []
    for scale in np.linspace(0.9, 1.1, 48):
        atoms = bulk("C", "diamond", a=3.5 * scale) * (1, 1, 2)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.02 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.positions += 0.07 * rng.normal(size=atoms.positions.shape)
        crystals.append(Crystal.from_ase(atoms))
    rng.shuffle(crystals)
    return [
        Label(crystal.id, crystal, "brenner", energy_ev=answer.energies_ev[0], forces_ev_per_ang=answer[1])
        for crystal in crystals
        for answer in [compute(load("brenner"), crystal)]
    ]


@pytest.fixture(scope="module")
def training(labels):
    settings = replace(BRIEF, epochs=60, learning_rate=0.02, energy_weight=10.0)
    return train(labels[8:], labels[:8], model=SHAPE, settings=settings, card=ModelCard(data="strained diamond"))


@pytest.fixture(scope="module")
def case(training, tmp_path_factory) -> Case:
    path = tmp_path_factory.mktemp("models") / "diamond.safetensors"
    write_model(training.model, path)
    return Case(load(str(path)), distorted(bulk("C", "diamond", a=3.5)), 1e-9, 1e-5, 1e-6)


def test_training_learns_its_teacher(training, labels):
    first, last = training.log[0], training.log[-1]
    forces = np.concatenate([label.forces_ev_per_ang for label in labels[:8]])
    energies = [label.energy_ev / len(label.crystal) for label in labels[:8]]
    zero_rmse, mean_mae = 1e3 * np.sqrt((forces**2).mean()), 1e3 * np.abs(energies - np.mean(energies)).mean()
    print(f"\nfirst {first}\nlast  {last}\nof epoch {training.epoch}; without a model {mean_mae:.0f} {zero_rmse:.0f}")
    assert [errors.epoch for errors in training.log] == list(range(1, 61))
    assert last.force_rmse_mev_per_ang < 0.3 * first.force_rmse_mev_per_ang
    assert last.validation_force_rmse_mev_per_ang < 0.3 * zero_rmse
    assert last.validation_energy_mae_mev_per_atom < 0.2 * mean_mae


def test_logged_errors_are_those_of_the_potential(training, labels):
    predictions = [compute(AllegroPotential("trained", training.model), label.crystal) for label in labels[:8]]
    pairs = list(zip(predictions, labels[:8], strict=True))
    energies = [(one.energies_ev[0] - label.energy_ev) / len(label.crystal) for one, label in pairs]
    forces = np.concatenate([one.forces_ev_per_ang - label.forces_ev_per_ang for one, label in pairs])
    logged = training.log[training.epoch - 1]
    assert logged.validation_energy_mae_mev_per_atom == pytest.approx(1e3 * np.abs(energies).mean())
    assert logged.validation_force_rmse_mev_per_ang == pytest.approx(1e3 * np.sqrt((forces**2).mean()))


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_training_killed_between_epochs_ends_with_the_same_weights(labels, tmp_path, schedule):
    settings = replace(BRIEF, schedule=schedule, patience=1)
    checkpoint = tmp_path / "checkpoint.pt"

    def kill(errors) -> None:
        if errors.epoch == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    def run(**options):
        return train(labels[4:12], labels[:4], model=SHAPE, settings=settings, seed=5, **options)

    child = multiprocessing.get_context("fork").Process(target=run, kwargs={"checkpoint": checkpoint, "on_epoch": kill})
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    epochs = []
    resumed = run(checkpoint=checkpoint, on_epoch=lambda errors: epochs.append(errors.epoch))
    straight = run()
    assert epochs == [3, 4]
    assert resumed.log == straight.log
    assert model_digest(resumed.model) == model_digest(straight.model)


def test_other_seed_gives_other_weights(labels):
    settings = replace(BRIEF, epochs=1)
    digests = {model_digest(train(labels[:4], model=SHAPE, settings=settings, seed=s).model) for s in (0, 0, 1)}
    assert len(digests) == 2


def test_checkpoint_of_another_training_is_refused(labels, tmp_path):
    settings, checkpoint = replace(BRIEF, epochs=1), tmp_path / "checkpoint.pt"
    train(labels[:4], model=SHAPE, settings=settings, checkpoint=checkpoint)
    with pytest.raises(InputError, match="other labels, settings or seed"):
        train(labels[:5], model=SHAPE, settings=settings, checkpoint=checkpoint)


@pytest.mark.parametrize("size", [0, 100, -50])
def test_damaged_checkpoint_is_one_clear_error(labels, tmp_path, size):
    settings, checkpoint = replace(BRIEF, epochs=1), tmp_path / "checkpoint.pt"
    train(labels[:4], model=SHAPE, settings=settings, checkpoint=checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:size])
    with pytest.raises(InputError, match=r"^checkpoint .* is damaged \(.*\); delete it"):
        train(labels[:4], model=SHAPE, settings=settings, checkpoint=checkpoint)


def test_fine_tuning_starts_from_what_was_learnt_whatever_the_engines_zero(training, labels):
    moved = [replace(label, engine="other", energy_ev=label.energy_ev + 50.0 * len(label.crystal)) for label in labels]
    tuned = train(moved[8:], moved[:8], model=training.model, settings=replace(BRIEF, epochs=1, learning_rate=1e-4))
    before = training.log[training.epoch - 1]
    assert tuned.model.settings == training.model.settings
    assert tuned.model.card == training.model.card
    after = tuned.log[0]
    assert after.validation_energy_mae_mev_per_atom < 1.5 * before.validation_energy_mae_mev_per_atom + 1.0
    assert after.validation_force_rmse_mev_per_ang < 1.5 * before.validation_force_rmse_mev_per_ang


def test_knee_makes_the_errors_of_strongly_distorted_crystals_relative(labels):
    """With forces ten times the knee, a crystal's squared errors count a hundredth and one."""
    one = labels[0]
    rms = float(np.sqrt((one.forces_ev_per_ang**2).mean()))
    examples = _examples([one], ("C",), SHAPE.cutoff_ang)
    module = fresh_module(SHAPE, ("C",), 20.0, "float64", seed=1)
    losses = [
        float(_Tally(TrainingSettings(force_knee_ev_per_ang=knee)).add(module, examples, training=False))
        for knee in (0.0, rms / 10)
    ]
    assert losses[0] / losses[1] == pytest.approx(101)


def test_nuclei_repel_by_the_published_screened_charge():
    """The potential of Ziegler, Biersack and Littmark (1985) times the envelope, beside the network's; then nothing."""
    atoms = [Crystal(30 * np.eye(3), [[0, 0, 0], [distance, 0, 0]], [6, 14]) for distance in (0.5, 1.0, 1.3)]
    energies = []
    for core in (False, True):
        model = fresh_model(("C", "Si"), shape=replace(SHAPE, core_repulsion=core))
        energies.append(AllegroPotential("core", model).compute(Batch.of(atoms)).energies_ev)
    for index, distance in enumerate((0.5, 1.0)):
        reduced = distance * (6**0.23 + 14**0.23) / 0.46850
        terms = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))
        screened = sum(factor * np.exp(-decay * reduced) for factor, decay in terms)
        x = distance / REACH_ANG
        envelope = 1 - 6 * x**2 + 8 * x**3 - 3 * x**4
        expected = 14.399645 * 6 * 14 / distance * screened * envelope
        assert energies[1][index] - energies[0][index] == pytest.approx(expected, rel=1e-3)
    assert energies[1][2] == energies[0][2]


def test_model_file_from_before_the_core_repulsion_is_read(tmp_path):
    model = fresh_model()
    write_model(model, tmp_path / "m.safetensors")
    assert model_digest(read_model(tmp_path / "m.safetensors")) == model_digest(model)
    assert model_digest(fresh_model(shape=replace(SHAPE, core_repulsion=True))) != model_digest(model)


def test_tensor_product_equals_the_packages(rng):
    """Forward and backward, to round-off."""
    irreps = Irreps("0e+1o+2e")
    torch.manual_seed(3)
    package = Contracter(irreps, irreps, irreps, 4).double()
    ours = copy.deepcopy(package)
    ours.__class__ = AtomwiseContracter
    at = torch.from_numpy(rng.integers(0, 5, size=30))
    answers = []
    for product in (package, ours):
        first, second = (torch.from_numpy(values).requires_grad_() for values in inputs(irreps.dim))
        product(first, second, at).square().sum().backward()
        answers.append((product(first, second, at), first.grad, second.grad, product.weights.grad))
    for one, other in zip(*answers, strict=True):
        torch.testing.assert_close(one, other)


def inputs(dim: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(8)
    return rng.normal(size=(30, 4 * dim)), rng.normal(size=(5, 4 * dim))


def test_energy_of_each_element_is_fitted_by_least_squares(labels):
    """Far apart, atoms have no energy but their element's."""
    cell = 20 * np.eye(3)
    crystals = [Crystal(cell, [[0, 0, 0], [9, 9, 9]], numbers) for numbers in ([5, 5], [5, 7], [7, 7])]
    far = [
        Label(c.id, c, "exact", energy_ev=energy, forces_ev_per_ang=np.zeros((2, 3)))
        for c, energy in zip(crystals, (-4.0, -7.0, -10.0), strict=True)
    ]
    model = train(far, model=SHAPE, settings=replace(BRIEF, epochs=1)).model
    assert model.elements == ("B", "N")
    prediction = compute(AllegroPotential("far", model), *crystals)
    assert prediction.energies_ev == pytest.approx([-4.0, -7.0, -10.0])
    assert (prediction.forces_ev_per_ang == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"engine": "other"}, "different engines cannot be mixed"),
        ({"energy_ev": None}, "has no energy or no forces"),
        ({"crystal": Crystal(np.eye(3), np.zeros((2, 3)), [6, 6], id="x")}, "'x': its atoms overlap"),
    ],
)
def test_labels_that_cannot_be_learnt_are_refused(labels, change, message):
    with pytest.raises(InputError, match=message):
        train([labels[0], replace(labels[1], **change)], model=SHAPE, settings=BRIEF)


def test_fine_tuning_on_an_unknown_element_is_refused(labels):
    with pytest.raises(InputError, match="the model knows B, N, not C"):
        train(labels[:1], model=fresh_model(("B", "N")), settings=BRIEF)


def test_training_without_labels_is_refused():
    with pytest.raises(InputError, match="at least one label"):
        train([])


def test_presets_have_the_stated_parameters():
    counts = {
        name: sum(each.numel() for each in fresh_module(shape, ("C",), 60.0, "float32", 0).parameters())
        for name, shape in PRESETS.items()
    }
    print(f"\n{counts}; the publication has 232776")
    assert counts == {"fast": 9_304, "paper": 313_728}


def test_building_a_model_leaves_torch_as_it_was():
    state = torch.random.get_rng_state()
    fresh_model(precision="float64")
    assert torch.get_default_dtype() == torch.float32
    assert torch.equal(torch.random.get_rng_state(), state)


def test_single_precision_agrees_with_double(training, labels):
    batch = Batch.of([label.crystal for label in labels[:4]])
    single = AllegroPotential("single", replace(training.model, precision="float32")).compute(batch)
    double = AllegroPotential("double", training.model).compute(batch)
    for values, others in zip(single, double, strict=True):
        assert values.dtype == np.float64
        np.testing.assert_allclose(values, others, rtol=0, atol=1e-3)


def test_model_file_holds_the_model(training, tmp_path):
    paths = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    for path in paths:
        write_model(training.model, path)
    model = read_model(paths[0])
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert model.card == ModelCard(data="strained diamond")
    assert (model.settings, model.elements) == (SHAPE, ("C",))
    assert model_digest(model) == model_digest(training.model)
    assert load(str(paths[0])).digest == load(str(paths[1])).digest
    assert load(str(paths[0])).digest != AllegroPotential("fresh", fresh_model()).digest


def flipped(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-20], "is damaged or not a .safetensors file"),
        (lambda content: b"", "is damaged or not a .safetensors file"),
        (lambda content: b"a text, not a model", "is damaged or not a .safetensors file"),
        (flipped, "its content does not match its digest"),
        (lambda content: content.replace(b"l_max", b"l_min"), "has unusable settings"),
        (lambda content: re.sub(rb"float64", b"float16", content), "is damaged"),
    ],
)
def test_damaged_model_is_one_clear_error(tmp_path, damage, message):
    path = tmp_path / "model.safetensors"
    write_model(fresh_model(), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=message) as error:
        load(str(path))
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_file_of_another_program_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"weights": np.zeros(3)}, path)
    with pytest.raises(InputError, match="is of another kind"):
        load(str(path))


def test_weights_of_another_shape_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    write_model(replace(fresh_model(), settings=PRESETS["fast"]), path)
    with pytest.raises(InputError, match=r"model\.safetensors: the weights do not fit"):
        load(str(path))


def test_missing_model_file_is_refused():
    with pytest.raises(InputError, match=r"model nowhere\.safetensors does not exist"):
        load("nowhere.safetensors")


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (AllegroSettings, {"layers": 0}, r"\[allegro\] layers: expected a whole number of at least 1, got 0"),
        (AllegroSettings, {"cutoff_ang": -1.0}, r"\[allegro\] cutoff_ang: expected a number above 0, got -1"),
        (AllegroSettings, {"readout_hidden": (256, 128)}, r"\[allegro\] readout_hidden: expected layers of one width"),
        (TrainingSettings, {"averaging": 1.0}, r"\[training\] averaging: expected a number at least 0 and below 1"),
        (TrainingSettings, {"schedule": "steps"}, r"\[training\] schedule: expected cosine or plateau, got 'steps'"),
        (TrainingSettings, {"energy_weight": 0, "force_weight": 0}, "one of them must be above 0"),
        (TrainingSettings, {"learning_rate": float("nan")}, r"\[training\] learning_rate: expected a number above 0"),
    ],
)
def test_settings_refuse_what_cannot_be(kind, values, message):
    with pytest.raises(InputError, match=message):
        kind(**values)


def test_committee_lies_beside_its_model_in_order(training, tmp_path):
    file = tmp_path / "mine.safetensors"
    other = replace(training.model, weights={name: 2 * array for name, array in training.model.weights.items()})
    paths = write_committee(file, (training.model, other))
    assert [path.name for path in paths] == ["mine-committee-0.safetensors", "mine-committee-1.safetensors"]
    assert [model_digest(each) for each in read_committee(file)] == [model_digest(training.model), model_digest(other)]
    assert read_committee(tmp_path / "alone.safetensors") == ()


def test_committee_with_a_gap_is_refused(training, tmp_path):
    file = tmp_path / "mine.safetensors"
    write_committee(file, (training.model,) * 3)[1].unlink()
    with pytest.raises(InputError, match=r"mine-committee-1.safetensors is missing"):
        read_committee(file)

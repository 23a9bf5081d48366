"""Fit an Allegro model to labelled crystals; a killed training goes on where its last whole epoch ended."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from ase.data import atomic_numbers
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.potentials.allegro_model import (
    AllegroModel,
    Graph,
    ModelCard,
    add_to_energy_shifts,
    energies_and_forces,
    fresh_module,
    graphs_of,
    load_weights,
    set_energy_scale,
    weights_of,
)
from kappaforge.potentials.allegro_settings import AllegroSettings, TrainingSettings
from kappaforge.potentials.base import Batch
from kappaforge.potentials.model_file import model_digest
from kappaforge.training_state import growing_average, read_checkpoint, write_checkpoint


class Labelled(Protocol):
    """What training needs of a label; `kappaforge.label.base.Label` has it."""

    @property
    def crystal(self) -> Crystal:
        """As it was labelled."""

    @property
    def engine(self) -> str:
        """Fingerprint of the engine; labels of several engines are refused."""

    @property
    def energy_ev(self) -> float | None:
        """Energy of the cell, eV."""

    @property
    def forces_ev_per_ang(self) -> np.ndarray | None:
        """Shape (n_atoms, 3), eV/Å."""


@dataclass(frozen=True)
class EpochErrors:
    """Errors after an epoch; NaN for the validation set where there is none.

    On the training set they are collected while its weights change; on the validation set they are those of the
    averaged weights at the end of the epoch.
    """

    epoch: int
    energy_mae_mev_per_atom: float
    force_rmse_mev_per_ang: float
    validation_energy_mae_mev_per_atom: float
    validation_force_rmse_mev_per_ang: float


@dataclass(frozen=True)
class Training:
    """A trained model and the errors on the way.

    Parameters
    ----------
    model
        Of the epoch with the lowest validation loss; without a validation set, of the last epoch.
    epoch
        The model's epoch.
    log
        One row per epoch.
    """

    model: AllegroModel
    epoch: int
    log: tuple[EpochErrors, ...]


class _Example(NamedTuple):
    graph: Graph
    energy_ev: float
    forces_ev_per_ang: torch.Tensor


def train(
    labels: Sequence[Labelled],
    validation: Sequence[Labelled] = (),
    *,
    model: AllegroSettings | AllegroModel | None = None,
    settings: TrainingSettings | None = None,
    seed: int = 0,
    card: ModelCard | None = None,
    checkpoint: Path | None = None,
    on_epoch: Callable[[EpochErrors], None] | None = None,
) -> Training:
    """Fit a model to energies and forces.

    The same labels, settings and seed give the same weights to the last bit, on one machine with one number of
    threads, whether or not the training was killed on the way.

    Parameters
    ----------
    labels
        The training set; every label has energy and forces, all of one engine.
    validation
        Decides which epoch's weights are kept, and the schedule ``plateau``.
    model
        The shape of a new model, whose energies are scaled by the forces' root mean square; or a trained model to go
        on from, which keeps its shape, scale and elements. The energies of both are shifted per element by least
        squares, so that the model to go on from may have learnt from an engine with another zero.
    settings
        Of the training; the defaults where None.
    seed
        Of the new weights and of the order of the crystals.
    card
        Written into the model; that of the model to go on from where None.
    checkpoint
        File that is replaced after every epoch; where it exists the training goes on from it.
    on_epoch
        Called with the errors of each epoch as it ends.

    Raises
    ------
    InputError
        For no labels, labels without energy or forces or of several engines, an element that the model to go on from
        does not know, or a checkpoint that is damaged or of another training.
    """
    settings = settings or TrainingSettings()
    _require_usable([*labels, *validation], len(labels))
    start, shape = (model, model.settings) if isinstance(model, AllegroModel) else (None, model or AllegroSettings())
    elements = start.elements if start else _elements(labels)
    examples, held_out = (_examples(each, elements, shape.cutoff_ang) for each in (labels, validation))
    neighbours = start.mean_neighbours if start else _mean_neighbours(examples)
    module = fresh_module(shape, elements, neighbours, settings.precision, seed)
    if start:
        load_weights(module, start.weights)
    else:
        set_energy_scale(module, _force_scale(examples))
    add_to_energy_shifts(module, _energy_shifts(module, examples, len(elements)))

    state = _State(module, settings)
    identity = _identity(labels, validation, start or shape, settings, seed)
    if checkpoint and checkpoint.exists():
        state.restore(checkpoint, identity)
    while len(state.log) < settings.epochs:
        errors = state.run_epoch(examples, held_out, seed)
        if checkpoint:
            state.save(checkpoint, identity)
        if on_epoch:
            on_epoch(errors)

    weights = {name: tensor.numpy() for name, tensor in state.best_weights.items()}
    card = card or (start.card if start else ModelCard())
    trained = AllegroModel(shape, elements, neighbours, settings.precision, weights, card)
    return Training(trained, state.best_epoch, tuple(state.log))


class _State:
    """Everything that changes from epoch to epoch."""

    def __init__(self, module: torch.nn.Module, settings: TrainingSettings) -> None:
        self.module = module
        self.settings = settings
        self.averaged = AveragedModel(module, multi_avg_fn=growing_average(settings.averaging))
        self.optimiser = torch.optim.Adam(module.parameters(), lr=settings.learning_rate)
        self.schedule: CosineAnnealingLR | ReduceLROnPlateau
        if settings.schedule == "cosine":
            self.schedule = CosineAnnealingLR(self.optimiser, settings.epochs)
        else:
            self.schedule = ReduceLROnPlateau(self.optimiser, factor=0.5, patience=settings.patience)
        self.log: list[EpochErrors] = []
        self.best_loss = math.inf
        self.best_epoch = 0
        self.best_weights: dict[str, torch.Tensor] = {}

    def run_epoch(self, examples: Sequence[_Example], held_out: Sequence[_Example], seed: int) -> EpochErrors:
        epoch = len(self.log) + 1
        order = np.random.default_rng([seed, epoch]).permutation(len(examples))
        step = self.settings.batch_size
        tally = _Tally(self.settings)
        for at in range(0, len(order), step):
            loss = tally.add(self.module, [examples[index] for index in order[at : at + step]], training=True)
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            self.averaged.update_parameters(self.module)
        validated = _Tally(self.settings)
        for at in range(0, len(held_out), step):
            validated.add(self.averaged.module, held_out[at : at + step], training=False)

        loss_now = (validated if held_out else tally).loss
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(loss_now)
        else:
            self.schedule.step()
        if not held_out or loss_now < self.best_loss or not self.best_weights:
            self.best_loss, self.best_epoch = loss_now, epoch
            weights = weights_of(self.averaged.module)
            self.best_weights = {name: torch.from_numpy(array) for name, array in weights.items()}
        errors = EpochErrors(epoch, *tally.errors, *validated.errors)
        self.log.append(errors)
        return errors

    def save(self, path: Path, identity: str) -> None:
        content = {
            "module": self.module.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "best": (self.best_loss, self.best_epoch, self.best_weights),
            "log": [tuple(asdict(errors).values()) for errors in self.log],
        }
        write_checkpoint(path, identity, content)

    def restore(self, path: Path, identity: str) -> None:
        content = read_checkpoint(path, identity, "labels")
        self.module.load_state_dict(content["module"])
        self.averaged.load_state_dict(content["averaged"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.schedule.load_state_dict(content["schedule"])
        self.best_loss, self.best_epoch, self.best_weights = content["best"]
        self.log = [EpochErrors(*row) for row in content["log"]]


class _Tally:
    """Errors summed over the batches of a pass."""

    def __init__(self, settings: TrainingSettings) -> None:
        self.settings = settings
        self.crystals = self.components = 0
        self.energy_absolute = self.force_square = self.weighted_energy = self.weighted_force = 0.0

    def add(self, module: torch.nn.Module, examples: Sequence[_Example], *, training: bool) -> torch.Tensor:
        """Count a batch's errors and return its loss."""
        graph = Graph.joined([example.graph for example in examples])
        energies, forces, _ = energies_and_forces(module, graph, training=training)
        atoms = torch.bincount(graph.of_atom, minlength=graph.n_crystals)
        expected = torch.tensor([example.energy_ev for example in examples], dtype=torch.float64)
        energy_errors = (energies - expected) / atoms
        expected_forces = torch.cat([example.forces_ev_per_ang for example in examples])
        force_errors = forces - expected_forces
        weights = self._weights(graph, expected_forces)
        energy_squares = energy_errors.square() * weights
        force_squares = force_errors.square() * weights[graph.of_atom, None]
        self.crystals += graph.n_crystals
        self.components += force_errors.numel()
        self.energy_absolute += float(energy_errors.detach().abs().sum())
        self.force_square += float(force_errors.detach().square().sum())
        self.weighted_energy += float(energy_squares.detach().sum())
        self.weighted_force += float(force_squares.detach().sum())
        return self._loss(energy_squares.mean(), force_squares.mean())

    @property
    def loss(self) -> float:
        return self._loss(self.weighted_energy / self.crystals, self.weighted_force / self.components)

    @property
    def errors(self) -> tuple[float, float]:
        """Mean absolute error of the energies, meV/atom, and root mean square error of the forces, meV/Å."""
        if not self.crystals:
            return math.nan, math.nan
        return 1e3 * self.energy_absolute / self.crystals, 1e3 * math.sqrt(self.force_square / self.components)

    def _weights(self, graph: Graph, forces: torch.Tensor) -> torch.Tensor:
        knee = self.settings.force_knee_ev_per_ang
        if not knee:
            return forces.new_ones(graph.n_crystals)
        sums = forces.new_zeros(graph.n_crystals).index_add(0, graph.of_atom, forces.square().mean(dim=1))
        return 1 / (1 + sums / torch.bincount(graph.of_atom, minlength=graph.n_crystals) / knee**2)

    def _loss(self, energy: Any, force: Any) -> Any:
        return self.settings.energy_weight * energy + self.settings.force_weight * force


def _require_usable(labels: Sequence[Labelled], n_training: int) -> None:
    if not n_training:
        raise InputError("training needs at least one label")
    for label in labels:
        if label.energy_ev is None or label.forces_ev_per_ang is None:
            raise InputError(f"label {label.crystal.id!r} has no energy or no forces: train on labels with status ok")
    engines = sorted({label.engine for label in labels})
    if len(engines) > 1:
        raise InputError(f"labels of different engines cannot be mixed: {engines[0]!r} and {engines[1]!r}")


def _elements(labels: Sequence[Labelled]) -> tuple[str, ...]:
    return tuple(sorted(set().union(*(label.crystal.elements for label in labels)), key=atomic_numbers.__getitem__))


def _examples(labels: Sequence[Labelled], elements: Sequence[str], cutoff_ang: float) -> list[_Example]:
    examples = []
    for label in labels:
        if unknown := sorted(label.crystal.elements - set(elements)):
            raise InputError(f"label {label.crystal.id!r}: the model knows {', '.join(elements)}, not {unknown[0]}")
        (graph,) = graphs_of(Batch.of([label.crystal]), elements, cutoff_ang)
        if graph is None:
            raise InputError(f"label {label.crystal.id!r}: its atoms overlap; take it out of the training")
        forces = torch.from_numpy(np.array(label.forces_ev_per_ang, dtype=np.float64))
        examples.append(_Example(graph, float(label.energy_ev or 0.0), forces))
    return examples


def _mean_neighbours(examples: Sequence[_Example]) -> float:
    edges = sum(len(example.graph.first) for example in examples)
    return max(1.0, edges / sum(len(example.graph.types) for example in examples))


def _force_scale(examples: Sequence[_Example]) -> float:
    """Return the root mean square of the force components in eV/Å, which is the scale of the edge energies in eV."""
    forces = torch.cat([example.forces_ev_per_ang for example in examples])
    return float(forces.square().mean().sqrt()) or 1.0


def _energy_shifts(module: torch.nn.Module, examples: Sequence[_Example], n_elements: int) -> np.ndarray:
    """Return the energy per atom of each element that the module lacks, by least squares, in eV."""
    shares, lacking = [], []
    for example in examples:
        share = np.bincount(example.graph.types.numpy(), minlength=n_elements) / len(example.graph.types)
        energy = energies_and_forces(module, example.graph)[0].item()
        shares.append(share)
        lacking.append((example.energy_ev - energy) / len(example.graph.types))
    return np.linalg.lstsq(np.array(shares), np.array(lacking), rcond=None)[0]


def _identity(
    labels: Sequence[Labelled],
    validation: Sequence[Labelled],
    start: AllegroSettings | AllegroModel,
    settings: TrainingSettings,
    seed: int,
) -> str:
    origin = model_digest(start) if isinstance(start, AllegroModel) else repr(start)
    content = hashlib.sha256(f"{origin} {settings} {seed} {len(labels)}".encode())
    for label in [*labels, *validation]:
        content.update(f"{label.crystal.digest} {label.engine} {label.energy_ev}".encode())
        content.update(np.asarray(label.forces_ev_per_ang, dtype="<f8").tobytes())
    return content.hexdigest()

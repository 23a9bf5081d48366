"""Fit a generator's network; a killed training goes on where its last whole epoch ended."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel

from kappaforge.errors import InputError
from kappaforge.training_state import growing_average, read_checkpoint, write_checkpoint

SCHEDULES = ("cosine", "plateau", "constant")


@dataclass(frozen=True)
class TrainingSettings:
    """How a generator's network is fitted, by Adam.

    Parameters
    ----------
    epochs
        Passes over the crystals.
    batch_size
        Crystals in a step, at most.
    learning_rate
        At the start.
    schedule
        ``cosine`` falls to a hundredth over the epochs; ``plateau`` multiplies by 0.6 after 30 epochs without a lower
        loss, down to a tenth, as CDVAE's does; ``constant``.
    averaging
        Decay of the exponential moving average of the weights, which is what is kept; 0 keeps the last weights.
    clip
        Largest norm of the gradient; 0 for any.
    device
        Where torch computes: ``cpu``, or a GPU such as ``cuda``. Under ``torchrun`` each process takes its share of
        every epoch's batches, on the GPU of its number.
    """

    epochs: int = 200
    batch_size: int = 32
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    averaging: float = 0.999
    clip: float = 1.0
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"[generator.training] {name}: expected 1 or more, got {getattr(self, name)}")
        if self.schedule not in SCHEDULES:
            raise InputError(f"[generator.training] schedule: expected {' or '.join(SCHEDULES)}, got {self.schedule!r}")
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"[generator.training] learning_rate: expected above 0, got {self.learning_rate}")
        if not 0 <= self.averaging < 1:
            raise InputError(f"[generator.training] averaging: expected from 0 to below 1, got {self.averaging}")
        if not 0 <= self.clip < math.inf:
            raise InputError(f"[generator.training] clip: expected 0 or more, got {self.clip}")
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise InputError("[generator.training] device: torch finds no GPU here; use cpu")


@dataclass(frozen=True)
class EpochLosses:
    """Mean losses of an epoch by name; ``loss`` is what is minimised."""

    epoch: int
    losses: dict[str, float] = field(default_factory=dict)
    validation: dict[str, float] = field(default_factory=dict)


def losses_text(log: Iterable[EpochLosses]) -> str:
    """Return all losses of a training as JSON, lists by name, for the card of a generator."""
    parts: dict[str, dict[str, list[float]]] = {"training": {}, "validation": {}}
    for row in log:
        for part, losses in zip(parts.values(), (row.losses, row.validation), strict=True):
            for name, value in losses.items():
                part.setdefault(name, []).append(float(f"{value:.5g}"))
    return json.dumps(parts)


Losses = Callable[[Any, torch.Generator], dict[str, torch.Tensor]]
"""Of a batch, with what is random in it drawn from the generator: named losses, the one to minimise being ``loss``."""

Batches = Callable[[torch.Generator], Iterable[Any]]
"""The batches of an epoch, in an order drawn from the generator."""


def train(
    network: torch.nn.Module,
    losses: Losses,
    batches: Batches,
    validation: Batches | None = None,
    *,
    settings: TrainingSettings,
    seed: int,
    identity: str,
    checkpoint: Path | None = None,
    on_epoch: Callable[[EpochLosses], None] | None = None,
) -> list[EpochLosses]:
    """Fit a network in place and return the losses of all epochs.

    The same batches, settings and seed give the same weights to the last bit, on one machine with one number of
    threads, whether or not the training was killed on the way. Under ``torchrun`` the processes share the batches and
    average their gradients.

    Parameters
    ----------
    network
        To be fitted; afterwards it holds the averaged weights, on the CPU.
    losses, batches
        See `Losses` and `Batches`.
    validation
        Batches whose losses decide the schedule ``plateau``, with the averaged weights.
    settings, seed
        Of the training.
    identity
        Of the data and the network: another one's checkpoint is refused.
    checkpoint
        File that is replaced after every epoch; where it exists the training goes on from it.
    on_epoch
        Called as each epoch ends, and at the start for those of the checkpoint.

    Raises
    ------
    InputError
        For a checkpoint that is damaged or of another training; for losses that are not finite.
    """
    named = hashlib.sha256(f"{identity} {settings} {seed}".encode()).hexdigest()
    device = _join(settings.device)
    run = _Run(network.to(device), settings)
    if checkpoint is not None and checkpoint.exists():
        run.restore(checkpoint, named)
        if on_epoch:
            for row in run.log:
                on_epoch(row)
    for epoch in range(len(run.log) + 1, settings.epochs + 1):
        # every epoch draws from its own generator, so that none depends on where the last one ended
        rng = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        run.epoch(epoch, losses, batches, validation, rng)
        if checkpoint is not None and _is_first():
            run.save(checkpoint, named)
        if on_epoch:
            on_epoch(run.log[-1])
    if settings.averaging:
        network.load_state_dict(run.averaged.module.state_dict())
    network.cpu()
    return run.log


class _Run:
    """All that a checkpoint holds."""

    def __init__(self, network: torch.nn.Module, settings: TrainingSettings) -> None:
        self.network = network
        self.settings = settings
        self.averaged = AveragedModel(network, multi_avg_fn=growing_average(settings.averaging))
        self.optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, fused=True)
        self.schedule = _schedule(self.optimiser, settings)
        self.log: list[EpochLosses] = []

    def epoch(
        self, epoch: int, losses: Losses, batches: Batches, validation: Batches | None, rng: torch.Generator
    ) -> None:
        self.network.train()
        sums: dict[str, float] = {}
        n_batches = 0
        for batch in _share(batches(rng)):
            parts = losses(batch, rng)
            value = float(parts["loss"].detach())
            if not math.isfinite(value):
                raise InputError(
                    f"the loss is {value} in epoch {epoch}: lower the learning rate, or look for crystals that are not "
                    "physical in the data"
                )
            self.optimiser.zero_grad(set_to_none=True)
            parts["loss"].backward()
            _average_gradients(self.network)
            if self.settings.clip:
                torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip)
            self.optimiser.step()
            self.averaged.update_parameters(self.network)
            _add(sums, parts)
            n_batches += 1
        found = {name: total / n_batches for name, total in sums.items()}
        checked = self._validated(losses, validation, rng) if validation else {}
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(checked.get("loss", found["loss"]))
        elif self.schedule:
            self.schedule.step()
        self.log.append(EpochLosses(epoch, found, checked))

    @torch.no_grad()
    def _validated(self, losses: Losses, validation: Batches, rng: torch.Generator) -> dict[str, float]:
        """Return the losses with the averaged weights, which the network holds for that time."""
        own = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        if self.settings.averaging:
            self.network.load_state_dict(self.averaged.module.state_dict())
        self.network.eval()
        sums: dict[str, float] = {}
        n_batches = 0
        for batch in validation(rng):
            _add(sums, losses(batch, rng))
            n_batches += 1
        self.network.load_state_dict(own)
        return {name: total / n_batches for name, total in sums.items()}

    def save(self, path: Path, identity: str) -> None:
        content = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict() if self.schedule else {},
            "log": [(row.epoch, row.losses, row.validation) for row in self.log],
        }
        write_checkpoint(path, identity, content)

    def restore(self, path: Path, identity: str) -> None:
        content = read_checkpoint(path, identity, "crystals")
        self.network.load_state_dict(content["network"])
        self.averaged.load_state_dict(content["averaged"])
        self.optimiser.load_state_dict(content["optimiser"])
        if self.schedule:
            self.schedule.load_state_dict(content["schedule"])
        self.log = [EpochLosses(*row) for row in content["log"]]


def _schedule(optimiser: torch.optim.Optimizer, settings: TrainingSettings) -> Any:
    lowest = settings.learning_rate / 10
    if settings.schedule == "cosine":
        return CosineAnnealingLR(optimiser, settings.epochs, eta_min=lowest / 10)
    if settings.schedule == "plateau":
        return ReduceLROnPlateau(optimiser, factor=0.6, patience=30, min_lr=lowest)
    return None


def _add(sums: dict[str, float], parts: dict[str, torch.Tensor]) -> None:
    for name, part in parts.items():
        sums[name] = sums.get(name, 0.0) + float(part.detach())


def _join(device: str) -> torch.device:
    """Join the processes of ``torchrun``, where it started this one, and return where this one computes."""
    if "RANK" in os.environ and not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    own = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device
    return torch.device(own)


def _share(batches: Iterable[Any]) -> Iterable[Any]:
    """Return this process's part of the batches, as many as each other process's."""
    if not distributed.is_initialized():
        return batches
    all_batches = list(batches)
    each = max(1, len(all_batches) // distributed.get_world_size())
    first = distributed.get_rank() * each % len(all_batches)
    return all_batches[first : first + each]


def _is_first() -> bool:
    return not distributed.is_initialized() or distributed.get_rank() == 0


def _average_gradients(network: torch.nn.Module) -> None:
    if not distributed.is_initialized():
        return
    for parameter in network.parameters():
        # a part of the network that this process's batch did not use counts with zero
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        distributed.all_reduce(gradient)
        parameter.grad = gradient / distributed.get_world_size()

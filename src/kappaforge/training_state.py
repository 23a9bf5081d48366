"""What trainings of all networks share: checkpoints, and the average of the weights."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from kappaforge.errors import InputError
from kappaforge.files import replacing


def write_checkpoint(path: Path, identity: str, content: Mapping[str, Any]) -> None:
    """Replace a checkpoint, atomically; `identity` names the training that it is of."""
    with replacing(path) as temporary:
        torch.save({"identity": identity, **content}, temporary)


def read_checkpoint(path: Path, identity: str, what: str) -> dict[str, Any]:
    """Read what `write_checkpoint` wrote, running no code of it.

    Raises
    ------
    InputError
        For a damaged file, or the checkpoint of another training, which `what` says may differ in.
    """
    try:
        content: dict[str, Any] = torch.load(io.BytesIO(path.read_bytes()), weights_only=True)
        found = content["identity"]
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, pickle.UnpicklingError) as error:
        first = str(error).partition("\n")[0]
        raise InputError(f"checkpoint {path} is damaged ({first}); delete it to train from the start") from None
    if found != identity:
        raise InputError(
            f"checkpoint {path} is of a training with other {what}, settings or seed; delete it, or give another file"
        )
    return content


def growing_average(decay: float) -> Callable[[Any, Any, Any], None]:
    """Return torch's exponential moving average, but with a decay that grows from step to step up to its value.

    torch's own keeps it, so that an average over 100 steps remembers the random start of a short training.
    """

    @torch.no_grad()
    def average(averaged: list[torch.Tensor], current: list[torch.Tensor], steps: torch.Tensor) -> None:
        step = int(steps)
        torch._foreach_lerp_(averaged, current, 1 - min(decay, step / (10 + step)))

    return average

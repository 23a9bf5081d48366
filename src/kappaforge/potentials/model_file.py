"""Models in files that run no code when they are read: safetensors with JSON beside the weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from kappaforge.errors import InputError
from kappaforge.files import replacing
from kappaforge.potentials.allegro_model import AllegroModel, ModelCard
from kappaforge.potentials.allegro_settings import PRECISIONS, AllegroSettings

FORMAT = "kappaforge-allegro-1"


def write_model(model: AllegroModel, path: Path) -> None:
    """Write a model to one ``.safetensors`` file; atomic, and equal models make equal files."""
    about = {
        "settings": asdict(model.settings),
        "elements": model.elements,
        "mean_neighbours": model.mean_neighbours,
        "precision": model.precision,
        "card": asdict(model.card),
        "digest": model_digest(model),
    }
    # One entry, sorted inside: the library writes several in an order that changes from process to process.
    with replacing(path) as temporary:
        save_file(model.weights, temporary, metadata={FORMAT: json.dumps(about, sort_keys=True)})


def read_model(path: Path) -> AllegroModel:
    """Read what `write_model` wrote.

    Raises
    ------
    InputError
        For a file that does not exist, is of another kind, was damaged, or whose settings cannot be used.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is not a dict)
    except FileNotFoundError:
        raise InputError(f"model {path} does not exist") from None
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(f"model {path} is damaged or not a .safetensors file: {error}") from None
    if FORMAT not in metadata:
        raise InputError(f"model {path} was not written by kappaforge: expected metadata {FORMAT!r}")
    try:
        about = json.loads(metadata[FORMAT])
        model = AllegroModel(
            AllegroSettings(**about["settings"]),
            tuple(about["elements"]),
            float(about["mean_neighbours"]),
            about["precision"],
            weights,
            ModelCard(**about["card"]),
        )
        intact = about["digest"] == model_digest(model) and model.precision in PRECISIONS
    except (ValueError, KeyError, TypeError, InputError) as error:
        raise InputError(f"model {path} has unusable settings: {error}") from None
    if not intact:
        raise InputError(f"model {path} is damaged: its content does not match its digest; copy it again")
    return model


def model_digest(model: AllegroModel) -> str:
    """SHA-256 (hex) of everything that decides a model's numbers; the card is not part of it."""
    settings = asdict(model.settings)
    if not settings["core_repulsion"]:
        del settings["core_repulsion"]  # as in the files from before it existed
    shape = (settings, model.elements, model.mean_neighbours, model.precision)
    content = hashlib.sha256(json.dumps(shape, sort_keys=True).encode())
    for name, array in sorted(model.weights.items()):
        content.update(f"{name} {array.dtype.str} {array.shape}".encode())
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()

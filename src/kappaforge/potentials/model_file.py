"""Allegro models in files; see `kappaforge.weights`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from kappaforge.errors import InputError
from kappaforge.potentials.allegro_model import AllegroModel, ModelCard
from kappaforge.potentials.allegro_settings import PRECISIONS, AllegroSettings
from kappaforge.weights import read_weights, weights_digest, write_weights

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
    write_weights(path, FORMAT, about, model.weights)


def read_model(path: Path) -> AllegroModel:
    """Read what `write_model` wrote.

    Raises
    ------
    InputError
        For a file that does not exist, is of another kind, was damaged, or whose settings cannot be used.
    """
    about, weights = read_weights(path, FORMAT)
    try:
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
    return weights_digest(shape, model.weights)

"""Trained models in files that run no code when they are read: safetensors with JSON beside the weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from kappaforge.errors import InputError
from kappaforge.files import replacing


def write_weights(path: Path, format: str, about: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> None:
    """Write arrays and what JSON says of them to one file; atomic, and equal contents make equal files."""
    # One entry, sorted inside: the library writes several in an order that changes from process to process.
    with replacing(path) as temporary:
        save_file(dict(weights), temporary, metadata={format: json.dumps(about, sort_keys=True)})


def read_weights(path: Path, format: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what `write_weights` wrote in that format.

    Raises
    ------
    InputError
        For a file that does not exist, is damaged, or is of another kind.
    """
    with _opened(path) as file:
        metadata = file.metadata() or {}
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is not a dict)
    if format not in metadata:
        found = ", ".join(metadata) or "none"
        raise InputError(f"model {path} is of another kind: expected metadata {format!r}, got {found}")
    try:
        about = json.loads(metadata[format])
    except ValueError as error:
        raise InputError(f"model {path} has unusable settings: {error}") from None
    return about, weights


def formats_of(path: Path) -> tuple[str, ...]:
    """Return the formats that a file says it has; raises `InputError` as `read_weights` does."""
    with _opened(path) as file:
        return tuple(file.metadata() or ())


def about_of(path: Path) -> dict[str, Any]:
    """Return what JSON says beside the weights, without reading them; raises `InputError` as `read_weights` does."""
    with _opened(path) as file:
        metadata = file.metadata() or {}
    try:
        about: dict[str, Any] = json.loads(next(iter(metadata.values()), "{}"))
    except ValueError as error:
        raise InputError(f"model {path} has unusable settings: {error}") from None
    return about


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"model {path} does not exist") from None
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(f"model {path} is damaged or not a .safetensors file: {error}") from None


def weights_digest(about: Any, weights: Mapping[str, np.ndarray]) -> str:
    """SHA-256 (hex) of something that JSON can hold, and of arrays by their names."""
    content = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, array in sorted(weights.items()):
        content.update(f"{name} {array.dtype.str} {array.shape}".encode())
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()

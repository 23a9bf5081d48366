"""Generators by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from kappaforge.errors import InputError, suggestion
from kappaforge.generate.base import Generator
from kappaforge.generate.settings import GenerateSettings

_PLAIN = {"random": "kappaforge.generate.random_symmetric:RandomSymmetric"}
"""Where each generator that needs no training lives; it is called with the settings, and imported only then."""

LEARNED = {
    "flow": "kappaforge.generate.flow.generator:Flow",
    "cdvae": "kappaforge.generate.cdvae.generator:Cdvae",
}
"""Where each kind of trained generator lives."""

_MODELS = Path(__file__).parent / "models"
"""Folder of the trained generators that come with the package; the part of a name before the first - is its kind."""


def available() -> tuple[str, ...]:
    """Return the registered names; beyond them `load` takes files of trained generators."""
    return (*sorted(path.stem for path in _MODELS.glob("*.safetensors")), *_PLAIN)


def shipped_file(name: str) -> Path | None:
    """Return the file of a trained generator that comes with the package; None for others."""
    path = _MODELS / f"{name}.safetensors"
    return path if path.exists() else None


def kind(name: str) -> Any:
    """Return the class of a kind of trained generators; raises `InputError` for an unknown name."""
    if name not in LEARNED:
        raise InputError(f"unknown model {name!r}{suggestion(name, LEARNED)}: expected {' or '.join(LEARNED)}")
    return _imported(LEARNED[name])


def load(name: str, settings: GenerateSettings | None = None) -> Generator:
    """Return the generator of that name, with the default settings where none are given.

    Parameters
    ----------
    name
        One of `available`, or the path of a trained generator, ending in ``.safetensors``.
    settings
        What to generate.

    Raises
    ------
    InputError
        For an unknown name, a file that is missing or damaged, or settings the generator cannot follow.
    """
    settings = settings or GenerateSettings()
    if name in _PLAIN:
        generator: Generator = _imported(_PLAIN[name])(settings)
        return generator
    if name.endswith(".safetensors"):
        return _read(Path(name), settings)
    if name not in available():
        raise InputError(
            f"[generate] generator: unknown {name!r}{suggestion(name, available())}; a trained one works as the "
            "path of its .safetensors file"
        )
    return _read(_MODELS / f"{name}.safetensors", settings)


def _read(path: Path, settings: GenerateSettings) -> Generator:
    from kappaforge.weights import formats_of

    for where in LEARNED.values():
        module = import_module(where.partition(":")[0])
        if module.FORMAT in formats_of(path):
            return _loaded(_imported(where).load, path, settings)
    raise InputError(f"model {path} is no trained generator")


@cache
def _loaded(loader: Callable[[Path, GenerateSettings], Generator], path: Path, settings: GenerateSettings) -> Generator:
    return loader(path, settings)


def _imported(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)

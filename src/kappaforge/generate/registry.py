"""Generators by name."""

from __future__ import annotations

from importlib import import_module

from kappaforge.errors import InputError, suggestion
from kappaforge.generate.base import Generator
from kappaforge.generate.settings import GenerateSettings

GENERATORS = {
    "random": "kappaforge.generate.random_symmetric:RandomSymmetric",
}
"""Where each generator lives; it is called with the settings, and imported only then."""


def load(name: str, settings: GenerateSettings | None = None) -> Generator:
    """Return the generator of that name, with the default settings where none are given.

    Raises
    ------
    InputError
        For an unknown name, or settings the generator cannot follow.
    """
    if name not in GENERATORS:
        raise InputError(f"[generate] generator: unknown {name!r}{suggestion(name, GENERATORS)}")
    module, _, factory = GENERATORS[name].partition(":")
    generator: Generator = getattr(import_module(module), factory)(settings or GenerateSettings())
    return generator

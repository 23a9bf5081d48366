"""Packages that are functions too: ``kappaforge.generate(10)`` beside ``kappaforge.generate.registry``."""

from __future__ import annotations

import inspect
import sys
from types import ModuleType
from typing import Any


class CallablePackage(ModuleType):
    """A package whose call is that of the function of its name in `kappaforge.api`."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call the function of `kappaforge.api` that has this package's name."""
        return self._function(*arguments, **options)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function)

    @property
    def _function(self) -> Any:
        from kappaforge import api  # it imports the packages

        return getattr(api, self.__name__.rpartition(".")[2])


def make_callable(package: str) -> None:
    """Let a package be called; what it holds stays as it is."""
    sys.modules[package].__class__ = CallablePackage

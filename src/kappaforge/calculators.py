"""ASE calculators by import path, ``ase:module.path:factory``, for potentials and labelers alike."""

from __future__ import annotations

import hashlib
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ase.calculators.calculator import BaseCalculator, Calculator
from ase.io.jsonio import encode

from kappaforge.errors import InputError

PREFIX = "ase:"
"""What a name of this kind begins with."""


def build_calculator(name: str, *, role: str, needed: tuple[str, ...]) -> BaseCalculator:
    """Call the factory and return its calculator, a new one each time.

    Parameters
    ----------
    name
        ``ase:module.path:factory``, where ``factory()`` returns an ASE calculator.
    role
        What it is wanted as, for messages.
    needed
        Properties it must implement, in ASE's names.

    Raises
    ------
    InputError
        Where the name is malformed, the import or the call fails, or what comes back is not such a calculator.
    """
    who = f"{role} {name!r}"
    module_name, separator, factory_name = name.removeprefix(PREFIX).partition(":")
    if not (module_name and separator and factory_name):
        raise InputError(f"{who}: expected 'ase:module.path:factory', such as ase:ase.calculators.emt:EMT")
    try:
        factory = getattr(import_module(module_name), factory_name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{who}: cannot import it ({error})") from error
    try:
        calculator = factory()
    except Exception as error:
        raise InputError(
            f"{who}: calling {factory_name}() without arguments failed "
            f"({type(error).__name__}: {error}); give a function that builds the calculator"
        ) from error
    if not isinstance(calculator, BaseCalculator):
        raise InputError(f"{who}: expected an ASE calculator, got {type(calculator).__name__}")
    if missing := [which for which in needed if which not in calculator.implemented_properties]:
        raise InputError(f"{who}: the calculator does not implement {', '.join(missing)}")
    return calculator


def identity(name: str, calculator: BaseCalculator) -> str:
    """Return in words what decides the numbers of a calculator from `build_calculator`.

    These are the name, the calculator's class and parameters, the versions of ASE and of the packages that hold class
    and factory, and the content of the factory's file. Weights the factory reads from elsewhere are not seen: change
    the factory's name when they change.
    """
    kind = type(calculator)
    module = sys.modules[name.removeprefix(PREFIX).partition(":")[0]]
    packages = sorted({"ase", kind.__module__.split(".")[0], module.__name__.split(".")[0]})
    words = [name, f"{kind.__module__}.{kind.__qualname__} {_parameters(calculator)}".strip()]
    words += [f"{package} {_version(package)}".strip() for package in packages]
    if module.__file__:
        words.append(f"file {hashlib.sha256(Path(module.__file__).read_bytes()).hexdigest()[:16]}")
    return ", ".join(words)


def _parameters(calculator: BaseCalculator) -> str:
    try:
        # Newer calculators, those that work through files, do not put their parameters into todict.
        return encode(calculator.todict() if isinstance(calculator, Calculator) else calculator.parameters)
    except TypeError:  # objects whose text may hold an address, which changes from process to process
        return ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""

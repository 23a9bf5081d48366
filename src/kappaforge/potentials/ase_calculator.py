"""Any ASE calculator as a potential."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols
from ase.io.jsonio import encode

from kappaforge.errors import InputError
from kappaforge.potentials.base import Batch, Prediction, require_elements

NEEDED = ("energy", "forces", "stress")
"""Properties a calculator must implement, in ASE's names, units and signs."""


@dataclass(frozen=True, eq=False)
class AsePotential:
    """An ASE calculator behind the batched interface, one crystal after the other.

    Parameters
    ----------
    name
        The registry's name.
    calculator
        Gives energy, forces and stress; it is reused for all crystals.
    digest
        Hash of what decides its numbers.
    elements
        Symbols it knows; None where only the calculator can tell.
    """

    name: str
    calculator: Calculator
    digest: str
    elements: frozenset[str] | None = None

    def compute(self, batch: Batch) -> Prediction:
        """Return energies, forces and stresses; see `kappaforge.potentials.base.Potential`."""
        require_elements(self, frozenset(chemical_symbols[number] for number in np.unique(batch.numbers)))
        prediction = Prediction.nan_for(batch)
        for index, rows in enumerate(batch.slices):
            if not (np.isfinite(batch.cells[index]).all() and np.isfinite(batch.positions[rows]).all()):
                continue  # some neighbour lists never end on these
            atoms = Atoms(batch.numbers[rows], batch.positions[rows], cell=batch.cells[index], pbc=True)
            atoms.calc = self.calculator
            try:
                with np.errstate(all="ignore"):
                    answer = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(voigt=False)
            except Exception:  # whatever a calculator raises for one crystal must not cost the others
                self.calculator.reset()
                continue
            prediction.energies_ev[index] = answer[0]
            prediction.forces_ev_per_ang[rows] = answer[1]
            prediction.stresses_ev_per_ang3[index] = answer[2]
        return prediction.with_nan_where_not_finite(batch)


def from_import_path(name: str) -> AsePotential:
    """Return the potential ``ase:module.path:factory``.

    Its digest covers the calculator's class and parameters, the versions of ASE and of the package it comes from, and
    the file of the module that holds the factory. Weights the factory reads from elsewhere are not seen: change the
    factory's name when they change.

    Raises
    ------
    InputError
        Where the name is malformed, the import or the call fails, or what comes back is not a calculator with energy,
        forces and stress.
    """
    module_name, separator, factory_name = name.removeprefix("ase:").partition(":")
    if not (module_name and separator and factory_name):
        raise InputError(f"potential {name!r}: expected 'ase:module.path:factory', such as ase:ase.calculators.emt:EMT")
    try:
        module = import_module(module_name)
        factory = getattr(module, factory_name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"potential {name!r}: cannot import it ({error})") from error
    try:
        calculator = factory()
    except Exception as error:
        raise InputError(
            f"potential {name!r}: calling {factory_name}() without arguments failed "
            f"({type(error).__name__}: {error}); give a function that builds the calculator"
        ) from error
    if not isinstance(calculator, Calculator):
        raise InputError(f"potential {name!r}: expected an ASE calculator, got {type(calculator).__name__}")
    if missing := [which for which in NEEDED if which not in calculator.implemented_properties]:
        raise InputError(f"potential {name!r}: the calculator does not implement {', '.join(missing)}")
    return AsePotential(name, calculator, _digest(calculator, module))


def _digest(calculator: Calculator, module: ModuleType) -> str:
    kind = type(calculator)
    packages = {"ase", kind.__module__.split(".")[0], module.__name__.split(".")[0]}
    content = hashlib.sha256(f"{kind.__module__}.{kind.__qualname__} {_parameters(calculator)}".encode())
    for package in sorted(packages):
        content.update(f"{package} {_version(package)}".encode())
    if module.__file__:
        content.update(Path(module.__file__).read_bytes())
    return content.hexdigest()


def _parameters(calculator: Calculator) -> str:
    try:
        return encode(calculator.todict())
    except TypeError:  # objects whose text may hold an address, which changes from process to process
        return ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""

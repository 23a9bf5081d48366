"""κ of one crystal in one call."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from pymatgen.core import Structure

from kappaforge.calculators import identity
from kappaforge.campaign.candidate import CandidateRecord, kappa_of
from kappaforge.crystal import Crystal
from kappaforge.errors import InputError, suggestion
from kappaforge.potentials.ase_calculator import AsePotential
from kappaforge.potentials.base import Potential
from kappaforge.potentials.registry import load
from kappaforge.potentials.settings import DEFAULT
from kappaforge.relax.settings import RelaxSettings
from kappaforge.screen.settings import ScreenSettings
from kappaforge.transport.settings import KappaSettings


def conductivity(
    atoms: Atoms | Structure | Crystal,
    potential: str | Potential | BaseCalculator = DEFAULT,
    *,
    relax: bool = True,
    settings: KappaSettings | None = None,
    modes_folder: Path | None = None,
    **options: Any,
) -> CandidateRecord:
    """Compute the lattice thermal conductivity of a crystal, as ``kappaforge kappa`` does.

    >>> import kappaforge
    >>> from ase.build import bulk
    >>> record = kappaforge.conductivity(bulk("C", "diamond", a=3.57), level="rta")
    >>> record.status, record.kappa.kappa_rta_w_per_mk

    Parameters
    ----------
    atoms
        Any cell of it: of ASE, of pymatgen or our own.
    potential
        A registered name, the path of a model, ``ase:module.path:factory``, an ASE calculator, or any `Potential`.
    relax
        Whether to relax it first, tightly and with its space group kept.
    settings
        All settings; the defaults where it is left out.
    modes_folder
        Where κ is written mode by mode, as phono3py's tools read it.
    **options
        Single fields of `KappaSettings`, such as ``temperature_k=200.0`` or ``method="paper"``.

    Returns
    -------
    CandidateRecord
        Of status ``ok``, or ``unconverged``, ``broken_symmetry``, ``unstable`` or ``failed`` with the reason.

    Raises
    ------
    InputError
        For an unknown option or potential, a value out of range, or elements that the potential does not know.
    """
    chosen = settings or KappaSettings()
    known = tuple(KappaSettings.__dataclass_fields__)
    for name in options:
        if name not in known:
            raise InputError(f"conductivity: unknown option {name!r}{suggestion(name, known)}")
    return kappa_of(
        _crystal(atoms),
        _potential(potential),
        RelaxSettings(),
        replace(chosen, **options),
        ScreenSettings(),
        relaxed=relax,
        modes_folder=modes_folder,
    )


def _crystal(atoms: Atoms | Structure | Crystal) -> Crystal:
    if isinstance(atoms, Crystal):
        return atoms
    if isinstance(atoms, Structure):
        return Crystal.from_pymatgen(atoms, id=atoms.composition.reduced_formula)
    if isinstance(atoms, Atoms):
        return Crystal.from_ase(atoms, id=atoms.get_chemical_formula())
    raise InputError(f"conductivity: expected Atoms, a Structure or a Crystal, got {type(atoms).__name__}")


def _potential(potential: str | Potential | BaseCalculator) -> Potential:
    if isinstance(potential, str):
        return load(potential)
    if isinstance(potential, BaseCalculator):
        kind = type(potential)
        name = f"ase:{kind.__module__}:{kind.__qualname__}"
        return AsePotential(name, potential, hashlib.sha256(identity(name, potential).encode()).hexdigest())
    return potential

"""The functions that a notebook needs; each is also ``kappaforge.`` and its name."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from pymatgen.core import Structure

from kappaforge.calculators import identity
from kappaforge.campaign.candidate import CandidateRecord, kappa_of
from kappaforge.campaign.error_bar import ErrorBar, error_bars
from kappaforge.campaign.opened import Campaign
from kappaforge.crystal import Crystal
from kappaforge.errors import InputError, suggestion
from kappaforge.generate import registry as generators
from kappaforge.generate.settings import GenerateSettings
from kappaforge.potentials import registry as potentials
from kappaforge.potentials.ase_calculator import AsePotential
from kappaforge.potentials.base import Potential
from kappaforge.potentials.settings import DEFAULT
from kappaforge.relax.relaxer import RelaxRecord
from kappaforge.relax.relaxer import relax as relax_all
from kappaforge.relax.settings import RelaxSettings
from kappaforge.screen.settings import ScreenSettings
from kappaforge.screen.sift import Sifted, sift
from kappaforge.transport.error_settings import ErrorBarSettings
from kappaforge.transport.settings import KappaSettings

__all__ = ["Campaign", "Conductivity", "conductivity", "generate", "relax", "screen"]

AnyCrystal = Atoms | Structure | Crystal
"""Any cell of a crystal: of ASE, of pymatgen or our own."""

AnyPotential = str | Potential | BaseCalculator
"""A registered name, the path of a model, ``ase:module.path:factory``, an ASE calculator, or any `Potential`."""

Settings = TypeVar("Settings", GenerateSettings, RelaxSettings, ScreenSettings, KappaSettings)


@dataclass(frozen=True)
class Conductivity(CandidateRecord):
    """κ of a crystal: all that `CandidateRecord` has, and how sure it is.

    Parameters
    ----------
    error_bar
        Of the largest eigenvalue, with its parts; None where there is no κ.
    """

    error_bar: ErrorBar | None = None

    @property
    def kappa_w_per_mk(self) -> np.ndarray | None:
        """The best tensor there is, shape (3, 3), W/(m·K), in the Cartesian frame of the crystal as given."""
        solution = self.kappa.solution if self.kappa else None
        return None if solution is None else solution.kappa_w_per_mk

    @property
    def error_w_per_mk(self) -> float | None:
        """What may be wrong about its largest eigenvalue, W/(m·K); None where nothing is known of that."""
        return None if self.error_bar is None else self.error_bar.total_w_per_mk


def generate(
    n: int = 100,
    elements: str | Sequence[str] = "C",
    *,
    generator: str = GenerateSettings.generator,
    seed: int = 0,
    **options: Any,
) -> list[Crystal]:
    """Propose crystals, as ``kappaforge generate`` does; number i of a seed is the same whatever `n` is.

    >>> import kappaforge
    >>> crystals = kappaforge.generate(20, "C", seed=1, max_atoms=6)
    >>> atoms = [crystal.to_ase() for crystal in crystals]

    Parameters
    ----------
    n
        Proposals; those that fail leave no crystal.
    elements
        Symbols: ``"C"``, ``"B,N"`` or ``["B", "N"]``.
    generator
        A registered name (``flow``, ``random``, ``cdvae-small``) or the file of a trained one.
    seed
        Of everything random.
    **options
        Single fields of `GenerateSettings`, such as ``max_atoms=6``.

    Raises
    ------
    InputError
        For an unknown option or generator, a value out of range, or elements that the generator has not seen.
    """
    symbols = elements.split(",") if isinstance(elements, str) else elements
    plain = GenerateSettings(generator=generator, n=n, elements=tuple(symbol.strip() for symbol in symbols))
    settings = _changed("generate", plain, options)
    proposals = generators.load(generator, settings).sample(n, seed=seed)
    return [proposal.crystal for proposal in proposals if proposal.crystal is not None]


@overload
def relax(
    crystals: AnyCrystal,
    potential: AnyPotential = DEFAULT,
    *,
    settings: RelaxSettings | None = None,
    **options: Any,
) -> RelaxRecord: ...


@overload
def relax(
    crystals: Sequence[AnyCrystal],
    potential: AnyPotential = DEFAULT,
    *,
    settings: RelaxSettings | None = None,
    **options: Any,
) -> list[RelaxRecord]: ...


def relax(
    crystals: AnyCrystal | Sequence[AnyCrystal],
    potential: AnyPotential = DEFAULT,
    *,
    settings: RelaxSettings | None = None,
    **options: Any,
) -> RelaxRecord | list[RelaxRecord]:
    """Relax cell and positions of one crystal or many at once, as ``kappaforge relax`` does.

    >>> record = kappaforge.relax(atoms, "carbon", pressure_gpa=10.0)
    >>> record.status, record.energy_ev_per_atom, record.crystal.to_ase()

    Parameters
    ----------
    crystals
        One, or a sequence of them.
    potential
        See `AnyPotential`.
    settings
        All settings; the defaults where it is left out.
    **options
        Single fields of `RelaxSettings`, such as ``fmax_ev_per_ang=1e-4``.

    Returns
    -------
    RelaxRecord or list of RelaxRecord
        One for one; of status ``ok``, ``unconverged`` or ``failed`` with the reason.

    Raises
    ------
    InputError
        For an unknown option or potential, a value out of range, or elements that the potential does not know.
    """
    chosen = _changed("relax", settings or RelaxSettings(), options)
    one = isinstance(crystals, AnyCrystal)
    found = relax_all(_crystals("relax", crystals), _potential(potential), chosen)
    return found[0] if one else found


def screen(
    crystals: Sequence[AnyCrystal],
    known: Sequence[AnyCrystal] = (),
    *,
    settings: ScreenSettings | None = None,
    **options: Any,
) -> list[Sifted]:
    """Tell which crystals are distinct, novel, small and symmetric, as ``kappaforge screen`` does.

    >>> kept = [each.crystal for each in kappaforge.screen(crystals, known=library) if each.passes]

    Parameters
    ----------
    crystals
        Any cells of them.
    known
        Crystals that are not novel.
    settings
        All settings; the defaults where it is left out.
    **options
        Single fields of `ScreenSettings`, such as ``max_atoms=20``.

    Returns
    -------
    list of Sifted
        In the order of the crystals, each with the reason why it leaves.

    Raises
    ------
    InputError
        For an unknown option or a value out of range.
    """
    chosen = _changed("screen", settings or ScreenSettings(), options)
    return sift(_crystals("screen", crystals), _crystals("screen", known), chosen)


def conductivity(
    atoms: AnyCrystal,
    potential: AnyPotential = DEFAULT,
    *,
    relax: bool = True,
    committee: bool = False,
    cutoffs: bool = False,
    settings: KappaSettings | None = None,
    modes_folder: Path | None = None,
    **options: Any,
) -> Conductivity:
    """Compute the lattice thermal conductivity of a crystal, as ``kappaforge kappa`` does.

    >>> import kappaforge
    >>> from ase.build import bulk
    >>> record = kappaforge.conductivity(bulk("C", "diamond", a=3.57), level="rta")
    >>> record.status, record.kappa_w_per_mk, record.error_w_per_mk

    Parameters
    ----------
    atoms
        Any cell of it: of ASE, of pymatgen or our own.
    potential
        See `AnyPotential`.
    relax
        Whether to relax it first, tightly and with its space group kept.
    committee
        Whether κ is computed by each member of the potential's committee too, for its error.
    cutoffs
        Whether κ is computed with larger supercells and a wider cutoff too, for its error.
    settings
        All settings; the defaults where it is left out.
    modes_folder
        Where κ is written mode by mode, as phono3py's tools read it.
    **options
        Single fields of `KappaSettings`, such as ``temperature_k=200.0`` or ``method="paper"``.

    Returns
    -------
    Conductivity
        Of status ``ok``, or ``unconverged``, ``broken_symmetry``, ``unstable`` or ``failed`` with the reason. Its error
        is that of the mesh, and of what else was asked for.

    Raises
    ------
    InputError
        For an unknown option or potential, a value out of range, elements that the potential does not know, a committee
        that it does not have, or an error that the method has not.
    """
    chosen = _changed("conductivity", settings or KappaSettings(), options)
    if (committee or cutoffs) and chosen.level == "harmonic":
        raise InputError("conductivity: committee and cutoffs ask how sure κ is: not with level 'harmonic'")
    if cutoffs and chosen.method == "paper":
        raise InputError("conductivity: the paper's protocol fixes supercell and cutoff: leave cutoffs out")
    loaded = _potential(potential)
    members = potentials.committee(loaded.name) if committee else ()
    if committee and not members:
        raise InputError(f"conductivity: potential {loaded.name!r} has no committee: leave committee out")
    record = kappa_of(
        _crystal("conductivity", atoms),
        loaded,
        RelaxSettings(),
        chosen,
        ScreenSettings(),
        relaxed=relax,
        modes_folder=modes_folder,
    )
    (bar,) = error_bars(
        lambda _step, _version, function, arguments, _digest: [function(*each) for each in arguments],
        [record],
        loaded,
        loaded.digest,
        members,
        ErrorBarSettings(committee, cutoffs),
        relax=RelaxSettings(),
        kappa=chosen,
        screen=ScreenSettings(),
    )
    return Conductivity(**{field.name: getattr(record, field.name) for field in fields(record)}, error_bar=bar)


def _changed(who: str, settings: Settings, options: dict[str, Any]) -> Settings:
    """Return settings with single fields changed; raises `InputError` for a field that is not there."""
    known = tuple(field.name for field in fields(settings))
    for name in options:
        if name not in known:
            raise InputError(f"{who}: unknown option {name!r}{suggestion(name, known)}")
    return replace(settings, **options)


def _crystals(who: str, given: AnyCrystal | Sequence[AnyCrystal]) -> list[Crystal]:
    several = [given] if isinstance(given, AnyCrystal) else given
    if isinstance(several, str | bytes) or not isinstance(several, Sequence):
        raise InputError(f"{who}: expected Atoms, a Structure or a Crystal, or a list of them, got {_kind(several)}")
    return [_crystal(who, each) for each in several]


def _crystal(who: str, atoms: AnyCrystal) -> Crystal:
    if isinstance(atoms, Crystal):
        return atoms
    if isinstance(atoms, Structure):
        return Crystal.from_pymatgen(atoms, id=atoms.composition.reduced_formula)
    if isinstance(atoms, Atoms):
        return Crystal.from_ase(atoms, id=str(atoms.info.get("id", "")) or atoms.get_chemical_formula())
    raise InputError(f"{who}: expected Atoms, a Structure or a Crystal, got {_kind(atoms)}")


def _kind(given: object) -> str:
    return type(given).__name__


def _potential(potential: AnyPotential) -> Potential:
    if isinstance(potential, str):
        return potentials.load(potential)
    if isinstance(potential, BaseCalculator):
        kind = type(potential)
        name = f"ase:{kind.__module__}:{kind.__qualname__}"
        return AsePotential(name, potential, hashlib.sha256(identity(name, potential).encode()).hexdigest())
    return potential

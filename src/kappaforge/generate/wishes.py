"""What the settings and the arguments of a learned generator ask of its patterns."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from ase.formula import Formula

from kappaforge.errors import InputError
from kappaforge.generate.prior import Wish
from kappaforge.generate.settings import GenerateSettings


def formula_unit(settings: GenerateSettings) -> dict[str, int]:
    """Return the atoms of each element in the settings' formula, in the order of the elements; empty without one."""
    if not settings.formula:
        return {}
    try:
        unit = Formula(settings.formula).count()
    except ValueError:
        unit = {}
    if set(unit) != set(settings.elements):
        raise InputError(
            f"[generate] formula: expected a formula of {', '.join(settings.elements)}, got {settings.formula!r}"
        )
    return {symbol: unit[symbol] for symbol in settings.elements}


def wish_of(
    settings: GenerateSettings, known: Sequence[str], num_atoms: int | None = None, spacegroup: int | None = None
) -> Wish:
    """Return what a pattern has to be.

    Raises
    ------
    InputError
        For arguments out of range, or elements that are not `known`.
    """
    if unknown := [symbol for symbol in settings.elements if symbol not in known]:
        raise InputError(
            f"[generate] elements: this generator has learned {', '.join(known)}, not {unknown[0]}; train one on your "
            "crystals (kappaforge train-generator), or use the generator 'random'"
        )
    if num_atoms is not None and num_atoms < 1:
        raise InputError(f"num_atoms: expected 1 or more, got {num_atoms}")
    if spacegroup is not None and not 1 <= spacegroup <= 230:
        raise InputError(f"spacegroup: expected a number from 1 to 230, got {spacegroup}")
    unit = tuple(formula_unit(settings).values())
    divisor = gcd(*unit) if unit else 1
    return Wish(
        sizes=(num_atoms,) if num_atoms else tuple(range(settings.min_atoms, settings.max_atoms + 1)),
        elements=settings.elements,
        formula=tuple(part // divisor for part in unit),
        groups=(spacegroup,) if spacegroup else settings.space_groups,
        # a group asked for by its number is what is wanted, however few operations it has
        min_operations=1 if spacegroup else settings.min_operations,
        enumerated=settings.enumerated,
    )

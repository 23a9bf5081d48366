"""What crystals are called: the known crystal that is the same, and the prototype."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from pymatgen.analysis.prototypes import get_protostructure_label_from_spglib

from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.screen.settings import ScreenSettings
from kappaforge.screen.unique import match

NAMING_VERSION = 1
"""Raise it when the same crystals get other names."""


@dataclass(frozen=True)
class CrystalName:
    """Names of one crystal.

    Parameters
    ----------
    known_as
        Of the first known carbon that ``StructureMatcher`` finds the same; empty for none.
    prototype
        AFLOW's label of a prototype (doi 10.1016/j.commatsci.2017.01.017), such as ``A_cF8_227_a``: composition,
        Pearson symbol, space group and occupied sites; empty where no symmetry was found.
    """

    known_as: str
    prototype: str


def names_of(crystals: Sequence[Crystal], settings: ScreenSettings) -> list[CrystalName]:
    """Name crystals; the tolerances are those by which crystals of a campaign count as the same."""
    known = [entry.crystal for entry in known_carbons()]
    same = match(crystals, known, settings)
    return [
        CrystalName(known[index].id if index >= 0 else "", _prototype(crystal, settings.symprec_ang))
        for crystal, index in zip(crystals, same.tolist(), strict=True)
    ]


def _prototype(crystal: Crystal, symprec_ang: float) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            label: str | None = get_protostructure_label_from_spglib(crystal.to_pymatgen(), init_symprec=symprec_ang)
        except (ValueError, TypeError, LookupError):  # a name is not worth a campaign
            return ""
    prototype, colon, _ = (label or "").partition(":")
    return prototype if colon and "Invalid" not in prototype and " " not in prototype else ""

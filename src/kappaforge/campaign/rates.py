"""Rates that were measured elsewhere and come with the package; ``benchmarks/rates.py`` measures them again."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

FILE = "reference_rates.toml"


@dataclass(frozen=True)
class ReferenceRates:
    """CPU seconds of one core.

    Parameters
    ----------
    about
        Machine, day and version they were measured with.
    generate_s
        Of a proposal, by generator.
    relax_s
        Of an atom of a generated crystal, by potential.
    screen_s, describe_s
        Of a crystal.
    kappa
        By kind (``harmonic``, ``rta``, ``full``, ``paper``, ``member``) and potential: ``a`` and ``b`` in a·N^b.
    shares
        What became of the crystals of one campaign, see `benchmarks/rates.py`.
    """

    about: Mapping[str, str]
    generate_s: Mapping[str, float]
    relax_s: Mapping[str, float]
    screen_s: float
    describe_s: float
    kappa: Mapping[str, Mapping[str, Mapping[str, float]]]
    shares: Mapping[str, float]

    def kappa_s(self, potential: str, kind: str, n_atoms: float) -> float | None:
        """Return the time for κ of a stable crystal with so many atoms in its primitive cell, s; None if unknown."""
        found = self.kappa.get(kind, {}).get(potential)
        return None if found is None else float(found["a"] * n_atoms ** found["b"])


@cache
def reference_rates() -> ReferenceRates:
    """Return the rates of the package."""
    values: dict[str, Any] = tomllib.loads((files("kappaforge.campaign") / FILE).read_text(encoding="utf-8"))
    return ReferenceRates(
        about={name: values[name] for name in ("machine", "beside", "date", "kappaforge")},
        generate_s=values["generate"],
        relax_s=values["relax"],
        screen_s=values["screen"]["each"],
        describe_s=values["describe"]["each"],
        kappa=values["kappa"],
        shares=values["shares"],
    )

"""When a relaxation is done, and when it is given up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite

from kappaforge.errors import InputError, suggestion

MINIMISERS = ("fire", "fire-lbfgs", "lbfgs")


@dataclass(frozen=True)
class RelaxSettings:
    """Settings of `kappaforge.relax.relaxer.relax`; the defaults are for screening many crystals.

    Parameters
    ----------
    fmax_ev_per_ang
        Converged only when no atom feels a larger force, in eV/Å, and …
    stress_max_gpa
        … no component of the stress differs by more than this from the external pressure, in GPa.
    max_steps
        Steps after which a crystal counts as unconverged.
    pressure_gpa
        External hydrostatic pressure in GPa; positive compresses.
    keep_symmetry
        Symmetrise the crystal once, then keep every operation of its space group.
    symprec
        Distance in Å within which `keep_symmetry` recognises an operation (spglib).
    max_move_ang
        Longest move of an atom in one step, in Å.
    min_distance_ang
        A crystal with two atoms closer than this has failed, in Å.
    max_distance_ang
        A crystal at rest with an atom farther than this from all others has failed, in Å: it has come apart.
    max_volume_ratio
        A crystal that grows or shrinks by more than this factor has failed.
    minimiser
        ``lbfgs``, a quasi-Newton method, the fastest, which may leave the valley that it starts in; ``fire-lbfgs``,
        which follows the forces by FIRE until it is near the minimum; or ``fire``.
    """

    fmax_ev_per_ang: float = 5e-3
    stress_max_gpa: float = 0.1
    max_steps: int = 1000
    pressure_gpa: float = 0.0
    keep_symmetry: bool = False
    symprec: float = 1e-2
    max_move_ang: float = 0.1
    min_distance_ang: float = 0.5
    max_distance_ang: float = 6.0
    max_volume_ratio: float = 5.0
    minimiser: str = "lbfgs"

    def __post_init__(self) -> None:
        if self.minimiser not in MINIMISERS:
            raise InputError(f"[relax] minimiser: unknown {self.minimiser!r}{suggestion(self.minimiser, MINIMISERS)}")
        for name in (
            "fmax_ev_per_ang",
            "stress_max_gpa",
            "symprec",
            "max_move_ang",
            "min_distance_ang",
            "max_distance_ang",
        ):
            value = getattr(self, name)
            if not (isfinite(value) and value > 0):
                raise InputError(f"[relax] {name}: expected a positive, finite number, got {value!r}")
        if not isfinite(self.pressure_gpa):
            raise InputError(f"[relax] pressure_gpa: expected a finite number, got {self.pressure_gpa!r}")
        if not (isfinite(self.max_volume_ratio) and self.max_volume_ratio > 1):
            raise InputError(f"[relax] max_volume_ratio: expected a number above 1, got {self.max_volume_ratio!r}")
        if not isinstance(self.max_steps, int) or isinstance(self.max_steps, bool) or self.max_steps < 0:
            raise InputError(f"[relax] max_steps: expected a whole number from 0 up, got {self.max_steps!r}")

    def tightened(self) -> RelaxSettings:
        """Return the settings for force constants: forces below 1e-4 eV/Å, stress below 0.01 GPa, symmetry kept."""
        return replace(
            self,
            fmax_ev_per_ang=min(self.fmax_ev_per_ang, 1e-4),
            stress_max_gpa=min(self.stress_max_gpa, 0.01),
            keep_symmetry=True,
        )

"""Labels by any ASE calculator, given by its import path."""

from __future__ import annotations

import time

import numpy as np
from ase.calculators.calculator import SCFError, all_changes
from ase.stress import voigt_6_to_full_3x3_stress

from kappaforge.calculators import build_calculator, identity
from kappaforge.crystal import Crystal
from kappaforge.label.base import Label, one_line
from kappaforge.label.settings import LabelSettings

NEEDED = ("energy", "forces")
"""Properties a calculator must implement; stress is taken where it is implemented too."""


class AseLabeler:
    """See `kappaforge.label.base.Labeler`; every crystal gets a new calculator, so that none depends on the last.

    Of the settings only the name counts: the factory decides functional, cutoff and k points. Several workers label at
    once, so the factory of a calculator that works through files gives each its own directory.

    Raises
    ------
    InputError
        Where the name is malformed, the import or the call fails, or what comes back is not a calculator with energy
        and forces.
    """

    def __init__(self, settings: LabelSettings) -> None:
        self.name = settings.labeler
        self.fingerprint = identity(self.name, build_calculator(self.name, role="labeler", needed=NEEDED))

    def label(self, crystal: Crystal) -> Label:
        """Label one crystal."""
        start = time.perf_counter()
        status, reason, energy, forces, stress = "ok", "", None, None, None
        calculator = build_calculator(self.name, role="labeler", needed=NEEDED)
        wanted = [*NEEDED, *({"stress"} & set(calculator.implemented_properties))]
        try:
            # All at once: asked one by one, engines that work through files would run once for each.
            calculator.calculate(crystal.to_ase(), wanted, all_changes)
            results = calculator.results
            energy = float(results["energy"])
            forces = np.array(results["forces"], dtype=float).reshape(len(crystal), 3)
            stress = _full(results["stress"]) if "stress" in results else None
            if not all(_is_finite(each) for each in (energy, forces, 0.0 if stress is None else stress)):
                raise ArithmeticError("energy, forces or stress are not finite numbers of single precision")
        except SCFError as error:
            status, reason = "unconverged", one_line(error)
        except Exception as error:  # whatever a calculator raises for one crystal must not cost the others
            status, reason = "failed", one_line(error)
        return Label(
            id=crystal.id,
            crystal=crystal,
            engine=self.fingerprint,
            status=status,
            reason=reason,
            energy_ev=energy if status == "ok" else None,
            forces_ev_per_ang=forces if status == "ok" else None,
            stress_ev_per_ang3=stress if status == "ok" else None,
            seconds=time.perf_counter() - start,
        )


def _is_finite(values: float | np.ndarray) -> bool:
    """Return whether all values are finite, also for the networks that will learn them in single precision."""
    return bool((np.abs(values) <= np.finfo(np.float32).max).all())


def _full(stress: np.ndarray) -> np.ndarray:
    return np.array(stress if np.shape(stress) == (3, 3) else voigt_6_to_full_3x3_stress(stress))

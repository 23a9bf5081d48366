"""A potential with faults, for ``benchmarks/faults.py``: ``ase:faulty_potential:build``.

It is `brenner`, but raises on every crystal of six atoms, and once, where the environment's KAPPAFORGE_HANG_ONCE names
a file that is not there yet, it hangs.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, ClassVar

from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from kappaforge.crystal import Crystal
from kappaforge.potentials import registry
from kappaforge.potentials.base import Batch

BAD_NUMBER_OF_ATOMS = 6


class FaultyCalculator(Calculator):
    """Energies, forces and stresses of `brenner`, with faults."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes) -> None:
        """Compute everything, or raise, or hang."""
        super().calculate(atoms, properties, system_changes)
        marker = os.environ.get("KAPPAFORGE_HANG_ONCE")
        if marker and not Path(marker).exists():
            Path(marker).touch()
            time.sleep(1e6)
        if len(atoms) == BAD_NUMBER_OF_ATOMS:
            raise RuntimeError(f"no answer for {BAD_NUMBER_OF_ATOMS} atoms")
        found = registry.load("brenner").compute(Batch.of([Crystal.from_ase(atoms)]))
        self.results = {
            "energy": float(found.energies_ev[0]),
            "forces": found.forces_ev_per_ang,
            "stress": full_3x3_to_voigt_6_stress(found.stresses_ev_per_ang3[0]),
        }


def build() -> FaultyCalculator:
    """Return the calculator."""
    return FaultyCalculator()

"""Any ASE calculator as a potential."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, Calculator
from ase.data import chemical_symbols

from kappaforge.calculators import build_calculator, identity
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
    calculator: BaseCalculator
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
                    energy_ev = float(atoms.get_potential_energy())
                    forces_ev_per_ang = np.array(atoms.get_forces(), dtype=float).reshape(len(atoms), 3)
                    stress_ev_per_ang3 = np.array(atoms.get_stress(voigt=False), dtype=float).reshape(3, 3)
            except Exception:  # whatever a calculator raises for one crystal must not cost the others
                if isinstance(self.calculator, Calculator):  # the newer ones forget by themselves
                    self.calculator.reset()
                continue
            prediction.energies_ev[index] = energy_ev
            prediction.forces_ev_per_ang[rows] = forces_ev_per_ang
            prediction.stresses_ev_per_ang3[index] = stress_ev_per_ang3
        return prediction.with_nan_where_not_finite(batch)


def from_import_path(name: str) -> AsePotential:
    """Return the potential ``ase:module.path:factory``; its digest is that of `kappaforge.calculators.identity`.

    Raises
    ------
    InputError
        Where the name is malformed, the import or the call fails, or what comes back is not a calculator with energy,
        forces and stress.
    """
    calculator = build_calculator(name, role="potential", needed=NEEDED)
    return AsePotential(name, calculator, hashlib.sha256(identity(name, calculator).encode()).hexdigest())

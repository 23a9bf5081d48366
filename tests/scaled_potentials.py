"""Brenner's potential with all energies, forces and stresses times a factor, by import paths as the registry takes."""

from typing import ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from kappaforge.crystal import Crystal
from kappaforge.potentials.base import Batch
from kappaforge.potentials.registry import load


class Scaled(Calculator):
    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.parameters["factor"] = factor  # what tells it from others

    def calculate(self, atoms: Atoms, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        found = load("brenner").compute(Batch.of([Crystal.from_ase(atoms)]))
        factor, stress = self.parameters["factor"], found.stresses_ev_per_ang3[0]
        self.results = {
            "energy": factor * found.energies_ev[0],
            "forces": factor * found.forces_ev_per_ang,
            "stress": factor * stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
        }


def once() -> Scaled:
    return Scaled(1.0)


def four_fifths() -> Scaled:
    return Scaled(0.8)


def five_quarters() -> Scaled:
    return Scaled(1.25)


def upside_down() -> Scaled:
    """Where minima are maxima."""
    return Scaled(-1.0)

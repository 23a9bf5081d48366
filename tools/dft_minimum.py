"""Find the minimum of a crystal's DFT energy from energies and forces alone: the stress of optB88-vdW is not right.

    .venv/bin/python tools/dft_minimum.py FIND.extxyz FOLDER

Needs GPAW. The cell is strained in every way that keeps its symmetry, the atoms follow DFT's forces at each strain
from where they are without, and a quadratic through the energies has the minimum, where they are relaxed once more.
FOLDER gets `minimum.extxyz`, `minimum.json` and `labels.extxyz`: every label is there as soon as it is computed, so a
killed run goes on after it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

import ase.io
import numpy as np
import spglib
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import BFGS

from kappaforge.crystal import Crystal
from kappaforge.files import write_text
from kappaforge.label.base import Label
from kappaforge.label.dataset import read_labels, write_labels
from kappaforge.label.gpaw import GpawLabeler
from kappaforge.label.kpoints import kpoint_mesh, reduced
from kappaforge.label.settings import LabelSettings

STRAIN = 0.01
FORCE_EV_PER_ANG = 0.02
"""Where the atoms of carbon's networks, whose springs are of 20 eV/Å² and more, are within 0.001 Å of their minimum."""


class Labelled(Calculator):
    """Labels as a calculator of ASE; each is computed once."""

    implemented_properties: ClassVar = ["energy", "forces"]

    def __init__(self, path: Path, kspacing_per_ang: float) -> None:
        super().__init__()
        self.path = path
        self.settings = LabelSettings(kspacing_per_ang=kspacing_per_ang)
        self.labels = read_labels(path) if path.exists() else []
        self.mesh: list[int] | None = None

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Take the label of these very positions, or compute it."""
        super().calculate(atoms, properties, system_changes)
        crystal = Crystal.from_ase(self.atoms, id=f"step-{len(self.labels)}", source="minimum of DFT")
        mesh = sorted(kpoint_mesh(reduced(crystal), self.settings.kspacing_per_ang))
        self.mesh = self.mesh or mesh
        if mesh != self.mesh:
            raise SystemExit(f"strain turns the k mesh {self.mesh} into {mesh}: take another --kspacing")
        label = self._known(crystal) or self._compute(crystal)
        self.results = {"energy": label.energy_ev, "forces": label.forces_ev_per_ang}

    def _known(self, crystal: Crystal) -> Label | None:
        for label in self.labels:
            same_cell = np.allclose(label.crystal.cell, crystal.cell, atol=1e-6)
            if same_cell and np.allclose(label.crystal.positions, crystal.positions, atol=1e-6):
                return label
        return None

    def _compute(self, crystal: Crystal) -> Label:
        label = GpawLabeler(self.settings).label(crystal)
        if label.status != "ok":
            raise SystemExit(f"no label: {label.reason}")
        self.labels.append(label)
        write_labels(self.labels, self.path)
        return label


def symmetric_strains(crystal: Crystal) -> np.ndarray:
    """Return orthonormal strains that keep the crystal's symmetry, shape (n, 3, 3): one for a cubic crystal."""
    cell = (crystal.cell, crystal.fractional, crystal.numbers)
    operations = spglib.get_symmetry(cell, symprec=1e-3)
    assert operations is not None, f"spglib finds no symmetry of {crystal.id}"
    turns = crystal.cell.T @ operations["rotations"] @ np.linalg.inv(crystal.cell.T)
    kept = []
    for i, j in [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]:
        strain = np.zeros((3, 3))
        strain[i, j] = strain[j, i] = 1.0
        kept.append((turns @ strain @ np.swapaxes(turns, 1, 2)).mean(axis=0).ravel())
    _, sizes, directions = np.linalg.svd(np.array(kept))
    return directions[: int(np.sum(sizes > 1e-6))].reshape(-1, 3, 3)


def relaxed_at(crystal: Crystal, strain: np.ndarray, calculator: Calculator) -> tuple[float, Atoms]:
    """Return the energy, eV, and the atoms in a strained cell, relaxed."""
    atoms = crystal.to_ase()
    atoms.set_cell(crystal.cell @ (np.eye(3) + strain), scale_atoms=True)
    atoms.calc = calculator
    BFGS(atoms, logfile=None).run(fmax=FORCE_EV_PER_ANG, steps=50)
    return float(atoms.get_potential_energy()), atoms


def minimum(crystal: Crystal, calculator: Calculator) -> tuple[float, Atoms, float]:
    """Return the least energy, eV, its atoms, and how far the quadratic was off there, eV."""
    basis = symmetric_strains(crystal)
    axes = np.eye(len(basis))
    points = [0 * axes[0], *axes, *-axes, *(axes[i] + axes[j] for i, j in combinations(range(len(axes)), 2))]
    steps = STRAIN * np.array(points)
    unstrained, atoms = relaxed_at(crystal, np.zeros((3, 3)), calculator)
    crystal = replace(Crystal.from_ase(atoms), id=crystal.id)
    energies = [unstrained, *(relaxed_at(crystal, np.tensordot(step, basis, 1), calculator)[0] for step in steps[1:])]
    pairs = [(i, j) for i in range(len(basis)) for j in range(i, len(basis))]
    terms = np.column_stack([np.ones(len(steps)), steps, *(steps[:, i] * steps[:, j] for i, j in pairs)])
    constant, *rest = np.linalg.solve(terms, energies)
    slope, curvature = np.array(rest[: len(basis)]), np.zeros((len(basis), len(basis)))
    for (i, j), value in zip(pairs, rest[len(basis) :], strict=True):
        curvature[i, j] += value
        curvature[j, i] += value
    best = -np.linalg.solve(curvature, slope)
    energy, atoms = relaxed_at(crystal, np.tensordot(best, basis, 1), calculator)
    return energy, atoms, energy - float(constant + slope @ best / 2)


def main() -> None:
    """Find the minimum of one crystal and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="the crystal, near the minimum")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kspacing", type=float, default=0.2, help="Å⁻¹ (default: %(default)s)")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    given = Crystal.from_ase(ase.io.read(options.file), id=options.file.stem)
    calculator = Labelled(options.folder / "labels.extxyz", options.kspacing)
    energy, atoms, off = minimum(given, calculator)
    found = replace(Crystal.from_ase(atoms), id=given.id)
    ase.io.write(options.folder / "minimum.extxyz", found.to_ase())
    told = {
        "id": given.id,
        "engine": calculator.labels[0].engine,
        "kpoints": calculator.mesh,
        "labels": len(calculator.labels),
        "energy_ev_per_atom": energy / len(found),
        "volume_ang3_per_atom": found.volume_ang3 / len(found),
        "quadratic_off_mev_per_atom": 1e3 * off / len(found),
        "largest_force_ev_per_ang": float(np.abs(atoms.get_forces()).max()),
    }
    write_text(options.folder / "minimum.json", json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(told, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()

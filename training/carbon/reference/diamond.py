"""Make the DFT reference of diamond and lonsdaleite that the `carbon` potential is measured against.

    python training/carbon/reference/diamond.py [PART ...]

Needs GPAW. The settings are those of the labels except for denser k points where a part says so. Parts, in this order:

- ``energies``: energy and volume of the primitive cell, ±4 % in volume, and Birch and Murnaghan's equation of state;
- ``small``: the optical frequency at Γ from one displaced atom in cells of 2 and 16 atoms, against the k points;
- ``diamond``: the forces around one displaced atom in the 2×2×2 supercell of the cube, 64 atoms;
- ``lonsdaleite``: the forces around displaced atoms in a supercell of 16 atoms, and those of the supercell at rest.

Every label is written as soon as it is there, so a killed run goes on after the last one. `labels-k*.extxyz` hold the
labels, one file for each engine; `diamond.json` what follows from them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import units
from ase.build import make_supercell
from ase.data import atomic_masses
from ase.eos import EquationOfState

from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.files import write_text
from kappaforge.label.base import Label
from kappaforge.label.dataset import read_labels, write_labels
from kappaforge.label.gpaw import GpawLabeler
from kappaforge.label.kpoints import kpoint_mesh, reduced
from kappaforge.label.settings import LabelSettings

FOLDER = Path(__file__).parent
RESULT = FOLDER / "diamond.json"

START_ANG = 3.57
VOLUME_RATIOS = (0.96, 0.97, 0.98, 0.99, 1.0, 1.01, 1.02, 1.03, 1.04)
LABELS_KSPACING = 0.4
"""Å⁻¹; that of the labels. The 2×2×2 supercell of the cube has 3×3×3 points then, 0.29 Å⁻¹ apart."""

DENSE_KSPACING = 0.2
"""Å⁻¹; decides the lattice constant that the phonons are computed at."""

DISPLACEMENT_ANG = 0.03
"""As in `kappaforge.transport.settings.PaperProtocol`."""

CUBE = np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]])
"""The cube in terms of the primitive cell, as rows."""

SMALL = ((np.eye(3, dtype=int), (0.4, 0.3, 0.2, 0.15)), (2 * np.eye(3, dtype=int), (0.4, 0.3)))
LONSDALEITE_MULTIPLES = (2, 2, 1)


def diamond(a_ang: float) -> Crystal:
    """Return the primitive cell, two atoms, with lattice constant a in Å."""
    cell = a_ang / 2 * (1 - np.eye(3))
    return Crystal(cell, np.array([[0, 0, 0], [1, 1, 1]]) * a_ang / 4, np.array([6, 6]), id="diamond")


def displaced(crystal: Crystal, matrix: np.ndarray, atom: int, direction: int, name: str) -> Crystal:
    """Return a supercell with one atom of the given cell moved by `DISPLACEMENT_ANG` along a Cartesian axis.

    In diamond one such displacement gives all force constants: the site's symmetry turns x into ±x, ±y and ±z.
    """
    supercell = make_supercell(crystal.to_ase(), matrix, order="atom-major")
    atom = atom * round(abs(np.linalg.det(matrix)))  # the images of one atom follow each other
    supercell.positions[atom, direction] += DISPLACEMENT_ANG
    return Crystal.from_ase(supercell, id=name, source=f"reference {crystal.id}", parents=(crystal.digest,))


def label(crystal: Crystal, kspacing_per_ang: float) -> Label:
    """Return the label from its file, or compute it and write it there."""
    path = FOLDER / f"labels-k{kspacing_per_ang:g}.extxyz"
    labels = read_labels(path) if path.exists() else []
    for known in labels:
        if known.id == crystal.id and np.allclose(known.crystal.positions, crystal.positions, atol=1e-6):
            return known
    new = GpawLabeler(LabelSettings(kspacing_per_ang=kspacing_per_ang)).label(crystal)
    mesh = "x".join(map(str, kpoint_mesh(reduced(crystal), kspacing_per_ang)))
    print(
        f"{crystal.id}: {len(crystal)} atoms, {mesh} k points, {new.seconds:.0f} s, {new.status} {new.reason}",
        flush=True,
    )
    if new.status != "ok":
        raise SystemExit(f"{crystal.id} has no label: {new.reason}")
    write_labels([*(known for known in labels if known.id != crystal.id), new], path)
    return new


def equation_of_state(kspacing_per_ang: float) -> dict[str, Any]:
    """Fit Birch and Murnaghan's equation of state (doi 10.1103/PhysRev.71.809) to the primitive cell."""
    crystals = [
        replace(diamond(START_ANG * ratio ** (1 / 3)), id=f"diamond-volume-{ratio:.2f}", source="reference diamond")
        for ratio in VOLUME_RATIOS
    ]
    meshes = {kpoint_mesh(reduced(crystal), kspacing_per_ang) for crystal in crystals}
    if len(meshes) > 1:
        raise SystemExit(f"k-spacing {kspacing_per_ang} changes the mesh with the volume: {sorted(meshes)}")
    labels = [label(crystal, kspacing_per_ang) for crystal in crystals]
    volumes = np.array([crystal.volume_ang3 for crystal in crystals])
    energies = np.array([each.energy_ev for each in labels], dtype=float)
    fit = EquationOfState(volumes, energies, eos="birchmurnaghan")
    volume, _, modulus = fit.fit()
    residual = fit.func(volumes, *fit.eos_parameters) - energies
    return {
        "engine": labels[0].engine,
        "kpoints": meshes.pop(),
        "volumes_ang3": volumes.round(6).tolist(),
        "energies_ev": energies.round(6).tolist(),
        "lattice_constant_ang": round((4 * volume) ** (1 / 3), 5),
        "bulk_modulus_gpa": round(modulus / units.GPa, 2),
        "fit_rms_mev": round(float(np.sqrt((residual**2).mean())) * 1e3, 4),
    }


def optical_thz(displaced_label: Label) -> float:
    """Return the optical frequency at Γ, THz, from the forces around one atom displaced along x.

    At Γ the sublattices move rigidly: the spring between them is the force on one of them for a displaced atom of it,
    and ω² = 2 k / m. The two sublattices' forces are averaged, which takes out what they do not cancel exactly.
    """
    assert displaced_label.forces_ev_per_ang is not None, "only good labels get here"
    first, second = np.split(displaced_label.forces_ev_per_ang[:, 0], 2)
    spring = (second.sum() - first.sum()) / 2 / DISPLACEMENT_ANG
    per_second = np.sqrt(2 * spring / atomic_masses[6] * units._e / units._amu) * 1e10
    return float(per_second / (2 * np.pi) * 1e-12)


def frozen_phonon(a_ang: float, matrix: np.ndarray, kspacing_per_ang: float) -> dict[str, Any]:
    """Label diamond with one displaced atom."""
    crystal = diamond(a_ang)
    n_atoms = 2 * round(abs(np.linalg.det(matrix)))
    answer = label(displaced(crystal, matrix, 0, 0, f"diamond-{n_atoms}-x"), kspacing_per_ang)
    return {
        "engine": answer.engine,
        "atoms": n_atoms,
        "supercell": matrix.tolist(),
        "kspacing_per_ang": kspacing_per_ang,
        "kpoints": kpoint_mesh(reduced(answer.crystal), kspacing_per_ang),
        "displacement_ang": DISPLACEMENT_ANG,
        "optical_at_gamma_thz": round(optical_thz(answer), 3),
        "label": answer.id,
    }


def lonsdaleite(a_ang: float) -> dict[str, Any]:
    """Label lonsdaleite at rest and with one atom displaced, at the published cell scaled as diamond's.

    The other atoms of the cell follow from the first by symmetry; x and z are the directions that differ.
    """
    published = {entry.name: entry.crystal for entry in known_carbons()}
    scale = a_ang / (4 * published["diamond"].volume_ang3) ** (1 / 3)
    crystal = published["lonsdaleite"]
    crystal = replace(crystal, cell=crystal.cell * scale, positions=crystal.positions * scale, parents=())
    matrix = np.diag(LONSDALEITE_MULTIPLES)
    rest = make_supercell(crystal.to_ase(), matrix, order="atom-major")
    labels = [
        label(Crystal.from_ase(rest, id="lonsdaleite-16-rest", source="reference lonsdaleite"), LABELS_KSPACING),
        *(
            label(displaced(crystal, matrix, 0, axis, f"lonsdaleite-16-{name}"), LABELS_KSPACING)
            for axis, name in ((0, "x"), (2, "z"))
        ),
    ]
    return {
        "engine": labels[0].engine,
        "kpoints": kpoint_mesh(reduced(labels[0].crystal), LABELS_KSPACING),
        "cell_ang": crystal.cell.round(8).tolist(),
        "positions_ang": crystal.positions.round(8).tolist(),
        "supercell": matrix.tolist(),
        "displacement_ang": DISPLACEMENT_ANG,
        "labels": [each.id for each in labels],
    }


def main() -> None:
    """Compute the parts asked for and rewrite the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("energies", "small", "diamond", "lonsdaleite")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}; all of them unless given")
    wanted = parser.parse_args().parts or parts
    if unknown := sorted(set(wanted) - set(parts)):
        parser.error(f"unknown part {unknown[0]!r}: expected {', '.join(parts)}")

    dense = equation_of_state(DENSE_KSPACING)  # the other parts need its lattice constant
    a_ang = dense["lattice_constant_ang"]
    compute: dict[str, Callable[[], Any]] = {
        "energies": lambda: [dense, equation_of_state(LABELS_KSPACING)],
        "small": lambda: [frozen_phonon(a_ang, matrix, k) for matrix, spacings in SMALL for k in spacings],
        "diamond": lambda: frozen_phonon(a_ang, 2 * CUBE, LABELS_KSPACING),
        "lonsdaleite": lambda: lonsdaleite(a_ang),
    }
    for part in (part for part in parts if part in wanted):
        result = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        result |= {"lattice_constant_ang": a_ang, "bulk_modulus_gpa": dense["bulk_modulus_gpa"]}
        result[part] = compute[part]()
        write_text(RESULT, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        print(f"{part}: written to {RESULT.name}", flush=True)


if __name__ == "__main__":
    main()

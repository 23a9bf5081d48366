"""Diamond by a potential, beside our own DFT: lattice constant, bulk modulus, phonons, κ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ase import units
from ase.cell import Cell
from ase.eos import EquationOfState
from phonopy import Phonopy

from kappaforge.crystal import Crystal
from kappaforge.errors import KappaforgeError
from kappaforge.label.base import Label
from kappaforge.label.dataset import read_labels
from kappaforge.potentials.base import Batch, Potential
from kappaforge.relax.relaxer import relax
from kappaforge.relax.settings import RelaxSettings
from kappaforge.transport.conductivity import conductivity_of_orders
from kappaforge.transport.force_constants import phonopy_with
from kappaforge.transport.forces import supercell_forces
from kappaforge.transport.orders import order2, order3
from kappaforge.transport.primitive import primitive_crystal
from kappaforge.transport.settings import KappaSettings

REFERENCE = Path(__file__).parent.parent / "training" / "carbon" / "reference"
"""Where `training/carbon/reference/diamond.py` wrote its labels and results."""

VOLUME_RATIOS = np.linspace(0.96, 1.04, 9)
POINTS_ON_PATH = 301
SOFTEST_THZ = 1.0
"""Below this, next to Γ, relative deviations of acoustic modes are those of round-off."""


@dataclass(frozen=True, eq=False)
class Reference:
    """Our own DFT of diamond and lonsdaleite; see `training/carbon/reference/diamond.py` for settings."""

    results: dict[str, Any]
    labels: dict[str, Label]

    @property
    def lattice_constant_ang(self) -> float:
        """Of the cube, Å."""
        return float(self.results["lattice_constant_ang"])

    @cached_property
    def dispersion_thz(self) -> np.ndarray:
        """The frequencies along the path, THz, shape (n_points, 6)."""
        part = self.results["diamond"]
        label = self.labels[part["label"]]
        crystal = diamond(self.lattice_constant_ang)
        phonopy = one_displacement(crystal, np.array(part["supercell"]), part["displacement_ang"])
        assert label.forces_ev_per_ang is not None, "read_labels takes none without"
        return dispersion_thz(phonopy, label.forces_ev_per_ang[_places(phonopy, label.crystal)])


def read_reference() -> Reference:
    """Read the reference that is part of the repository."""
    files = sorted(REFERENCE.glob("labels-k*.extxyz"), reverse=True)
    results = json.loads((REFERENCE / "diamond.json").read_text())
    wanted = {part["engine"] for name in ("diamond", "lonsdaleite") if (part := results.get(name))}
    labels = {label.id: label for path in files for label in read_labels(path) if label.engine in wanted}
    return Reference(results, labels)


def diamond(a_ang: float) -> Crystal:
    """Return the primitive cell, two atoms, with lattice constant a in Å."""
    cell = a_ang / 2 * (1 - np.eye(3))
    return Crystal(cell, np.array([[0, 0, 0], [1, 1, 1]]) * a_ang / 4, np.array([6, 6]), id="diamond")


def lattice(potential: Potential, start_ang: float) -> dict[str, float]:
    """Relax diamond and fit Birch and Murnaghan's equation of state; Å and GPa."""
    record = relax([diamond(start_ang)], potential, RelaxSettings().tightened())[0]
    if record.status != "ok":
        raise KappaforgeError(f"diamond does not relax: {record.reason}")
    a_ang = float((4 * record.crystal.volume_ang3) ** (1 / 3))
    crystals = [diamond(a_ang * ratio ** (1 / 3)) for ratio in VOLUME_RATIOS]
    volumes = np.array([crystal.volume_ang3 for crystal in crystals])
    energies = potential.compute(Batch.of(crystals)).energies_ev
    _, _, modulus = EquationOfState(volumes, energies, eos="birchmurnaghan").fit()
    return {"lattice_constant_ang": a_ang, "bulk_modulus_gpa": float(modulus / units.GPa)}


def one_displacement(crystal: Crystal, supercell: np.ndarray, displacement_ang: float) -> Phonopy:
    """Set up phonopy with its first atom displaced along x, which is all that diamond's symmetry leaves to do.

    Parameters
    ----------
    crystal
        Diamond in its primitive cell.
    supercell
        In terms of that, as rows, shape (3, 3).
    displacement_ang
        Å.
    """
    phonopy = phonopy_with(crystal, supercell)
    move: dict[str, Any] = {"number": 0, "displacement": [displacement_ang, 0.0, 0.0]}
    dataset: Any = {"natom": len(phonopy.supercell), "first_atoms": [move]}
    phonopy.dataset = dataset
    return phonopy


def _places(phonopy: Phonopy, labelled: Crystal) -> np.ndarray:
    """Return where each atom of phonopy's displaced supercell stands in a labelled one; in both the first is displaced.

    Their first atoms may be different images of each other, so positions count from there.
    """
    cell = (phonopy.supercells_with_displacements or [])[0]
    ours, theirs = cell.positions - cell.positions[0], labelled.positions - labelled.positions[0]
    apart = (ours[:, None] - theirs) @ np.linalg.inv(labelled.cell)
    distances = np.linalg.norm((apart - np.rint(apart)) @ labelled.cell, axis=2)
    places = distances.argmin(axis=1)
    if len(set(places)) < len(labelled) or distances.min(axis=1).max() > 1e-4:
        raise KappaforgeError(f"label {labelled.id} is not of the displaced supercell that phonopy makes")
    return places


def dispersion_thz(phonopy: Phonopy, forces_ev_per_ang: np.ndarray) -> np.ndarray:
    """Return the frequencies, THz, ascending, along the path of Setyawan and Curtarolo that ends where it breaks.

    The path is Γ-X-W-K-Γ-L-U-W-L-K (doi 10.1016/j.commatsci.2010.05.010).
    """
    phonopy.forces = [forces_ev_per_ang]
    phonopy.produce_force_constants(show_drift=False)
    phonopy.symmetrize_force_constants(level=3, show_drift=False)
    return phonopy.run_qpoints(path(phonopy.primitive.cell)[0]).frequencies


def path(cell: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return the q points in fractional coordinates, (n_points, 3), and the label of each that has one."""
    band_path = Cell(cell).bandpath("GXWKGLUWLK", npoints=POINTS_ON_PATH)
    labels = [""] * len(band_path.kpts)
    for name, point in band_path.special_points.items():
        for index in np.flatnonzero(np.abs(band_path.kpts - point).max(axis=1) < 1e-9):
            labels[index] = name.replace("G", "Γ")
    return band_path.kpts, labels


def phonons(potential: Potential, a_ang: float, reference: Reference) -> dict[str, Any]:
    """Compare the dispersion with the reference's: same supercell and displacement, each at its own lattice constant.

    The deviations are in per cent: of all modes on the path relative to their RMS frequency, and of the worst mode
    relative to itself.
    """
    part = reference.results["diamond"]
    phonopy = one_displacement(diamond(a_ang), np.array(part["supercell"]), part["displacement_ang"])
    forces = supercell_forces(potential, phonopy.supercell, phonopy.supercells_with_displacements or [], "single-atom")
    ours, theirs = dispersion_thz(phonopy, forces[0]), reference.dispersion_thz
    _, labels = path(phonopy.primitive.cell)
    counted = theirs > SOFTEST_THZ
    relative = np.where(counted, ours / np.where(counted, theirs, 1.0) - 1, 0.0)
    point, band = np.unravel_index(np.abs(relative).argmax(), relative.shape)
    return {
        "optical_at_gamma_thz": float(ours[0].max()),
        "rms_deviation_percent": float(100 * np.sqrt(((ours - theirs) ** 2).mean() / (theirs**2).mean())),
        "rms_relative_deviation_percent": float(100 * np.sqrt((relative[counted] ** 2).mean())),
        "max_deviation_percent": float(100 * relative[point, band]),
        "max_deviation_at": f"mode {band + 1} at {_where(labels, int(point))}",
        "special_points_thz": at_special_points(ours, labels),
    }


def at_special_points(frequencies_thz: np.ndarray, labels: Sequence[str]) -> dict[str, list[float]]:
    """Return the distinct frequencies at the labelled points, THz."""
    found: dict[str, list[float]] = {}
    for index, label in enumerate(labels):
        if label and label not in found:
            found[label] = sorted({round(float(each), 2) + 0.0 for each in frequencies_thz[index]})
    return found


def _where(labels: Sequence[str], point: int) -> str:
    marked = [index for index, label in enumerate(labels) if label]
    if point in marked:
        return labels[point]
    after = int(np.searchsorted(marked, point))
    first, last = marked[after - 1], marked[after]
    return f"{(point - first) / (last - first):.2f} of {labels[first]}-{labels[last]}"


def forces_of_displacements(potential: Potential, reference: Reference) -> dict[str, float]:
    """Return the relative RMS error, per cent, of the forces that one displaced atom adds, at the DFT's geometries."""

    def added(label_id: str, rest_id: str | None) -> tuple[np.ndarray, np.ndarray]:
        labels = [reference.labels[each] for each in (label_id, rest_id) if each]
        ours = [potential.compute(Batch.of([label.crystal])).forces_ev_per_ang for label in labels]
        theirs = [label.forces_ev_per_ang for label in labels if label.forces_ev_per_ang is not None]
        return (ours[0] - ours[1], theirs[0] - theirs[1]) if rest_id else (ours[0], theirs[0])

    wanted = {"diamond": [(reference.results["diamond"]["label"], None)]}
    if "lonsdaleite" in reference.results:
        rest, *moved = reference.results["lonsdaleite"]["labels"]
        wanted["lonsdaleite"] = [(each, rest) for each in moved]
    errors = {}
    for name, pairs in wanted.items():
        ours, theirs = (np.concatenate(each) for each in zip(*(added(*pair) for pair in pairs), strict=True))
        errors[name] = float(100 * np.sqrt(((ours - theirs) ** 2).mean() / (theirs**2).mean()))
    return errors


def kappa(potential: Potential, a_ang: float, settings: KappaSettings) -> dict[str, Any]:
    """Return κ of diamond in W/(m·K) without and with the scattering at natural isotopes, from the same forces.

    It is that of method "converged": in the relaxation-time approximation and of the whole transport equation, each
    extrapolated to an infinitely fine mesh where the settings say so, with the error of the second that this leaves.
    """
    primitive = primitive_crystal(diamond(a_ang), settings.symprec_ang)
    second = order2(primitive, potential, settings.force_constants)
    third = order3(primitive, potential, settings.force_constants)
    answer: dict[str, Any] = {}
    for suffix, isotopes in (("", False), ("_natural_isotopes", True)):
        own = replace(settings, isotope_scattering=isotopes)
        record = conductivity_of_orders(primitive, second, third, own, source=potential.name)
        if record.solution is None:
            raise KappaforgeError(f"diamond has no κ: {record.reason}")
        answer |= {
            "meshes": record.meshes,
            "n_displacements": record.n_displacements,
            f"rta{suffix}": record.kappa_rta_max_w_per_mk,
            f"lbte{suffix}": record.kappa_lbte_max_w_per_mk,
            f"mesh_error{suffix}": record.solution.mesh_error_w_per_mk,
            f"by_mesh{suffix}": record.solution.by_mesh,
        }
    return answer

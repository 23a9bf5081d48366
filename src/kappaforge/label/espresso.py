"""Labels by Quantum ESPRESSO's pw.x (doi 10.1088/0953-8984/21/39/395502). It is GPL: called where installed."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from subprocess import CalledProcessError
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ase.calculators.calculator import all_changes
from ase.calculators.espresso import Espresso, EspressoProfile
from ase.config import cfg
from ase.stress import voigt_6_to_full_3x3_stress
from ase.units import Ry

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError, suggestion
from kappaforge.label.base import Label, one_line
from kappaforge.label.kpoints import kpoint_mesh, reduced
from kappaforge.label.pseudopotentials import Pseudopotential, choose
from kappaforge.label.settings import LabelSettings

DEBIAN_PSEUDOPOTENTIALS = "/usr/share/espresso/pseudo"
"""Where the Debian package puts them; ``ESPRESSO_PSEUDO`` names another folder, as it does for pw.x itself."""

DENSITY_FACTOR = 8
"""Cutoff of the density over that of the wave functions, for ultrasoft and PAW (pw.x's documentation: 8 to 12)."""

CONVERGENCE_RY_PER_ATOM = 1e-9
"""Estimated error of the energy; that of the forces is then below 1 meV/Å."""


@dataclass(frozen=True)
class Functional:
    """How pw.x names a functional, and the one its pseudopotentials are made with: there are none for vdW-DF."""

    input_dft: str
    pseudopotentials: str


FUNCTIONALS = {
    "optB88-vdW": Functional("vdw-df-obk8", "PBE"),
    "PBE": Functional("pbe", "PBE"),
    "PBEsol": Functional("pbesol", "PBEsol"),
    "LDA": Functional("pz", "LDA"),
}
"""By GPAW's names, so that one setting serves both engines."""


class EspressoLabeler:
    """See `kappaforge.label.base.Labeler`; one process of pw.x for each crystal.

    A process kept alive through its socket would save a van-der-Waals functional its kernel table, but carries basis,
    symmetry and k points of its first crystal to all others; ``docs/method/labels.md`` has the measurement.

    The command comes from ASE's configuration, section ``espresso`` (there also ``pseudo_dir``); without one it is
    ``pw.x``.

    Raises
    ------
    InputError
        Where pw.x does not run, its pseudopotentials are missing, or the functional is unknown.
    """

    name = "espresso"

    def __init__(self, settings: LabelSettings) -> None:
        if settings.xc not in FUNCTIONALS:
            raise InputError(
                f"[label] xc: labeler 'espresso' does not know {settings.xc!r}{suggestion(settings.xc, FUNCTIONALS)}"
            )
        section: Mapping[str, str] = cfg.parser["espresso"] if cfg.parser.has_section("espresso") else {}
        folder = section.get("pseudo_dir") or os.environ.get("ESPRESSO_PSEUDO") or DEBIAN_PSEUDOPOTENTIALS
        self.settings = settings
        self._functional = FUNCTIONALS[settings.xc]
        self._profile = EspressoProfile(section.get("command", "pw.x"), folder)
        self._version = version_of(self._profile.command)
        self._pseudopotentials = choose(Path(folder), self._functional.pseudopotentials)
        if not self._pseudopotentials:
            raise InputError(
                f"labeler 'espresso' found no {self._functional.pseudopotentials} pseudopotentials (UPF) in {folder}: "
                "apt-get install quantum-espresso-data, or set ESPRESSO_PSEUDO to a folder that has them"
            )

    @property
    def fingerprint(self) -> str:
        """Engine, version, settings and pseudopotentials in words.

        Of every element at hand, so that crystals of other elements have the same; one digest over all of them.
        """
        settings, potentials = self.settings, self._pseudopotentials.values()
        digest = hashlib.sha256("".join(each.digest for each in potentials).encode()).hexdigest()[:16]
        return (
            f"espresso {self._version}, {settings.xc} ({self._functional.input_dft}), PW {settings.cutoff_ev:g} eV, "
            f"density {DENSITY_FACTOR * settings.cutoff_ev:g} eV, "
            f"kspacing {settings.kspacing_per_ang:g}/Å Γ-centred in the Niggli cell, "
            f"Fermi-Dirac {settings.smearing_ev:g} eV, energy {CONVERGENCE_RY_PER_ATOM:g} Ry/atom, "
            f"{'spin-polarised' if settings.spin_polarised else 'spin-paired'}, "
            f"pseudopotentials {' '.join(each.path.name for each in potentials)} (sha256 {digest})"
        )

    def label(self, crystal: Crystal) -> Label:
        """Label one crystal."""
        start = time.perf_counter()
        label = Label(crystal.id, crystal, self.fingerprint)
        if problem := self._unsuitable(crystal):
            return replace(label, status="failed", reason=problem)
        with TemporaryDirectory(prefix="kappaforge-espresso-") as folder:
            label = self._run(label, Path(folder))
        return replace(label, seconds=time.perf_counter() - start)

    def _unsuitable(self, crystal: Crystal) -> str:
        """Return why the crystal's elements cannot be computed; empty where they can."""
        functional, folder = self._functional.pseudopotentials, self._profile.pseudo_dir
        for element in sorted(crystal.elements):
            if element not in self._pseudopotentials:
                return (
                    f"no {functional} pseudopotential of {element} in {folder}: set ESPRESSO_PSEUDO to a folder with it"
                )
            each = self._pseudopotentials[element]
            needed = max(each.cutoff_ev, each.density_cutoff_ev / DENSITY_FACTOR)
            if needed > self.settings.cutoff_ev + 0.5:
                return f"{each.path.name} needs a cutoff of {needed:.0f} eV; it is {self.settings.cutoff_ev:g} eV"
        return ""

    def _run(self, label: Label, folder: Path) -> Label:
        atoms = reduced(label.crystal).to_ase()
        if self.settings.spin_polarised:
            atoms.set_initial_magnetic_moments(np.full(len(atoms), 0.5))  # as fractions of full polarisation
        calculator = Espresso(profile=self._profile, directory=folder, **self._parameters(label.crystal))
        try:
            calculator.calculate(atoms, ["energy", "forces", "stress"], all_changes)
        except CalledProcessError as error:
            return _complaint(label, (folder / "espresso.pwo").read_text(errors="replace"), error.returncode)
        except (ValueError, LookupError, TypeError, AssertionError) as error:
            return replace(label, status="failed", reason=f"what pw.x wrote cannot be read ({one_line(error)})")
        text = (folder / "espresso.pwo").read_text(errors="replace")
        if "convergence NOT achieved" in text:
            return _complaint(label, text, 0)
        return _judged(label, calculator.results, _smearing_term_ev(text))

    def _parameters(self, crystal: Crystal) -> dict[str, Any]:
        settings = self.settings
        potentials: dict[str, Pseudopotential] = {each: self._pseudopotentials[each] for each in crystal.elements}
        return {
            "pseudopotentials": {element: each.path.name for element, each in potentials.items()},
            "kpts": kpoint_mesh(reduced(crystal), settings.kspacing_per_ang),
            "input_data": {
                "control": {"tprnfor": True, "tstress": True, "disk_io": "none", "outdir": "./"},
                "system": {
                    "input_dft": self._functional.input_dft,
                    "ecutwfc": settings.cutoff_ev / Ry,
                    "ecutrho": DENSITY_FACTOR * settings.cutoff_ev / Ry,
                    "occupations": "smearing",
                    "smearing": "fermi-dirac",
                    "degauss": settings.smearing_ev / Ry,
                },
                "electrons": {
                    "conv_thr": CONVERGENCE_RY_PER_ATOM * len(crystal),
                    "electron_maxstep": settings.max_iterations,
                },
            },
        }


@lru_cache
def version_of(command: str) -> str:
    """Return the version of the pw.x that a command runs; raises `InputError` where it runs none."""
    try:
        return EspressoProfile(command, "").version()
    except (OSError, AssertionError):  # no such program, or one that says something else
        raise InputError(
            f"labeler 'espresso' needs Quantum ESPRESSO, but {command!r} does not run it: apt-get install "
            "quantum-espresso quantum-espresso-data, or set command in section [espresso] of ASE's configuration"
        ) from None


def _judged(label: Label, results: Mapping[str, Any], smearing_term_ev: float) -> Label:
    # Forces and stress are derivatives of the free energy; the label's energy is extrapolated to zero smearing.
    energy = float(results["energy"]) - smearing_term_ev / 2
    forces, stress = np.array(results["forces"]), np.array(voigt_6_to_full_3x3_stress(results["stress"]))
    if not all(np.isfinite(each).all() for each in (energy, forces, stress)):
        return replace(label, status="failed", reason="energy, forces or stress are not finite")
    return replace(label, energy_ev=energy, forces_ev_per_ang=forces, stress_ev_per_ang3=stress)


def _complaint(label: Label, output: str, code: int) -> Label:
    if found := re.search(r"convergence NOT achieved after\s+(\d+) iterations", output):
        return replace(label, status="unconverged", reason=f"not self-consistent after {found.group(1)} iterations")
    if found := re.search(r"Error in routine (\S+).*\n\s*(.+)", output):
        return replace(label, status="failed", reason=f"pw.x: {found.group(1)}: {found.group(2).strip()}")
    return replace(label, status="failed", reason=f"pw.x ended with code {code} and without a message")


def _smearing_term_ev(output: str) -> float:
    """Return -TS, eV, by which the free energy that pw.x prints is below the internal energy."""
    found = re.findall(r"smearing contrib\. \(-TS\)\s*=\s*(\S+) Ry", output)
    return float(found[-1]) * Ry if found else 0.0

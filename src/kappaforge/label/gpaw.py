"""Labels by GPAW in its plane-wave mode (doi 10.1063/5.0182685). GPAW is GPL: called where installed, never bundled."""

from __future__ import annotations

import time
from importlib.metadata import version

import numpy as np

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.label.base import Label, one_line
from kappaforge.label.kpoints import kpoint_mesh, reduced
from kappaforge.label.settings import LabelSettings

TRUSTED_STRESS = frozenset({"LDA", "PBE", "PBEsol"})
"""Functionals whose stress is right. That of optB88-vdW is off by 0.5 to 1.5 GPa against energy-volume curves."""

DENSITY_CONVERGENCE = 1e-5
"""Electrons per valence electron: forces are then within 1 meV/Å of the self-consistent ones."""


class GpawLabeler:
    """See `kappaforge.label.base.Labeler`; one serial process for each crystal.

    Raises
    ------
    InputError
        Where GPAW is not installed or does not know the functional.
    """

    name = "gpaw"

    def __init__(self, settings: LabelSettings) -> None:
        try:
            from gpaw.xc import XC
        except ImportError:
            raise InputError(
                "labeler 'gpaw' needs GPAW: apt-get install g++ libxc-dev libopenblas-dev libfftw3-dev, "
                "then tools/environment gpaw in kappaforge's folder"
            ) from None
        try:
            XC(settings.xc)
        except (NameError, ValueError, KeyError) as error:
            raise InputError(f"[label] xc: labeler 'gpaw' does not know {settings.xc!r} ({one_line(error)})") from None
        self.settings = settings

    @property
    def fingerprint(self) -> str:
        """Engine, version and settings in words."""
        settings = self.settings
        return (
            f"gpaw {version('gpaw')}, setups {version('gpaw-data')}, {settings.xc}, PW {settings.cutoff_ev:g} eV, "
            f"kspacing {settings.kspacing_per_ang:g}/Å Γ-centred in the Niggli cell, "
            f"Fermi-Dirac {settings.smearing_ev:g} eV, density {DENSITY_CONVERGENCE:g}, "
            f"{'spin-polarised' if settings.spin_polarised else 'spin-paired'}"
        )

    def label(self, crystal: Crystal) -> Label:
        """Label one crystal."""
        from gpaw import GPAW, PW, FermiDirac, KohnShamConvergenceError

        start = time.perf_counter()
        settings = self.settings
        atoms = reduced(crystal).to_ase()
        status, reason, energy, forces, stress = "ok", "", None, None, None
        try:
            atoms.calc = GPAW(
                mode=PW(settings.cutoff_ev),
                xc=settings.xc,
                kpts={"size": kpoint_mesh(reduced(crystal), settings.kspacing_per_ang), "gamma": True},
                occupations=FermiDirac(settings.smearing_ev),
                spinpol=settings.spin_polarised,
                eigensolver={"name": "davidson", "niter": 1},  # the same numbers as the default's in 3/4 of its time
                convergence={"density": DENSITY_CONVERGENCE, "energy": 1e-6},
                maxiter=settings.max_iterations,
                txt=None,
            )
            energy = float(atoms.get_potential_energy())
            forces = np.array(atoms.get_forces())
            if settings.xc in TRUSTED_STRESS:
                stress = np.array(atoms.get_stress(voigt=False))
            if not (np.isfinite(energy) and np.isfinite(forces).all()):
                raise ArithmeticError("energy or forces are not finite")
        except KohnShamConvergenceError:
            status, reason = "unconverged", f"not self-consistent after {settings.max_iterations} iterations"
        except FileNotFoundError as error:
            status, reason = "failed", f"GPAW: {str(error).splitlines()[0]}"  # an element without a setup
        except (ValueError, RuntimeError, ArithmeticError, MemoryError) as error:
            # Whatever GPAW finds wrong with one crystal (atoms too close, too few bands), the others go on.
            status, reason = "failed", f"GPAW: {one_line(error)}"
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

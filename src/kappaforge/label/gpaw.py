"""Labels by GPAW in its plane-wave mode (doi 10.1063/5.0182685). GPAW is GPL: called where installed, never bundled."""

from __future__ import annotations

import time
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import spglib

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.label.base import Label
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
        Where GPAW is not installed.
    """

    name = "gpaw"

    def __init__(self, settings: LabelSettings) -> None:
        try:
            import gpaw  # noqa: F401
        except ImportError:
            raise InputError(
                "labeler 'gpaw' needs GPAW: apt-get install g++ libxc-dev libopenblas-dev libfftw3-dev, "
                "then pip install 'kappaforge[gpaw]'"
            ) from None
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
        status, reason, energy, forces, stress = "ok", "", None, None, None
        try:
            energy = float(atoms.get_potential_energy())
            forces = np.array(atoms.get_forces())
            if settings.xc in TRUSTED_STRESS:
                stress = np.array(atoms.get_stress(voigt=False))
            if not (np.isfinite(energy) and np.isfinite(forces).all()):
                raise ArithmeticError("energy or forces are not finite")
        except KohnShamConvergenceError:
            status, reason = "unconverged", f"not self-consistent after {settings.max_iterations} iterations"
        except (ValueError, RuntimeError, ArithmeticError, MemoryError) as error:
            # Whatever GPAW finds wrong with one crystal (atoms too close, too few bands), the others go on.
            status, reason = "failed", f"GPAW: {type(error).__name__}: {error}".splitlines()[0]
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


def reduced(crystal: Crystal) -> Crystal:
    """Return the crystal in its Niggli cell, in the same Cartesian frame: skewed cells need more k points.

    The atoms stay where they are, so energy, forces and stress are those of the crystal as given.
    """
    cell = spglib.niggli_reduce(crystal.cell)
    return crystal if cell is None else replace(crystal, cell=cell)


def kpoint_mesh(crystal: Crystal, kspacing_per_ang: float) -> tuple[int, int, int]:
    """Return the smallest mesh with |b_i| / m_i ≤ `kspacing_per_ang`, where b_i includes 2π (VASP's rule)."""
    reciprocal = 2 * np.pi * np.linalg.norm(np.linalg.inv(crystal.cell).T, axis=1)
    first, second, third = (max(1, int(np.ceil(length / kspacing_per_ang - 1e-9))) for length in reciprocal)
    return first, second, third

"""How crystals are labelled."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from kappaforge.errors import InputError

NO_LABELER = "none"
"""In place of a labeler's name: a campaign then asks for no labels."""


@dataclass(frozen=True)
class LabelSettings:
    """The electronic-structure calculation behind a label.

    Parameters
    ----------
    labeler
        A name of `kappaforge.label.registry.LABELERS`, or ``ase:module.path:factory``, whose factory decides the rest.
    xc
        Exchange-correlation functional, by the engine's name; the paper's is optB88-vdW.
    cutoff_ev
        Plane-wave cutoff, eV (paper: 600).
    kspacing_per_ang
        Largest distance of k points along each reciprocal vector, Å⁻¹ with 2π included (VASP's KSPACING; paper: 0.15).
        For carbon with GPAW, 0.4 is within 0.2 meV/atom and 6 meV/Å of the limit.
    smearing_ev
        Width of the Fermi-Dirac occupation, eV.
    spin_polarised
        Whether the two spins may differ.
    max_iterations
        Self-consistency steps after which a label counts as unconverged.
    """

    labeler: str = "gpaw"
    xc: str = "optB88-vdW"
    cutoff_ev: float = 600.0
    kspacing_per_ang: float = 0.4
    smearing_ev: float = 0.1
    spin_polarised: bool = False
    max_iterations: int = 100

    def __post_init__(self) -> None:
        _require_positive(self, "cutoff_ev", "kspacing_per_ang", "smearing_ev", "max_iterations")


@dataclass(frozen=True)
class VaspSettings:
    """The static VASP calculation behind a label; the defaults are the paper's where it names them.

    Parameters
    ----------
    vdw
        Van-der-Waals functional by pymatgen's name, such as ``optB88``; empty for plain PBE.
    cutoff_ev
        Plane-wave cutoff, eV (ENCUT).
    kspacing_per_ang
        Largest distance of k points along each reciprocal vector, Å⁻¹ with 2π included (KSPACING).
    smearing_ev
        Width of the Gaussian occupation, eV (SIGMA): unlike the tetrahedron method's, its forces hold for metals too.
    spin_polarised
        Whether the two spins may differ (ISPIN).
    energy_convergence_ev
        Change of the cell's energy at which an electronic minimisation ends, eV (EDIFF). The 5e-5 eV per atom of
        pymatgen's set is too coarse for forces.
    """

    vdw: str = "optB88"
    cutoff_ev: float = 600.0
    kspacing_per_ang: float = 0.15
    smearing_ev: float = 0.05
    spin_polarised: bool = True
    energy_convergence_ev: float = 1e-6

    def __post_init__(self) -> None:
        _require_positive(self, "cutoff_ev", "kspacing_per_ang", "smearing_ev", "energy_convergence_ev")


def _require_positive(settings: LabelSettings | VaspSettings, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if not (isfinite(value) and value > 0):
            raise InputError(f"[label] {name}: expected a positive number, got {value!r}")

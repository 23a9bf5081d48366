"""One candidate from crystal to κ: relax tightly, check that its symmetry held, then phonons and transport."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kappaforge.campaign.minimum import tight_minimum
from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.potentials.base import Potential, require_elements
from kappaforge.relax.relaxer import RelaxRecord
from kappaforge.relax.settings import RelaxSettings
from kappaforge.screen.settings import ScreenSettings
from kappaforge.screen.symmetry import SymmetryRecord, symmetry
from kappaforge.transport.conductivity import KappaRecord, conductivity
from kappaforge.transport.settings import KappaSettings


@dataclass(frozen=True)
class CandidateRecord:
    """What became of one candidate on its way to κ; parts that were not reached are None."""

    id: str
    status: str
    reason: str
    crystal: Crystal
    """The crystal as last relaxed."""
    symmetry: SymmetryRecord
    relaxation: RelaxRecord | None
    kappa: KappaRecord | None
    potential: str
    seconds: float

    @property
    def kappa_max_w_per_mk(self) -> float:
        """Largest eigenvalue of κ(RTA), W/(m·K), which the paper selects by; 0 where there is no κ."""
        return (self.kappa.kappa_rta_max_w_per_mk if self.kappa else None) or 0.0


def kappa_of(
    crystal: Crystal,
    potential: Potential,
    relax_settings: RelaxSettings,
    kappa_settings: KappaSettings,
    symmetry_settings: ScreenSettings,
    *,
    relaxed: bool = True,
    modes_folder: Path | None = None,
) -> CandidateRecord:
    """Compute κ of a crystal at the potential's own minimum.

    Parameters
    ----------
    crystal
        Any cell of it.
    relaxed
        Whether to relax it first, tightly and with its space group kept. Without, κ is that of the geometry as given.
    modes_folder
        Where κ is written mode by mode; None for nowhere.

    Returns
    -------
    CandidateRecord
        Of status ``ok``, or ``unconverged``, ``broken_symmetry``, ``unstable`` or ``failed`` with the reason.

    Raises
    ------
    UnsupportedElementError
        When the potential does not know one of the elements.
    """
    require_elements(potential, crystal.elements)
    start = time.perf_counter()
    minimum = tight_minimum(crystal, potential, relax_settings, symmetry_settings, relaxed=relaxed)
    status, reason, kappa = minimum.status, minimum.reason, None
    if status == "ok":
        kappa = _guarded_conductivity(minimum.crystal, potential, kappa_settings, modes_folder)
        status, reason = (kappa.status, kappa.reason) if isinstance(kappa, KappaRecord) else ("failed", kappa)
    return CandidateRecord(
        id=crystal.id,
        status=status,
        reason=reason,
        crystal=minimum.crystal,
        symmetry=minimum.symmetry,
        relaxation=minimum.relaxation,
        kappa=kappa if isinstance(kappa, KappaRecord) else None,
        potential=potential.name,
        seconds=time.perf_counter() - start,
    )


def _guarded_conductivity(
    crystal: Crystal, potential: Potential, settings: KappaSettings, modes_folder: Path | None
) -> KappaRecord | str:
    """κ, or why there is none: one crystal on which a library gives up must not end a campaign of thousands."""
    try:
        return conductivity(crystal, potential, settings, modes_folder)
    except InputError:
        raise
    except (ValueError, RuntimeError, ArithmeticError, IndexError, MemoryError) as error:
        return f"{type(error).__name__} in the phonon calculation: {error}"


def candidate_of(kappa: KappaRecord, symmetry_settings: ScreenSettings) -> CandidateRecord:
    """Return the record of a crystal whose κ did not come from a potential."""
    return CandidateRecord(
        id=kappa.id,
        status=kappa.status,
        reason=kappa.reason,
        crystal=kappa.crystal,
        symmetry=symmetry(kappa.crystal, symmetry_settings),
        relaxation=None,
        kappa=kappa,
        potential=kappa.potential,
        seconds=kappa.seconds,
    )


def candidate_columns(record: CandidateRecord) -> dict[str, Any]:
    """Return the columns of `kappaforge.store.row.Row` that a candidate's way to κ decides."""
    columns: dict[str, Any] = {
        "formula": record.crystal.formula,
        "n_atoms": record.symmetry.n_atoms,
        "space_group_number": record.symmetry.space_group_number,
        "symmetry_operations": record.symmetry.symmetry_operations,
        "density_g_per_cm3": record.crystal.density_g_per_cm3,
        "status": record.status,
        "reason": record.reason,
        "potential": record.potential,
        "seconds": record.seconds,
    }
    if record.relaxation is not None:
        columns["energy_ev_per_atom"] = record.relaxation.energy_ev_per_atom
    if record.kappa is not None:
        columns |= {
            "temperature_k": record.kappa.temperature_k,
            "mesh": record.kappa.mesh,
            "kappa_rta_w_per_mk": record.kappa.kappa_rta_w_per_mk,
            "kappa_rta_max_w_per_mk": record.kappa.kappa_rta_max_w_per_mk,
            "kappa_lbte_w_per_mk": record.kappa.kappa_lbte_w_per_mk,
            "kappa_lbte_max_w_per_mk": record.kappa.kappa_lbte_max_w_per_mk,
            "conduction_w_per_mk_per_ps": record.kappa.conduction_w_per_mk_per_ps,
        }
        if record.kappa.solution is not None:
            columns["kappa_mesh_error_w_per_mk"] = record.kappa.solution.mesh_error_w_per_mk
    return columns

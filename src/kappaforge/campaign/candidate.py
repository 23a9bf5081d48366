"""One candidate from crystal to κ: relax tightly, check that its symmetry held, then phonons and transport.

An unstable crystal may be followed along its imaginary modes to where it is stable.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kappaforge.campaign.minimum import relax_one, tight_minimum
from kappaforge.crystal import Crystal
from kappaforge.errors import KappaforgeError
from kappaforge.potentials.base import Potential, require_elements
from kappaforge.relax.relaxer import RelaxRecord
from kappaforge.relax.settings import RelaxSettings
from kappaforge.screen.bonding import BondingRecord, bonding
from kappaforge.screen.settings import ScreenSettings
from kappaforge.screen.symmetry import SymmetryRecord, symmetry
from kappaforge.transport.conductivity import KappaRecord, conductivity
from kappaforge.transport.failure import TransportError
from kappaforge.transport.follow import displaced_along
from kappaforge.transport.primitive import primitive_crystal
from kappaforge.transport.settings import KappaSettings

LEAST_FALL_EV_PER_ATOM = 1e-6
"""A mode that leads to no lower energy led back to where it came from, or was an artefact of the interpolation."""


@dataclass(frozen=True)
class CandidateRecord:
    """What became of one candidate on its way to κ; parts that were not reached are None."""

    id: str
    status: str
    reason: str
    crystal: Crystal
    """The crystal as last relaxed."""
    symmetry: SymmetryRecord
    bonding: BondingRecord
    relaxation: RelaxRecord | None
    kappa: KappaRecord | None
    potential: str
    seconds: float
    followed: tuple[str, ...] = ()
    """The imaginary modes that were followed from the crystal that came to this one, each with what it changed."""

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
    kappa_settings
        With `follow_imaginary`, a relaxed crystal that is unstable is followed up to so many times; its space group is
        free to change then.
    relaxed
        Whether to relax it first, tightly and with its space group kept. Without, κ is that of the geometry as given.
    modes_folder
        Where κ is written mode by mode; None for nowhere.

    Returns
    -------
    CandidateRecord
        Of the crystal that it was followed to, or of itself, with status ``ok``, or ``unconverged``,
        ``broken_symmetry``, ``unstable`` or ``failed`` with the reason.

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
        kappa = guarded_conductivity(minimum.crystal, potential, kappa_settings, modes_folder)
        status, reason = (kappa.status, kappa.reason) if isinstance(kappa, KappaRecord) else ("failed", kappa)
    record = CandidateRecord(
        id=crystal.id,
        status=status,
        reason=reason,
        crystal=minimum.crystal,
        symmetry=minimum.symmetry,
        bonding=bonding(minimum.crystal),
        relaxation=minimum.relaxation,
        kappa=kappa if isinstance(kappa, KappaRecord) else None,
        potential=potential.name,
        seconds=0.0,
    )
    if relaxed:
        for _ in range(kappa_settings.follow_imaginary):
            if record.status != "unstable":
                break
            n_steps = len(record.followed)
            record = _followed(record, potential, relax_settings, kappa_settings, symmetry_settings, modes_folder)
            if len(record.followed) == n_steps:  # the mode leads nowhere, and would again
                break
    return replace(record, seconds=time.perf_counter() - start)


def _followed(
    record: CandidateRecord,
    potential: Potential,
    relax_settings: RelaxSettings,
    kappa_settings: KappaSettings,
    symmetry_settings: ScreenSettings,
    modes_folder: Path | None,
) -> CandidateRecord:
    """Go along an unstable crystal's imaginary mode to a lower energy; where that fails, the reason says so too."""
    assert record.kappa is not None, "only phonons make a crystal unstable"
    assert record.relaxation is not None, "only relaxed crystals are followed"
    mode = record.kappa.imaginary
    if mode is None:
        why = "no imaginary mode fits into a supercell that is small enough to follow it"
        return replace(record, reason=f"{record.reason}; {why}")
    relaxation = _settled(displaced_along(record.kappa.crystal, mode), potential, relax_settings.tightened())
    if relaxation.status != "ok":
        why = f"following {mode.words} ended {relaxation.status}: {relaxation.reason}"
        return replace(record, reason=f"{record.reason}; {why}")
    change = relaxation.energy_ev_per_atom - record.relaxation.energy_ev_per_atom
    if not change < -LEAST_FALL_EV_PER_ATOM:
        return replace(record, reason=f"{record.reason}; following {mode.words} led to no lower energy")
    now = relaxation.crystal
    kappa = guarded_conductivity(now, potential, kappa_settings, modes_folder)
    found = symmetry(now, symmetry_settings)
    group = kappa.space_group_number if isinstance(kappa, KappaRecord) else found.space_group_number
    step = f"{mode.words}: space group {record.kappa.space_group_number} → {group}, {change:.3g} eV/atom"
    status, reason = (kappa.status, kappa.reason) if isinstance(kappa, KappaRecord) else ("failed", kappa)
    return replace(
        record,
        status=status,
        reason=reason,
        crystal=now,
        symmetry=found,
        bonding=bonding(now),
        relaxation=relaxation,
        kappa=kappa if isinstance(kappa, KappaRecord) else None,
        followed=(*record.followed, step.replace("-", "−")),
    )


def _settled(displaced: Crystal, potential: Potential, tight: RelaxSettings) -> RelaxRecord:
    """Relax with the symmetry that the displacement left, then in the primitive cell and symmetry it came to.

    What it came to holds only as well as the relaxation converged, which along soft directions is not enough for
    phonons to recognise it.
    """
    free = relax_one(displaced, potential, tight)
    if free.status != "ok":
        return free
    try:
        smaller = primitive_crystal(free.crystal, tight.symprec).crystal
    except TransportError:
        return free
    kept = relax_one(smaller, potential, tight)
    if kept.status != "ok" or kept.energy_ev_per_atom > free.energy_ev_per_atom + LEAST_FALL_EV_PER_ATOM:
        return free
    return replace(kept, steps=free.steps + kept.steps, seconds=free.seconds + kept.seconds)


def guarded_conductivity(
    crystal: Crystal, potential: Potential, settings: KappaSettings, modes_folder: Path | None = None
) -> KappaRecord | str:
    """Return κ, or why there is none: one crystal on which a library gives up must not end a campaign of thousands."""
    try:
        return conductivity(crystal, potential, settings, modes_folder)
    except (KappaforgeError, OSError):  # of what the user gave, or of the machine: not of the crystal
        raise
    except Exception as error:
        return f"{type(error).__name__} in the phonon calculation: {error}"


def candidate_of(kappa: KappaRecord, symmetry_settings: ScreenSettings) -> CandidateRecord:
    """Return the record of a crystal whose κ did not come from a potential."""
    return CandidateRecord(
        id=kappa.id,
        status=kappa.status,
        reason=kappa.reason,
        crystal=kappa.crystal,
        symmetry=symmetry(kappa.crystal, symmetry_settings),
        bonding=bonding(kappa.crystal),
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
        "dimensionality": record.bonding.dimensionality,
        "density_g_per_cm3": record.crystal.density_g_per_cm3,
        "status": record.status,
        "reason": record.reason,
        "followed": "; ".join(record.followed),
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

"""A crystal at a potential's own minimum, with the space group that it came with."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from kappaforge.crystal import Crystal
from kappaforge.errors import KappaforgeError
from kappaforge.potentials.base import Potential
from kappaforge.relax.relaxer import RelaxRecord, relax
from kappaforge.relax.settings import RelaxSettings
from kappaforge.screen.settings import ScreenSettings
from kappaforge.screen.symmetry import SymmetryRecord, symmetry


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where phonons start from.

    Parameters
    ----------
    status, reason
        ``ok``, or ``unconverged``, ``failed`` or ``broken_symmetry`` with the reason.
    crystal
        As last relaxed, in the cell it came in.
    symmetry
        Its symmetry.
    relaxation
        None where the crystal was taken as it came.
    """

    status: str
    reason: str
    crystal: Crystal
    symmetry: SymmetryRecord
    relaxation: RelaxRecord | None


def tight_minimum(
    crystal: Crystal,
    potential: Potential,
    relax_settings: RelaxSettings,
    symmetry_settings: ScreenSettings,
    *,
    relaxed: bool = True,
) -> Minimum:
    """Relax a crystal tightly with its space group kept, and check that it was; or take it as it is."""
    before = symmetry(crystal, symmetry_settings)
    if not relaxed:
        return Minimum("ok", "", crystal, before, None)
    relaxation = relax_one(crystal, potential, relax_settings.tightened())
    after = symmetry(relaxation.crystal, symmetry_settings)
    status, reason = relaxation.status, relaxation.reason
    if status == "ok" and (after.symmetry_operations or 0) < (before.symmetry_operations or 0):
        status = "broken_symmetry"
        reason = (
            f"relaxation took it from space group {before.space_group_number} "
            f"({before.symmetry_operations} operations) to {after.space_group_number} ({after.symmetry_operations})"
        )
    return Minimum(status, reason, relaxation.crystal, after, relaxation)


def relax_one(crystal: Crystal, potential: Potential, settings: RelaxSettings) -> RelaxRecord:
    """Relax one crystal; where the potential raises on it, that is this crystal's failure and not the campaign's."""
    start = time.perf_counter()
    try:
        return relax([crystal], potential, settings)[0]
    except (KappaforgeError, OSError, MemoryError):  # of what the user gave, or of the machine: not of the crystal
        raise
    except Exception as error:  # anything: potentials come from elsewhere
        return RelaxRecord(
            id=crystal.id,
            status="failed",
            reason=f"{type(error).__name__} in the relaxation: {error}",
            crystal=crystal,
            energy_ev_per_atom=math.nan,
            fmax_ev_per_ang=math.nan,
            stress_max_gpa=math.nan,
            steps=0,
            seconds=time.perf_counter() - start,
        )

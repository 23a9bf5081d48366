"""κ that matters on finer meshes, until what the mesh leaves is small enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kappaforge.campaign import tasks
from kappaforge.campaign.candidate import CandidateRecord
from kappaforge.campaign.error_bar import Run, bar_of, may_reach
from kappaforge.relax.settings import RelaxSettings
from kappaforge.screen.settings import ScreenSettings
from kappaforge.transport.converged import confirmed
from kappaforge.transport.error_settings import ErrorBarSettings
from kappaforge.transport.settings import KappaSettings

if TYPE_CHECKING:  # it brings torch
    from kappaforge.potentials.allegro_model import AllegroModel

FINER = 1.5
"""From one pair of meshes to the next: the finer mesh becomes the coarser one."""


def refined(
    run: Run,
    records: Sequence[CandidateRecord],
    potential: str | AllegroModel,
    potential_digest: str,
    settings: ErrorBarSettings,
    limit_w_per_mk: float,
    *,
    relax: RelaxSettings,
    kappa: KappaSettings,
    screen: ScreenSettings,
) -> list[CandidateRecord]:
    """Compute κ that may reach a limit again on finer meshes, where the mesh leaves too much.

    Layers and chains are left as they are, since their κ goes on growing with the mesh; so is what a finer mesh has no
    memory for.

    Parameters
    ----------
    run
        Runs the tasks, as `kappaforge.campaign.memo.Memo.map` does.
    records
        Of crystals computed with `potential` and `kappa`.
    potential, potential_digest
        What they were computed with, and what tells it from others of the name.
    settings
        What error of the mesh may be left, and how often it is tried.
    limit_w_per_mk
        κ that matters.
    relax, kappa, screen
        Of the tasks that computed the records.

    Returns
    -------
    list
        The records, in the same order, those of the finest meshes among them.
    """
    best = list(records)
    tolerance = settings.mesh_tolerance
    if tolerance is None or not kappa.extrapolates:
        return best  # with a single mesh nothing is known of its error
    places = list(range(len(best)))
    for _ in range(settings.mesh_times):
        kappa = replace(kappa, mesh_length_ang=FINER * kappa.mesh_length_ang)
        places = [place for place in places if _is_too_coarse(best[place], tolerance, limit_w_per_mk)]
        arguments = [(best[place].crystal, potential, relax, kappa, screen, False) for place in places]
        found = run("finer meshes", tasks.kappa_version(kappa), tasks.compute_kappa, arguments, potential_digest)
        finer = {place: record for place, record in zip(places, found, strict=True) if record.status == "ok"}
        for place, record in finer.items():
            best[place] = _in_place_of(best[place], record)
        places = list(finer)
    return best


def _in_place_of(old: CandidateRecord, finer: CandidateRecord) -> CandidateRecord:
    """Return the record of finer meshes with what only the old one knows, and the error that both together tell."""
    assert old.kappa is not None, "only κ is refined"
    assert finer.kappa is not None, "its status is ok"
    pairs = zip(old.kappa.solutions, finer.kappa.solutions, strict=True)
    kappa = replace(finer.kappa, solutions=tuple(confirmed(before, now) for before, now in pairs))
    seconds = old.seconds + finer.seconds
    return replace(finer, kappa=kappa, relaxation=old.relaxation, followed=old.followed, seconds=seconds)


def _is_too_coarse(record: CandidateRecord, tolerance: float, limit_w_per_mk: float) -> bool:
    if record.bonding.dimensionality != "3D" or not may_reach(record, limit_w_per_mk):
        return False
    bar = bar_of(record)
    return bar.mesh_w_per_mk is not None and bar.mesh_w_per_mk > tolerance * bar.kappa_w_per_mk

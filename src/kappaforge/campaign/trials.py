"""κ of a crystal computed once more, by another potential or with other settings, to tell how sure the first one is."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from kappaforge.campaign.candidate import guarded_conductivity, kappa_of
from kappaforge.crystal import Crystal
from kappaforge.potentials.base import Potential
from kappaforge.relax.settings import RelaxSettings
from kappaforge.screen.settings import ScreenSettings
from kappaforge.transport.failure import TransportError
from kappaforge.transport.primitive import primitive_crystal
from kappaforge.transport.record import KappaRecord, largest_eigenvalue
from kappaforge.transport.settings import KappaSettings
from kappaforge.transport.variations import Variation, steady, wider

OVERSAMPLING = 3.0
"""Of quick fits; beside what their cutoff costs, more would buy little."""


@dataclass(frozen=True)
class Trial:
    """What came of it.

    Parameters
    ----------
    name
        Of the potential, or of what was varied.
    status, reason
        ``ok``, or as of `kappaforge.campaign.candidate.CandidateRecord`.
    kappa_w_per_mk
        Largest eigenvalue of the better solution on the coarsest mesh, W/(m·K); None where there is none.
    n_supercell_atoms
        Atoms in the supercells of second and of third order.
    n_displacements
        Supercells whose forces were computed.
    seconds
        Time it took.
    """

    name: str
    status: str
    reason: str = ""
    kappa_w_per_mk: float | None = None
    n_supercell_atoms: tuple[int, ...] = ()
    n_displacements: int = 0
    seconds: float = 0.0


def quick(settings: KappaSettings, cutoff_ang: float) -> KappaSettings:
    """Return settings for the coarser mesh alone, with fits of third order within a cutoff.

    Finite displacements are left where they take less time.
    """
    constants = replace(
        settings.force_constants,
        way="auto",
        fc2_way="finite",
        fc3_fit_cutoff_ang=cutoff_ang,
        oversampling=OVERSAMPLING,
    )
    return replace(settings, extrapolate=False, force_constants=constants)


def with_displacements(settings: KappaSettings) -> KappaSettings:
    """Return the same with finite displacements, which may do where a fit fails."""
    return replace(settings, force_constants=replace(settings.force_constants, way="finite", fc2_way=None))


def member_settings(crystal: Crystal, settings: KappaSettings) -> KappaSettings:
    """Return settings whose supercells are the same for all members of a committee.

    Where none can be found the settings stay, and each member will say why.
    """
    try:
        constants = steady(primitive_crystal(crystal, settings.symprec_ang), settings.force_constants)
    except TransportError:
        return settings
    return replace(settings, force_constants=constants)


def member_trial(
    crystal: Crystal,
    potential: Potential,
    relax_settings: RelaxSettings,
    settings: KappaSettings,
    symmetry_settings: ScreenSettings,
) -> Trial:
    """Compute κ by one member of a committee, at its own minimum of the crystal."""
    start = time.perf_counter()
    record = kappa_of(crystal, potential, relax_settings, settings, symmetry_settings)
    if record.status == "failed" and record.kappa is not None and settings.force_constants.way != "finite":
        again = with_displacements(settings)
        record = kappa_of(record.crystal, potential, relax_settings, again, symmetry_settings, relaxed=False)
    return _trial(potential.name, record.status, record.reason, record.kappa, start)


def wider_trial(crystal: Crystal, potential: Potential, settings: KappaSettings, what: Variation) -> Trial:
    """Compute κ of the crystal as it is, with one thing wider."""
    start = time.perf_counter()
    try:
        constants = wider(primitive_crystal(crystal, settings.symprec_ang), settings.force_constants, what)
    except TransportError as failure:
        return Trial(what, failure.status, failure.reason, seconds=time.perf_counter() - start)
    kappa = guarded_conductivity(crystal, potential, replace(settings, force_constants=constants))
    if isinstance(kappa, str):
        return _trial(what, "failed", kappa, None, start)
    return _trial(what, kappa.status, kappa.reason, kappa, start)


def coarse_kappa_w_per_mk(kappa: KappaRecord) -> float:
    """Return the largest eigenvalue of the better solution on the coarsest mesh, which trials are compared on."""
    assert kappa.solution is not None, "only of a record with κ"
    if not kappa.solution.by_mesh:  # phono3py's one mesh
        return largest_eigenvalue(kappa.solution.kappa_rta_w_per_mk)
    rta, lbte = kappa.solution.by_mesh[0]
    return rta if lbte is None else lbte


def _trial(name: str, status: str, reason: str, kappa: KappaRecord | None, start: float) -> Trial:
    return Trial(
        name=name,
        status=status,
        reason=reason,
        kappa_w_per_mk=coarse_kappa_w_per_mk(kappa) if kappa is not None and kappa.solution is not None else None,
        n_supercell_atoms=kappa.n_supercell_atoms if kappa is not None else (),
        n_displacements=kappa.n_displacements if kappa is not None else 0,
        seconds=time.perf_counter() - start,
    )

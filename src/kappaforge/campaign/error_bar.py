"""The error bar of κ where it matters: of the mesh, of supercells and cutoff, and how far a committee disagrees."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import hypot
from typing import TYPE_CHECKING, Any

import numpy as np

from kappaforge.campaign import tasks
from kappaforge.campaign.candidate import CandidateRecord
from kappaforge.campaign.trials import Trial, coarse_kappa_w_per_mk, quick
from kappaforge.potentials import registry as potentials
from kappaforge.potentials.base import Potential
from kappaforge.relax.settings import RelaxSettings
from kappaforge.screen.settings import ScreenSettings
from kappaforge.transport.error_settings import ErrorBarSettings
from kappaforge.transport.record import largest_eigenvalue
from kappaforge.transport.settings import KappaSettings
from kappaforge.transport.variations import Variation

if TYPE_CHECKING:  # it brings torch
    from kappaforge.potentials.allegro_model import AllegroModel

LEAST_MEMBERS = 2
"""In which a crystal must be stable, for a standard deviation."""

MEMBER_VERSION = 1
"""Of `compute_member_kappa`: raise it when the same arguments give another trial."""

WIDER_VERSION = 1
"""The same of `compute_wider_kappa`."""

VARIATIONS: tuple[Variation, ...] = ("supercells", "cutoff")

Run = Callable[[str, int, Callable[..., Any], Sequence[tuple[Any, ...]], str], list[Any]]
"""Runs tasks as `kappaforge.campaign.memo.Memo.map` does: step, version, function, arguments, digest of the model."""


@dataclass(frozen=True)
class ErrorBar:
    """What may be wrong about the largest eigenvalue of κ; what was not looked at, or came to nothing, is None.

    Parameters
    ----------
    kappa_w_per_mk
        The largest eigenvalue, of the better solution, W/(m·K).
    coarse_w_per_mk
        The same on the coarsest mesh, which trials with larger supercells and a wider cutoff are compared to.
    mesh_w_per_mk
        Error of the mesh.
    wider
        Trials with one thing wider, by its name: "supercells", "cutoff".
    members
        A trial by each member of the potential's committee; empty for none.
    """

    kappa_w_per_mk: float
    coarse_w_per_mk: float
    mesh_w_per_mk: float | None = None
    wider: tuple[Trial, ...] = ()
    members: tuple[Trial, ...] = ()

    @property
    def supercell_w_per_mk(self) -> float | None:
        """What larger supercells change, W/(m·K)."""
        return self._change("supercells")

    @property
    def cutoff_w_per_mk(self) -> float | None:
        """What a wider cutoff of third order changes, W/(m·K)."""
        return self._change("cutoff")

    @property
    def n_stable(self) -> int:
        """Members in which the crystal is stable and has κ."""
        return len(self._member_kappas())

    @property
    def committee_spread(self) -> float | None:
        """Standard deviation of ln κ over the members in which the crystal is stable: about that of κ, relative."""
        kappas = self._member_kappas()
        return float(np.std(np.log(kappas), ddof=1)) if len(kappas) >= LEAST_MEMBERS else None

    @property
    def committee_w_per_mk(self) -> float | None:
        """The spread times κ, W/(m·K)."""
        return None if self.committee_spread is None else self.committee_spread * self.kappa_w_per_mk

    @property
    def parts_w_per_mk(self) -> dict[str, float]:
        """The errors that are known, by name, W/(m·K)."""
        parts = {
            "mesh": self.mesh_w_per_mk,
            "supercells": self.supercell_w_per_mk,
            "cutoff": self.cutoff_w_per_mk,
            "committee": self.committee_w_per_mk,
        }
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def total_w_per_mk(self) -> float | None:
        """All that are known as if they were independent, W/(m·K)."""
        parts = self.parts_w_per_mk
        return hypot(*parts.values()) if parts else None

    @property
    def notes(self) -> str:
        """What came of trials that came to nothing, with the reasons; empty where all have κ."""
        lost = [trial for trial in self.members if _kappa(trial) is None]
        without = [*lost, *(trial for trial in self.wider if _kappa(trial) is None)]
        notes = [f"{trial.name}: {trial.status}, {trial.reason}" for trial in without]
        if lost:
            notes.insert(0, f"{len(lost)} of {len(self.members)} members of the committee without κ")
        return "; ".join(notes)

    @property
    def seconds(self) -> float:
        """Time of all trials."""
        return sum(trial.seconds for trial in (*self.wider, *self.members))

    def _change(self, what: Variation) -> float | None:
        for trial in self.wider:
            if trial.name == what and (kappa := _kappa(trial)) is not None:
                return abs(kappa / self.coarse_w_per_mk - 1) * self.kappa_w_per_mk
        return None

    def _member_kappas(self) -> list[float]:
        return [kappa for trial in self.members if (kappa := _kappa(trial)) is not None]


def error_bars(
    run: Run,
    records: Sequence[CandidateRecord],
    potential: str | AllegroModel | Potential,
    potential_digest: str,
    members: Sequence[str | AllegroModel],
    settings: ErrorBarSettings,
    *,
    relax: RelaxSettings,
    kappa: KappaSettings,
    screen: ScreenSettings,
) -> list[ErrorBar | None]:
    """Tell how sure the κ of some crystals are.

    Parameters
    ----------
    run
        Runs the tasks; each member and each variation of each crystal is one of its own.
    records
        Of crystals computed with `potential` and `kappa`.
    potential, potential_digest
        What they were computed with, and what tells it from others of the name; a potential itself only where `run`
        keeps nothing.
    members
        The potential's committee, such as `kappaforge.potentials.registry.committee` gives it; empty for none.
    settings, relax, kappa, screen
        Of the error bar, and of the tasks that computed the records.

    Returns
    -------
    list
        One for each record, None where it has no κ. By the paper's protocol, which fixes supercell and cutoff, those
        are not varied.
    """
    places = [place for place, record in enumerate(records) if record.status == "ok" and _has_kappa(record)]
    good = [records[place] for place in places]
    by_member = _members(run, good, members, relax, kappa, screen, settings) if settings.committee else {}
    varied = _wider(run, good, potential, potential_digest, kappa) if settings.cutoffs else {}
    bars: list[ErrorBar | None] = [None] * len(records)
    for number, (place, record) in enumerate(zip(places, good, strict=True)):
        bars[place] = replace(bar_of(record), members=by_member.get(number, ()), wider=varied.get(number, ()))
    return bars


def bar_of(record: CandidateRecord) -> ErrorBar:
    """Return what a record with κ tells by itself: the error of the mesh."""
    assert record.kappa is not None, "only of a record with κ"
    assert record.kappa.solution is not None, "only of a record with κ"
    solution = record.kappa.solution
    return ErrorBar(
        kappa_w_per_mk=largest_eigenvalue(solution.kappa_w_per_mk),
        coarse_w_per_mk=coarse_kappa_w_per_mk(record.kappa),
        mesh_w_per_mk=solution.mesh_error_w_per_mk,
    )


def of_record(bar: ErrorBar, record: CandidateRecord) -> ErrorBar:
    """Return an error bar for the same crystal's κ on other meshes: committee and wider trials tell relative errors."""
    own = bar_of(record)
    return replace(bar, kappa_w_per_mk=own.kappa_w_per_mk, mesh_w_per_mk=own.mesh_w_per_mk)


def reaches(record: CandidateRecord, limit_w_per_mk: float) -> bool:
    """Return whether κ is not below a limit, whatever its error."""
    return record.status == "ok" and _has_kappa(record) and bar_of(record).kappa_w_per_mk >= limit_w_per_mk


def may_reach(record: CandidateRecord, limit_w_per_mk: float) -> bool:
    """Return whether κ, with the error of its mesh, is not below a limit."""
    if record.status != "ok" or not _has_kappa(record):
        return False
    bar = bar_of(record)
    return bar.kappa_w_per_mk + (bar.mesh_w_per_mk or 0.0) >= limit_w_per_mk


def error_columns(bar: ErrorBar | None) -> dict[str, Any]:
    """Return the columns of `kappaforge.store.row.Row` that an error bar decides."""
    if bar is None:
        return {}
    return {
        "kappa_supercell_error_w_per_mk": bar.supercell_w_per_mk,
        "kappa_cutoff_error_w_per_mk": bar.cutoff_w_per_mk,
        "kappa_committee_spread": bar.committee_spread,
        "kappa_committee_members": len(bar.members) or None,
        "kappa_committee_stable": bar.n_stable if bar.members else None,
        "kappa_error_w_per_mk": bar.total_w_per_mk,
        "kappa_error_notes": bar.notes,
    }


def _members(
    run: Run,
    records: Sequence[CandidateRecord],
    members: Sequence[str | AllegroModel],
    relax: RelaxSettings,
    kappa: KappaSettings,
    screen: ScreenSettings,
    settings: ErrorBarSettings,
) -> dict[int, tuple[Trial, ...]]:
    if not (members and records):
        return {}
    cheap = quick(replace(_at_one_temperature(kappa), method="converged"), settings.fit_cutoff_ang)
    constants = cheap.force_constants
    nearest_ang = min(settings.fc3_face_distance_ang, constants.fc3_face_distance_ang)
    cutoff_ang = constants.fc3_cutoff_ang if settings.fc3_cutoff_ang is None else settings.fc3_cutoff_ang
    constants = replace(constants, fc3_face_distance_ang=nearest_ang, fc3_cutoff_ang=cutoff_ang)
    cheap = replace(cheap, force_constants=constants)
    wanted = [(record.crystal, _on_mesh(record, cheap)) for record in records]
    steady = run("supercells of the committee", MEMBER_VERSION, tasks.steady_settings, wanted, "")
    arguments = [
        (record.crystal, member, relax, one, screen)
        for record, one in zip(records, steady, strict=True)
        for member in members
    ]
    trials = run("committee", MEMBER_VERSION, tasks.compute_member_kappa, arguments, committee_digest(members))
    return _in_groups(trials, len(members))


def _wider(
    run: Run,
    records: Sequence[CandidateRecord],
    potential: str | AllegroModel | Potential,
    potential_digest: str,
    kappa: KappaSettings,
) -> dict[int, tuple[Trial, ...]]:
    if kappa.method == "paper" or not records:
        return {}
    arguments = []
    for record in records:
        assert record.kappa is not None, "those without κ are left out"
        second, third = record.kappa.ways
        constants = replace(kappa.force_constants, fc2_way=second, way=third)  # type: ignore[arg-type]
        settings = replace(_on_mesh(record, _at_one_temperature(kappa)), force_constants=constants)
        arguments += [(record.crystal, potential, settings, what) for what in VARIATIONS]
    trials = run("wider", WIDER_VERSION, tasks.compute_wider_kappa, arguments, potential_digest)
    return _in_groups(trials, len(VARIATIONS))


def committee_digest(members: Sequence[str | AllegroModel]) -> str:
    """Return what tells a committee from others of the same names."""
    digests = []
    for member in members:
        if isinstance(member, str):
            digests.append(potentials.load(member).digest)
        else:
            from kappaforge.potentials.model_file import model_digest

            digests.append(model_digest(member))
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def _at_one_temperature(kappa: KappaSettings) -> KappaSettings:
    return replace(kappa, more_temperatures_k=(), follow_imaginary=0)


def _on_mesh(record: CandidateRecord, settings: KappaSettings) -> KappaSettings:
    """Return settings for the coarsest mesh of a record and the better of its solutions."""
    assert record.kappa is not None, "those without κ are left out"
    return replace(settings, mesh=record.kappa.meshes[0], level=record.kappa.level)


def _in_groups(trials: Sequence[Trial], size: int) -> dict[int, tuple[Trial, ...]]:
    """Cut the trials of all records into those of each, by the record's place."""
    return {start // size: tuple(trials[start : start + size]) for start in range(0, len(trials), size)}


def _has_kappa(record: CandidateRecord) -> bool:
    return record.kappa is not None and record.kappa.solution is not None


def _kappa(trial: Trial) -> float | None:
    """Return κ of a trial; a crystal that nothing holds together in some directions has none to take a logarithm of."""
    return trial.kappa_w_per_mk if trial.status == "ok" and (trial.kappa_w_per_mk or 0.0) > 0 else None

"""κ of many crystals at the least cost: each is taken only as far as it may matter, and none is dropped in silence.

Three rungs: harmonic phonons (stability, Σ C v² / 3V), the relaxation-time approximation, the whole transport equation.
A crystal climbs while κ might still reach the limit of interest. What κ might be is told by regressions that the run
itself makes, from crystals taken on for that purpose at even distances along the whole range, low and high.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kappaforge.campaign import tasks
from kappaforge.campaign.candidate import CandidateRecord
from kappaforge.campaign.error_bar import ErrorBar, error_bars, may_reach
from kappaforge.campaign.memo import Memo
from kappaforge.campaign.trials import with_displacements
from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.relax.settings import RelaxSettings
from kappaforge.screen.settings import ScreenSettings
from kappaforge.screen.unique import group
from kappaforge.transport.error_settings import ErrorBarSettings
from kappaforge.transport.record import largest_eigenvalue
from kappaforge.transport.settings import KappaSettings, Level

if TYPE_CHECKING:  # it brings torch
    from kappaforge.potentials.allegro_model import AllegroModel

LEAST_FACTOR = 1.05
"""No regression of a handful of crystals is trusted to be better."""


@dataclass(frozen=True)
class LadderSettings:
    """Which crystals climb.

    Parameters
    ----------
    limit_w_per_mk
        κ of interest, in W/(m·K): a crystal stays behind when its κ is below this within the error allowed.
    sigmas
        The error allowed, in standard deviations of the regressions' logarithms.
    calibration
        Crystals that climb at any rate, for the regressions.
    rta_fc3_face_distance_ang
        Least distance in supercells of third order on the second rung, in Å, less than κ itself wants; κ is that of the
        coarser mesh. The regression to the last rung, which spares nothing, tells how far off.
    """

    limit_w_per_mk: float = 800.0
    sigmas: float = 2.0
    calibration: int = 8
    rta_fc3_face_distance_ang: float = 6.8

    def __post_init__(self) -> None:
        for name in ("limit_w_per_mk", "sigmas", "rta_fc3_face_distance_ang"):
            value = getattr(self, name)
            if not (isfinite(value) and value > 0):
                raise InputError(f"ladder, {name}: expected a positive, finite number, got {value!r}")
        if not (isinstance(self.calibration, int) and self.calibration >= 3):
            raise InputError(f"ladder, calibration: expected a whole number from 3 up, got {self.calibration!r}")


class Regression(NamedTuple):
    """log κ as a line in the logarithm of something known before.

    =========  ===========================================================================
    field      content
    =========  ===========================================================================
    slope      of the line
    intercept  of the line
    factor     κ lies between the line divided by this and the line times this, as allowed
    n          crystals it was made of
    =========  ===========================================================================
    """

    slope: float
    intercept: float
    factor: float
    n: int

    def __call__(self, known: float) -> float:
        """Return what is expected, W/(m·K): anything of what is not positive, so that it climbs."""
        return float(np.exp(self.intercept + self.slope * np.log(known))) if known > 0 else np.inf


class Rung(NamedTuple):
    """Where one crystal stands.

    ==================  ==============================================================================
    field               content
    ==================  ==============================================================================
    record              of the highest rung it was computed on
    level               that rung
    reason              why it went no further; empty at the top
    expected_w_per_mk   κ of the next rung as expected before; None where nothing was
    factor              its error, times or divided by
    error_bar           of κ on the highest rung, where it may reach the limit
    ==================  ==============================================================================
    """

    record: CandidateRecord
    level: Level
    reason: str = ""
    expected_w_per_mk: float | None = None
    factor: float | None = None
    error_bar: ErrorBar | None = None


@dataclass(frozen=True)
class Climbed:
    """All crystals, in the order given, and the regressions from harmonic to RTA and from RTA to the whole equation."""

    rungs: tuple[Rung, ...]
    from_harmonic: Regression | None
    from_rta: Regression | None

    @property
    def records(self) -> list[CandidateRecord]:
        """Of all crystals, each of the highest rung it was computed on."""
        return [rung.record for rung in self.rungs]

    @property
    def at_the_top(self) -> list[CandidateRecord]:
        """Those of the last rung."""
        return [rung.record for rung in self.rungs if rung.level == "full"]


Compute = Callable[[Level, Sequence[int]], dict[int, CandidateRecord]]
"""Computes crystals, given by their places, on one level."""


def climb(
    memo: Memo,
    crystals: Sequence[Crystal],
    potential: str | AllegroModel,
    potential_digest: str,
    settings: LadderSettings,
    *,
    relax: RelaxSettings,
    kappa: KappaSettings,
    screen: ScreenSettings,
    errors: ErrorBarSettings,
    members: Sequence[str | AllegroModel] = (),
) -> Climbed:
    """Take crystals up the ladder.

    Parameters
    ----------
    memo
        Runs the tasks and keeps their results.
    crystals
        In any cells; those that relax to the same crystal climb once.
    potential, potential_digest
        Its name, or a model learned on the way, and what tells it from others of the name.
    settings, relax, kappa, screen
        Of the ladder and of its tasks; the level in `kappa` has no meaning here.
    errors, members
        What is looked at for the error bar of κ on the last rung, where it may reach the limit, and the potential's
        committee, such as `kappaforge.potentials.registry.committee` gives it; empty for none.

    Raises
    ------
    InputError
        For the paper's method, which has no rungs.
    """
    if kappa.method == "paper":
        raise InputError('ladder: the paper\'s method has one rung; take [kappa] method = "converged"')
    rungs: dict[int, Rung] = {}
    kappas_of: dict[Level, KappaSettings] = {
        "harmonic": replace(kappa, level="harmonic"),
        "rta": _quick(kappa, settings.rta_fc3_face_distance_ang),
        "full": replace(kappa, level="full"),
    }

    def compute(level: Level, places: Sequence[int]) -> dict[int, CandidateRecord]:
        before = [rungs[place].record if place in rungs else None for place in places]
        starts = [
            (crystals[place], True) if record is None else (record.crystal, False)
            for place, record in zip(places, before, strict=True)
        ]
        arguments = [(crystal, potential, relax, kappas_of[level], screen, relaxed) for crystal, relaxed in starts]
        records = memo.map(
            level, tasks.kappa_version(kappas_of[level]), tasks.compute_kappa, arguments, potential_digest
        )
        return {
            place: record if old is None else replace(record, relaxation=old.relaxation, followed=old.followed)
            for place, record, old in zip(places, records, before, strict=True)
        }

    for place, record in compute("harmonic", range(len(crystals))).items():
        rungs[place] = Rung(record, "harmonic", record.reason)
    standing = _distinct(rungs, memo, screen)
    conduction = {place: _conduction(rungs[place].record) for place in standing}
    from_harmonic = _rise("rta", rungs, conduction, compute, settings)
    kappas = {place: _kappa(rung.record) for place, rung in rungs.items() if _is_done(rung, "rta")}
    from_rta = _rise("full", rungs, kappas, compute, settings)
    top = [
        place
        for place, rung in rungs.items()
        if rung.level == "full" and may_reach(rung.record, settings.limit_w_per_mk)
    ]
    found = [rungs[place].record for place in top]
    bars = error_bars(
        memo.map,
        found,
        potential,
        potential_digest,
        members,
        errors,
        relax=relax,
        kappa=kappas_of["full"],
        screen=screen,
    )
    for place, bar in zip(top, bars, strict=True):
        rungs[place] = rungs[place]._replace(error_bar=bar)
    return Climbed(tuple(rungs[place] for place in range(len(crystals))), from_harmonic, from_rta)


def regression(known: Sequence[float], kappas_w_per_mk: Sequence[float], sigmas: float) -> Regression | None:
    """Fit log κ by a line; None where fewer than three crystals say too little.

    Crystals whose κ or known quantity is not positive, as of parts that nothing connects, do not count. The factor has
    the residuals' deviation for a new crystal, without that of the slope.
    """
    pairs = np.array([known, kappas_w_per_mk], dtype=float).reshape(2, -1)
    pairs = pairs[:, (np.isfinite(pairs) & (pairs > 0)).all(axis=0)]
    n = pairs.shape[1]
    if n < 3:
        return None
    x, y = np.log(pairs)
    spread = float(np.var(x))
    slope = float(np.cov(x, y, bias=True)[0, 1] / spread) if spread > 1e-12 else 0.0
    intercept = float(y.mean() - slope * x.mean())
    deviation = np.sqrt(np.sum((y - intercept - slope * x) ** 2) / (n - 2)) * np.sqrt(1 + 1 / n)
    return Regression(slope, intercept, max(LEAST_FACTOR, float(np.exp(sigmas * deviation))), n)


def evenly(known: Mapping[int, float], n: int) -> list[int]:
    """Return n places at even ranks of what is known of them, the lowest and the highest among them."""
    ranked = sorted(known, key=lambda place: (known[place], place))
    if len(ranked) <= n:
        return ranked
    return [ranked[round(rank)] for rank in np.linspace(0, len(ranked) - 1, n)]


def _rise(
    level: Level, rungs: dict[int, Rung], known: Mapping[int, float], compute: Compute, settings: LadderSettings
) -> Regression | None:
    """Compute what may matter on the next level, put it into `rungs`, and return what the choice was made by."""
    found = compute(level, evenly(known, settings.calibration))
    good = [place for place, record in found.items() if record.status == "ok"]
    line = regression([known[place] for place in good], [_kappa(found[place]) for place in good], settings.sigmas)
    expected = {place: None if line is None else line(known[place]) for place in known}
    going = [
        place
        for place, value in expected.items()
        if place not in found and (line is None or value is None or value * line.factor >= settings.limit_w_per_mk)
    ]
    found |= compute(level, going)
    factor = None if line is None else line.factor
    for place, value in expected.items():
        if place in found:
            rungs[place] = Rung(found[place], level, found[place].reason, value, factor)
        else:
            assert line is not None, "without a line all go on"
            reason = (
                f"{value:.0f} W/(m·K) expected, within a factor of {line.factor:.2f} as {line.n} others tell: "
                f"below {settings.limit_w_per_mk:g}"
            )
            rungs[place] = rungs[place]._replace(reason=reason, expected_w_per_mk=value, factor=factor)
    return line


def _quick(kappa: KappaSettings, fc3_face_distance_ang: float) -> KappaSettings:
    """Return settings of the second rung: RTA on the coarser mesh, third order displaced in smaller supercells.

    Whatever κ itself is computed by, a fit may take more time and memory there than all that it spares.
    """
    kappa = with_displacements(replace(kappa, level="rta", extrapolate=False))
    nearest = min(fc3_face_distance_ang, kappa.force_constants.fc3_face_distance_ang)
    return replace(kappa, force_constants=replace(kappa.force_constants, fc3_face_distance_ang=nearest))


def _distinct(rungs: dict[int, Rung], memo: Memo, screen: ScreenSettings) -> list[int]:
    """Return the stable crystals, each once; the others learn which they are the same as."""
    stable = [place for place, rung in rungs.items() if rung.record.status == "ok"]
    if not stable:
        return []
    labels = memo.once("same", 1, group, [rungs[place].record.crystal for place in stable], screen)
    for place, label in zip(stable, labels, strict=True):
        if stable[label] != place:
            rungs[place] = rungs[place]._replace(reason=f"same as {rungs[stable[label]].record.id}")
    return [stable[label] for label in np.unique(labels)]


def _is_done(rung: Rung, level: Level) -> bool:
    return rung.level == level and rung.record.status == "ok"


def _conduction(record: CandidateRecord) -> float:
    """Return κ per lifetime over the root of the number of atoms, which goes with more ways to scatter."""
    assert record.kappa is not None
    assert record.kappa.conduction_w_per_mk_per_ps is not None
    return record.kappa.conduction_w_per_mk_per_ps / float(np.sqrt(len(record.kappa.crystal)))


def _kappa(record: CandidateRecord) -> float:
    assert record.kappa is not None
    assert record.kappa.solution is not None
    return largest_eigenvalue(record.kappa.solution.kappa_w_per_mk)

"""A generator's crystals before relaxation: CDVAE's metrics, METRe and plain chemistry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from kappaforge.campaign import evaluation_tasks as tasks
from kappaforge.campaign.memo import Memo, chunks
from kappaforge.crystal import Crystal
from kappaforge.generate.metrics.distributions import Coverage, coverage, wasserstein
from kappaforge.generate.metrics.matching import MatchRate, match_rate, reconstruction
from kappaforge.generate.settings import GenerateSettings
from kappaforge.potentials.base import Potential
from kappaforge.screen.settings import ScreenSettings
from kappaforge.screen.unique import group

BATCH = 64

REFERENCES_PER_TASK = 256
"""Each task reduces and indexes all crystals made before it looks up its references."""


@dataclass(frozen=True)
class RawMetrics:
    """What is known of crystals before relaxation; None for what needs a test set, or carbon, or one element.

    Parameters
    ----------
    n
        Number of proposals; those without a crystal count as invalid.
    structurally_valid, compositionally_valid
        Fractions valid in CDVAE's sense.
    apart
        Fraction without atoms too close: 1.2 Å for carbon.
    coordinated
        Fraction in which each atom has three or four neighbours.
    coverage
        COV-R and COV-P.
    density_wasserstein_g_per_cm3, energy_wasserstein_ev_per_atom
        Between the valid crystals and the test set.
    metre
        METRe, its RMSE and cRMSE, on the unique crystals of the test set.
    reconstruction
        Match rate and RMSE one by one, where the generator can reconstruct.
    cpu_seconds_per_crystal
        Of generation.
    """

    n: int
    structurally_valid: float
    compositionally_valid: float | None
    apart: float
    coordinated: float | None
    coverage: Coverage | None
    density_wasserstein_g_per_cm3: float | None
    energy_wasserstein_ev_per_atom: float | None
    metre: MatchRate | None
    reconstruction: MatchRate | None
    cpu_seconds_per_crystal: float


def raw_metrics(
    memo: Memo,
    proposed: Sequence[tasks.Proposed],
    test: Sequence[Crystal],
    potential: Potential,
    reconstructed: MatchRate | None = None,
) -> RawMetrics:
    """Measure proposals against a test set, which may be empty."""
    proposals = [proposal for batch in proposed for proposal in batch.proposals]
    crystals = [proposal.crystal for proposal in proposals if proposal.crystal is not None]
    n = len(proposals)
    described = _described(memo, "describe generated", crystals)
    valid = [crystal for crystal, each in zip(crystals, described, strict=True) if each.structurally_valid]
    compositions = [each.compositionally_valid for each in described]
    coordinated = [each.quality.coordinated for each in described]
    covered, metre, density, energy = None, None, None, None
    if test and valid:
        known = _described(memo, "describe test set", test)
        missing = [None] * (n - len(crystals))
        covered = coverage([*(each.fingerprint for each in described), *missing], [each.fingerprint for each in known])
        density = wasserstein(*([crystal.density_g_per_cm3 for crystal in each] for each in (valid, test)))
        energy = wasserstein(*(_energies(memo, each, potential) for each in (valid, test)))
        metre = _metre(memo, valid, test)
    return RawMetrics(
        n=n,
        structurally_valid=len(valid) / n,
        compositionally_valid=None if None in compositions else sum(map(bool, compositions)) / n,
        apart=sum(each.quality.apart for each in described) / n,
        coordinated=None if None in coordinated else sum(map(bool, coordinated)) / n,
        coverage=covered,
        density_wasserstein_g_per_cm3=density,
        energy_wasserstein_ev_per_atom=energy,
        metre=metre,
        reconstruction=reconstructed,
        cpu_seconds_per_crystal=sum(batch.cpu_seconds for batch in proposed) / n,
    )


def reconstruction_rate(
    memo: Memo, settings: GenerateSettings, digest: str, test: Sequence[Crystal], seed: int
) -> MatchRate:
    """Return CDVAE's match rate of a generator that can reconstruct, over the whole test set."""
    arguments = [(settings, batch, seed + number) for number, batch in enumerate(chunks(test, BATCH))]
    made = chain.from_iterable(memo.map("reconstruct", 1, tasks.reconstruct, arguments, digest))
    return reconstruction(list(made), test)


def _described(memo: Memo, step: str, crystals: Sequence[Crystal]) -> list[tasks.Described]:
    return list(chain.from_iterable(memo.map(step, 1, tasks.describe, [(each,) for each in chunks(crystals, BATCH)])))


def _energies(memo: Memo, crystals: Sequence[Crystal], potential: Potential) -> list[float]:
    arguments = [(each, potential.name) for each in chunks(crystals, BATCH)]
    batches = memo.map("energies as generated", 1, tasks.energies_ev_per_atom, arguments, potential.digest)
    return [float(energy) for batch in batches for energy in batch]


def _metre(memo: Memo, made: Sequence[Crystal], test: Sequence[Crystal]) -> MatchRate:
    labels = memo.once("unique in the test set", 1, group, list(test), ScreenSettings())
    references = [crystal for index, crystal in enumerate(test) if labels[index] == index]
    arguments = [(each, made) for each in chunks(references, REFERENCES_PER_TASK)]
    distances = chain.from_iterable(memo.map("nearest generated", 1, tasks.nearest, arguments))
    return match_rate(list(distances))

"""One generator judged: before relaxation, after it, and beside what costs no training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kappaforge.campaign.evaluation import (
    EvaluationSettings,
    KnownCrystals,
    Yield,
    first_proposals,
    known_crystals,
    propose,
    propose_perturbed,
    relaxed_yield,
)
from kappaforge.campaign.evaluation_raw import RawMetrics, raw_metrics, reconstruction_rate
from kappaforge.campaign.evaluation_tasks import Proposed
from kappaforge.campaign.memo import Memo
from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.errors import InputError
from kappaforge.generate import registry as generators
from kappaforge.generate.base import Generator, LearnedGenerator
from kappaforge.generate.metrics.matching import MatchRate
from kappaforge.generate.metrics.published import CARBON_24, NOT_COMPARABLE
from kappaforge.generate.perturbed import NAME as PERTURBED
from kappaforge.generate.settings import GenerateSettings
from kappaforge.potentials.base import Potential, require_elements

RAW_SAMPLE = 1000
"""Proposals that are measured before relaxation, as in CDVAE."""

RANDOM = "random"


@dataclass(frozen=True)
class Evaluation:
    """All that was measured of a generator.

    Parameters
    ----------
    elements, generator, generator_digest, potential, potential_digest
        Of what.
    raw
        Before relaxation, by source, the generator first.
    yields
        After relaxation, the generator first, then the controls.
    note
        Why nothing was reconstructed; empty where it was.
    """

    elements: tuple[str, ...]
    generator: str
    generator_digest: str
    potential: str
    potential_digest: str
    raw: Mapping[str, RawMetrics]
    yields: tuple[Yield, ...]
    note: str

    def to_json(self) -> dict[str, Any]:
        """Return all of it in JSON's types, with rates and the published figures; what is not a number is null."""
        yields = [
            asdict(each)
            | {
                "symmetric_low_per_1000": each.per_thousand(each.distinct_symmetric_low),
                "symmetric_low_per_cpu_hour": each.per_cpu_hour(each.distinct_symmetric_low),
            }
            for each in self.yields
        ]
        whole = {
            "elements": list(self.elements),
            "generator": self.generator,
            "generator_digest": self.generator_digest,
            "potential": self.potential,
            "potential_digest": self.potential_digest,
            "note": self.note,
            "raw": {name: asdict(metrics) for name, metrics in self.raw.items()},
            "relaxed": yields,
            "published_carbon_24": [asdict(each) for each in CARBON_24],
            "not_comparable": list(NOT_COMPARABLE),
        }
        found: dict[str, Any] = _finite(whole)
        return found


def evaluate_generator(
    memo: Memo,
    settings: GenerateSettings,
    potential: Potential,
    *,
    n: int,
    n_controls: int,
    data: Sequence[Crystal] = (),
    test: Sequence[Crystal] = (),
    evaluation: EvaluationSettings | None = None,
) -> Evaluation:
    """Sample a generator, measure its crystals, relax them, and do the same with the controls.

    Parameters
    ----------
    memo
        Where everything is looked up and stored.
    settings
        Of generation; they name the generator.
    potential
        Known to the registry.
    n, n_controls
        Proposals of the generator and of each control.
    data
        The training set: what is not novel, and what one control perturbs. The known carbons where there is none.
    test
        Crystals that the generator has not seen, for CDVAE's metrics and METRe.
    evaluation
        How to relax and judge.

    Raises
    ------
    InputError
        Where potential or data do not suit the elements.
    """
    evaluation = evaluation or EvaluationSettings()
    require_elements(potential, frozenset(settings.elements))
    generator = generators.load(settings.generator, settings)
    is_carbon = set(settings.elements) == {"C"}
    carbons = [entry.crystal for entry in known_carbons()] if is_carbon else []
    references = list(data) or carbons
    if not references:
        raise InputError("--data: give the known crystals of these elements; only those of carbon are built in")
    known = known_crystals(memo, carbons or references, potential, evaluation)

    name = _label(settings)
    sources = {name: propose(memo, settings, n, evaluation)}
    if n_controls and name != RANDOM:
        sources[RANDOM] = propose(memo, replace(settings, generator=RANDOM), n_controls, evaluation)
    if n_controls:
        sources[PERTURBED] = propose_perturbed(memo, references, n_controls, evaluation)
    reconstructed, note = _reconstruction(memo, generator, settings, test, evaluation)
    raw = {
        source: raw_metrics(
            memo, first_proposals(proposed, RAW_SAMPLE), test, potential, reconstructed if source == name else None
        )
        for source, proposed in sources.items()
    }
    yields = _yields(memo, sources, known, references, potential, evaluation)
    return Evaluation(settings.elements, name, generator.digest, potential.name, potential.digest, raw, yields, note)


def _label(settings: GenerateSettings) -> str:
    """Return the generator's name, of a file its stem."""
    return settings.generator if settings.generator in generators.available() else Path(settings.generator).stem


def _reconstruction(
    memo: Memo,
    generator: Generator,
    settings: GenerateSettings,
    test: Sequence[Crystal],
    evaluation: EvaluationSettings,
) -> tuple[MatchRate | None, str]:
    """Return CDVAE's match rate over the test set, or None and why."""
    if not test:
        return None, "nothing was reconstructed: there is no test set"
    if not isinstance(generator, LearnedGenerator):
        return None, "nothing was reconstructed: the generator is not a learned one"
    try:
        generator.encode(test[:1])
    except InputError as error:
        return None, f"nothing was reconstructed: {error}"
    return reconstruction_rate(memo, settings, generator.digest, test, evaluation.seed), ""


def _yields(
    memo: Memo,
    sources: Mapping[str, Sequence[Proposed]],
    known: KnownCrystals,
    data: Sequence[Crystal],
    potential: Potential,
    evaluation: EvaluationSettings,
) -> tuple[Yield, ...]:
    return tuple(
        relaxed_yield(memo, name, proposed, known, data, potential, evaluation) for name, proposed in sources.items()
    )


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

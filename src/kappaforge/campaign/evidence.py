"""What a campaign gathers for its report beside the rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kappaforge.campaign import tasks
from kappaforge.campaign.best import BEST_VERSION
from kappaforge.campaign.candidate import CandidateRecord
from kappaforge.campaign.memo import Memo
from kappaforge.config import CampaignSettings
from kappaforge.label.base import Label
from kappaforge.label.dataset import read_labels
from kappaforge.potentials import registry as potentials
from kappaforge.store.evidence import BestPhonons, Parity

if TYPE_CHECKING:  # it brings torch
    from kappaforge.potentials.allegro_model import AllegroModel

PARITY_VERSION = 1
"""Raise it when the same labels give another parity."""

MOST_LABELS = 2000
"""So many labels are compared at most, evenly chosen."""


def losses_of(generator: Any) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the losses of a generator's training and those of held-out crystals; none where its file has none."""
    card: Mapping[str, str] = getattr(generator, "card", {})
    told = json.loads(card["losses"]) if "losses" in card else {"training": {}, "validation": {}}
    training, validation = (
        {name: np.array(values, dtype=float) for name, values in told[part].items()}
        for part in ("training", "validation")
    )
    return training, validation


def parity_of(
    memo: Memo, settings: CampaignSettings, potential: str | AllegroModel, digest: str, learned: Sequence[Label] | None
) -> tuple[Parity, ...]:
    """Compare the potential that κ is computed with to the labels it learned from, and to the settings' test labels.

    Parameters
    ----------
    potential, digest
        The potential.
    learned
        Labels that it learned from; None for those that lie beside its file, where there are any.
    """
    sets = {}
    if learned is None and isinstance(potential, str):
        learned = _beside(potential)
    if learned:
        sets["labels it learned from"] = learned
    if settings.learn.test and not isinstance(potential, str):  # others may have been labelled by another engine
        sets["held-out labels"] = read_labels(Path(settings.learn.test))
    good = {name: [one for one in labels if one.status == "ok"] for name, labels in sets.items()}
    arguments = [(name, tuple(_some(labels)), potential) for name, labels in good.items() if labels]
    return tuple(memo.map("parity", PARITY_VERSION, tasks.compare_to_labels, arguments, digest))


def best_of(
    memo: Memo,
    settings: CampaignSettings,
    records: Sequence[CandidateRecord],
    potential: str | AllegroModel,
    digest: str,
) -> tuple[BestPhonons, ...]:
    """Look closer at the best conductors among the records, those of the settings' number that come first."""
    good = [record for record in records if record.status == "ok" and record.kappa and record.kappa.mesh]
    good.sort(key=lambda record: (-record.kappa_max_w_per_mk, record.id))
    compare = settings.best.compare or ("" if isinstance(potential, str) else settings.potential.name)
    other = compare if compare and compare != potential else None
    other_digest = potentials.load(other).digest if other else ""
    arguments = [
        (record.crystal, potential, other, settings.relax, settings.kappa, settings.screen, record.kappa.mesh)
        for record in good[: settings.best.crystals]
        if record.kappa is not None
    ]
    found = memo.map("phonons of the best", BEST_VERSION, tasks.compute_best, arguments, digest + other_digest)
    return tuple(found)


def _beside(potential: str) -> Sequence[Label]:
    file = potentials.model_file(potential)
    if file is None:
        return ()
    from kappaforge.potentials.family import labels_file

    labels = labels_file(file)
    return read_labels(labels) if labels.exists() else ()


def _some(labels: Sequence[Label]) -> Sequence[Label]:
    return labels[:: max(1, ceil(len(labels) / MOST_LABELS))]

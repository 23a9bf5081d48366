"""What a run has to show, gathered from its folder: the only thing the report needs to know of a campaign."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.store.row import Row
from kappaforge.store.run_folder import RunFolder

PUBLISHED = "published"
"""Under this name the run folder keeps what the campaign has to show."""


@dataclass(frozen=True)
class LearningRound:
    """How sure the committee was of the crystals under question, after one round of query by committee.

    Parameters
    ----------
    number
        From 1.
    n_labels
        Labels the committee had learned from.
    ids
        The crystals.
    energy_std_mev_per_atom
        Uncertainty of each, shape (len(ids),), meV/atom.
    added
        Ids of those that were labelled next.
    """

    number: int
    n_labels: int
    ids: tuple[str, ...]
    energy_std_mev_per_atom: np.ndarray
    added: tuple[str, ...]


@dataclass(frozen=True)
class Published:
    """A run as it stands now, finished or not.

    Parameters
    ----------
    name
        Name of the campaign.
    settings
        Its settings, as nested plain values.
    versions
        Versions of kappaforge and of the packages that decide its numbers.
    counts
        Crystals after each step, in the order of the steps.
    discards
        For each step, how many crystals left there for which reason.
    rows, crystals
        One row for every crystal that was ever a candidate, and its present geometry, in the same order.
    seconds_by_step
        Time spent in each step's tasks, s.
    rounds
        The rounds of query by committee; none where no labels were asked for.
    """

    name: str
    settings: dict[str, Any]
    versions: dict[str, str]
    counts: dict[str, int]
    discards: dict[str, dict[str, int]]
    rows: list[Row]
    crystals: list[Crystal]
    seconds_by_step: dict[str, float] = field(default_factory=dict)
    rounds: list[LearningRound] = field(default_factory=list)


def read_published(path: Path) -> Published:
    """Return what a run has to show.

    Raises
    ------
    InputError
        For a folder that is no run folder, or has nothing to show yet.
    """
    with RunFolder.open(path) as folder:
        try:
            published: Published = folder.recall(PUBLISHED)
        except KeyError:
            raise InputError(f"{path} has nothing to report yet; go on with: kappaforge run {path}") from None
    return published

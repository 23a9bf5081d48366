"""What a run has to show, gathered from its folder: the only thing the report needs to know of a campaign."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kappaforge.crystal import Crystal
from kappaforge.store.row import Row


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
    """

    name: str
    settings: dict[str, Any]
    versions: dict[str, str]
    counts: dict[str, int]
    discards: dict[str, dict[str, int]]
    rows: list[Row]
    crystals: list[Crystal]
    seconds_by_step: dict[str, float] = field(default_factory=dict)

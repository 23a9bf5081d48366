"""What a run folder tells of the tasks that were done in it, for an estimate of those that are left."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kappaforge.config import CampaignSettings
from kappaforge.store.published import PUBLISHED, Published
from kappaforge.store.run_folder import RunFolder, StepProgress


@dataclass(frozen=True)
class Part:
    """Tasks of some steps together: done, of how many, for how many crystals, and the workers' time for them, s.

    `crystals` is None where the tasks do not say.
    """

    done: int = 0
    total: int = 0
    crystals: int | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Past:
    """A run folder's summaries; without one, nothing is known."""

    published: Published | None = None
    steps: tuple[StepProgress, ...] = ()
    seconds_per_task: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: RunFolder | None) -> Past:
        """Read it."""
        if folder is None:
            return cls()
        tasks = folder.tasks_by_step()
        per_task = {step: seconds / tasks[step] for step, seconds in folder.seconds_by_step().items()}
        try:
            published = folder.recall(PUBLISHED)
        except KeyError:
            published = None
        return cls(published, tuple(folder.progress()), per_task)

    @property
    def proposals(self) -> int:
        """Return how many proposals were wanted."""
        return int(self.published.settings["generate"]["n"]) if self.published else 0

    def is_same(self, settings: CampaignSettings, tables: Sequence[str]) -> bool:
        """Return whether these settings were the same then, but for the number of proposals."""
        if self.published is None:
            return False
        then, now = self.published.settings, settings.model_dump(mode="json")
        return all(_comparable(then, name) == _comparable(now, name) for name in tables)

    def count(self, step: str) -> int:
        """Return how many crystals came through a step."""
        return self.published.counts.get(step, 0) if self.published else 0

    def part(self, *steps: str) -> Part:
        """Return what was done of the steps whose names begin like one of these."""
        found = [each for each in self.steps if each.step.startswith(steps)]
        crystals = sum(sum(each.outcomes.values()) for each in found)
        return Part(
            sum(each.done for each in found),
            sum(each.total for each in found),
            crystals or None,
            sum(each.done * self.seconds_per_task.get(each.step, 0.0) for each in found),
        )


def _comparable(settings: Mapping[str, Any], name: str) -> str:
    """Return a table, or one key of it, as text; lists and tuples are alike, the number of proposals is left out."""
    found: Any = settings
    for key in name.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    if name == "generate" and isinstance(found, Mapping):
        found = {key: value for key, value in found.items() if key != "n"}
    return json.dumps(found, sort_keys=True)

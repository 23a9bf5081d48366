"""How a long computation tells how far it is, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of each step's beginning, every finished task and the step's end."""

    def start(self, step: str, total: int, done: int) -> None:
        """Begin a step of `total` tasks, of which `done` were found in the store."""

    def advance(self, step: str) -> None:
        """One more task of the step is finished."""

    def finish(self, step: str, summary: str) -> None:
        """The step is complete; `summary` says what came of it."""


class Silence:
    """Progress that nobody listens to."""

    def start(self, step: str, total: int, done: int) -> None:
        """Say nothing."""

    def advance(self, step: str) -> None:
        """Say nothing."""

    def finish(self, step: str, summary: str) -> None:
        """Say nothing."""

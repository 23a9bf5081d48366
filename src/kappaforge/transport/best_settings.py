"""Settings of what is looked at more closely of the best conductors."""

from __future__ import annotations

from dataclasses import dataclass

from kappaforge.errors import InputError


@dataclass(frozen=True)
class BestSettings:
    """What a campaign adds for the best conductors when their κ are known.

    Parameters
    ----------
    crystals
        How many: their phonon dispersions, and κ over mean free paths; 0 for none.
    compare
        A second potential, whose dispersion is drawn on top; empty for none. Where query by committee has made a new
        potential, that is the one it began with.
    """

    crystals: int = 3
    compare: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.crystals, int) or isinstance(self.crystals, bool) or self.crystals < 0:
            raise InputError(f"[best] crystals: expected a whole number from 0 up, got {self.crystals!r}")

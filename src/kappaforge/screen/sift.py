"""What is left of many crystals: each once, none that is known, and those that are small and symmetric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kappaforge.crystal import Crystal
from kappaforge.screen.bonding import overcoordinated
from kappaforge.screen.settings import ScreenSettings
from kappaforge.screen.symmetry import SymmetryRecord, symmetry
from kappaforge.screen.unique import group, match


@dataclass(frozen=True, eq=False)
class Sifted:
    """One crystal, and whether it stays.

    Parameters
    ----------
    crystal
        As it came.
    symmetry
        Of its primitive cell.
    novel
        Whether none of the known crystals is the same.
    reason
        Why it leaves; empty where it stays.
    """

    crystal: Crystal
    symmetry: SymmetryRecord
    novel: bool
    reason: str

    @property
    def passes(self) -> bool:
        """Whether it stays."""
        return not self.reason


def sift(crystals: Sequence[Crystal], known: Sequence[Crystal], settings: ScreenSettings) -> list[Sifted]:
    """Return for each crystal, in their order, whether it is unique, novel, small, symmetric and not too dense.

    Of crystals that are the same the first one stays.
    """
    labels = group(crystals, settings)
    found = match(crystals, known, settings)
    sifted = []
    for index, crystal in enumerate(crystals):
        record = symmetry(crystal, settings)
        if labels[index] != index:
            reason = f"same as {crystals[labels[index]].id}"
        elif found[index] >= 0:
            reason = f"same as {known[found[index]].id} of the reference"
        else:
            reason = record.reason or overcoordinated(crystal, settings.max_neighbours)
        sifted.append(Sifted(crystal, record, bool(found[index] < 0), reason))
    return sifted

"""Energies above the hull in a campaign: of its data set, or of all that it relaxed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kappaforge.hull import Hull
from kappaforge.relax.relaxer import RelaxRecord


class Hulls:
    """The hull of the crystals that are known, and that of all, for compounds whose elements are not all known.

    Potentials have minima that nature has not, so that what is known comes first.

    Parameters
    ----------
    known, generated
        Relaxed by the same potential; those that did not relax are left out.
    """

    def __init__(self, known: Sequence[RelaxRecord], generated: Sequence[RelaxRecord]) -> None:
        self._known, self._all = _hull(known), _hull([*known, *generated])

    def above_ev_per_atom(self, record: RelaxRecord) -> float:
        """Return how far a crystal that relaxed lies above the hull, eV/atom; NaN where there is none."""
        known = self._known.energy_ev_per_atom(record.crystal)
        return record.energy_ev_per_atom - (self._all.energy_ev_per_atom(record.crystal) if np.isnan(known) else known)


def _hull(records: Sequence[RelaxRecord]) -> Hull:
    good = [record for record in records if record.status == "ok"]
    return Hull([record.crystal for record in good], [record.energy_ev_per_atom for record in good])

"""Which crystals could exist at all, and which look like crystals of their elements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kappaforge.bonds import any_closer, neighbour_counts
from kappaforge.crystal import Crystal
from kappaforge.dataset.distances import shortest_distance_ang

CDVAE_MIN_DISTANCE_ANG = 0.5
CDVAE_MIN_VOLUME_ANG3 = 0.1
CARBON_MIN_DISTANCE_ANG = 1.2
"""No bond of carbon is shorter but the triple one, which no crystal has."""

MIN_DISTANCE_RADII = 0.8
"""For other elements: no two atoms closer than this times the sum of their covalent radii."""

CARBON_NEIGHBOURS = (3, 4)


def structurally_valid(crystal: Crystal) -> bool:
    """Tell whether no two atoms are closer than 0.5 Å and the cell has at least 0.1 Å³ (arXiv 2110.06197, sec. 5.2).

    CDVAE's own code does not look at the distances between an atom and its images; this does.
    """
    return crystal.volume_ang3 >= CDVAE_MIN_VOLUME_ANG3 and shortest_distance_ang(crystal) >= CDVAE_MIN_DISTANCE_ANG


def compositionally_valid(crystal: Crystal) -> bool | None:
    """Return True for one element, as CDVAE does; None for several, whose charges would need smact's tables."""
    return True if len(crystal.elements) == 1 else None


@dataclass(frozen=True)
class RawQuality:
    """What a crystal looks like before it is relaxed.

    Parameters
    ----------
    id
        The crystal's.
    shortest_distance_ang
        Between two atoms, images included.
    apart
        No two atoms are too close: 1.2 Å for carbon, else 0.8 times the sum of the covalent radii.
    coordinated
        Each atom has three or four neighbours; None but for carbon.
    """

    id: str
    shortest_distance_ang: float
    apart: bool
    coordinated: bool | None


def raw_quality(crystal: Crystal) -> RawQuality:
    """Return what a crystal looks like before it is relaxed."""
    shortest = shortest_distance_ang(crystal)
    if crystal.elements != {"C"}:
        return RawQuality(crystal.id, shortest, not any_closer(crystal, MIN_DISTANCE_RADII), None)
    apart = shortest > CARBON_MIN_DISTANCE_ANG
    coordinated = apart and bool(np.isin(neighbour_counts(crystal), CARBON_NEIGHBOURS).all())
    return RawQuality(crystal.id, shortest, apart, coordinated)

"""In how many directions a crystal is bonded, and how many neighbours its atoms have.

κ across layers or chains does not converge with the q mesh, and vanishes for a potential without forces between them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ase import Atoms
from ase.geometry.dimensionality.interval_analysis import build_kintervals

from kappaforge.bonds import neighbour_counts
from kappaforge.crystal import Crystal


@dataclass(frozen=True)
class BondingRecord:
    """How the atoms of one crystal are bonded.

    Parameters
    ----------
    id
        The crystal's.
    dimensionality
        ``3D`` for a network, ``2D`` for layers, ``1D`` for chains, ``0D`` for molecules; a mixture has several digits,
        as ``02D`` for molecules between layers.
    neighbours
        Numbers of neighbours that occur and how many atoms of the cell have each, by rising number. Of carbon three
        mean sp², four sp³. Where bonds are not covalent the radii mean little: magnesium's atoms have none.
    """

    id: str
    dimensionality: str
    neighbours: tuple[tuple[int, int], ...]

    @property
    def threefold_fraction(self) -> float:
        """Fraction of the atoms that have three neighbours: of carbon, those that are sp²."""
        counts = dict(self.neighbours)
        return counts.get(3, 0) / sum(counts.values())


def bonding(crystal: Crystal) -> BondingRecord:
    """Return how many directions a crystal is bonded in, and the neighbours of its atoms.

    The dimensionality is the one that holds over the widest range of what counts as a bond, by the score of Larsen et
    al. (Phys. Rev. Materials 3, 034003; 10.1103/PhysRevMaterials.3.034003), without the range in which nothing is
    bonded yet: it would win for metals, whose atoms are farther apart than their covalent radii say.
    """
    counts = Counter(neighbour_counts(crystal).tolist())
    return BondingRecord(crystal.id, _dimensionality(crystal.to_ase()), tuple(sorted(counts.items())))


def overcoordinated(crystal: Crystal, max_neighbours: int | None) -> str:
    """Return why the crystal's atoms have too many neighbours; empty where none has, and for no limit."""
    if max_neighbours is None:
        return ""
    most = int(neighbour_counts(crystal).max())
    return f"an atom has {most} neighbours, at most {max_neighbours} pass" if most > max_neighbours else ""


def _dimensionality(atoms: Atoms) -> str:
    intervals = build_kintervals(atoms, "RDA")
    if intervals is None:  # no bond, however long, joins the parts to chains
        return "0D"
    scores: dict[str, float] = {}
    for interval in intervals:
        if interval.h[0] < len(atoms):
            scores[interval.dimtype] = scores.get(interval.dimtype, 0.0) + float(interval.score)
    return max(scores, key=lambda dimensionality: scores[dimensionality])

"""Many reduced crystals in few arrays, to travel to workers and into the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kappaforge.similar import Composition, ReducedCrystal


@dataclass(frozen=True, eq=False)
class PackedCrystals:
    """Reduced crystals one after the other; places without one have no atoms.

    Parameters
    ----------
    cells
        Lattice vectors as rows, in Å, shape (n_crystals, 3, 3).
    sizes
        Atoms of each, shape (n_crystals,); 0 where a crystal has no reduced cell.
    sites
        Fractional coordinates, shape (sum of the sizes, 3).
    numbers
        Atomic numbers, shape (sum of the sizes,).
    """

    cells: np.ndarray
    sizes: np.ndarray
    sites: np.ndarray
    numbers: np.ndarray

    @classmethod
    def of(cls, crystals: Iterable[ReducedCrystal], n: int) -> PackedCrystals:
        """Pack crystals into `n` places, each into that of its index."""
        by_place = {crystal.index: crystal for crystal in crystals}
        ordered = [by_place[place] for place in sorted(by_place)]
        cells, sizes = np.zeros((n, 3, 3)), np.zeros(n, dtype=np.int64)
        for crystal in ordered:
            cells[crystal.index], sizes[crystal.index] = crystal.cell, len(crystal.numbers)
        sites = np.concatenate([crystal.sites for crystal in ordered]) if ordered else np.empty((0, 3))
        numbers = np.concatenate([crystal.numbers for crystal in ordered]) if ordered else np.empty(0, dtype=np.int64)
        return cls(cells, sizes, sites, numbers)

    @classmethod
    def joined(cls, parts: Sequence[PackedCrystals]) -> PackedCrystals:
        """Put several, at least one, behind each other."""
        return cls(
            np.concatenate([part.cells for part in parts]),
            np.concatenate([part.sizes for part in parts]),
            np.concatenate([part.sites for part in parts]),
            np.concatenate([part.numbers for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[ReducedCrystal]:
        """Yield the crystals that are there, with their places as indices."""
        ends = np.cumsum(self.sizes)
        for place in np.flatnonzero(self.sizes).tolist():
            atoms = slice(ends[place] - self.sizes[place], ends[place])
            yield ReducedCrystal(place, self.cells[place], self.sites[atoms], self.numbers[atoms])

    def take(self, places: np.ndarray) -> PackedCrystals:
        """Return the crystals at these places, in this order."""
        ends = np.cumsum(self.sizes)
        sizes = self.sizes[places]
        steps = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        atoms = np.repeat(ends[places] - sizes, sizes) + steps
        return PackedCrystals(self.cells[places], sizes, self.sites[atoms], self.numbers[atoms])

    def places_by_composition(self) -> dict[Composition, np.ndarray]:
        """Return the places of the crystals of each composition, rising; only these can match each other."""
        places: dict[Composition, list[int]] = {}
        for crystal in self:
            places.setdefault(crystal.composition, []).append(crystal.index)
        return {composition: np.array(found) for composition, found in places.items()}

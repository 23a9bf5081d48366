"""What every potential offers: a batch of crystals in; energies, forces and stresses out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from ase.data import chemical_symbols

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError, KappaforgeError


class Batch(NamedTuple):
    """Crystals of any sizes, concatenated.

    ============  ==================  =====================================================
    field         shape               content
    ============  ==================  =====================================================
    cells         (n_crystals, 3, 3)  lattice vectors as rows, Å
    positions     (n_atoms, 3)        Cartesian, Å, all crystals one after the other
    numbers       (n_atoms,)          atomic numbers
    counts        (n_crystals,)       atoms of each crystal; they sum to n_atoms
    ============  ==================  =====================================================
    """

    cells: np.ndarray
    positions: np.ndarray
    numbers: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, crystals: Sequence[Crystal]) -> Batch:
        """Concatenate crystals."""
        return cls(
            np.stack([crystal.cell for crystal in crystals]),
            np.concatenate([crystal.positions for crystal in crystals]),
            np.concatenate([crystal.numbers for crystal in crystals]),
            np.array([len(crystal) for crystal in crystals], dtype=np.int64),
        )

    def subset(self, which: np.ndarray) -> Batch:
        """Return the crystals that a mask of shape (n_crystals,) picks."""
        atoms = np.repeat(which, self.counts)
        return Batch(self.cells[which], self.positions[atoms], self.numbers[atoms], self.counts[which])

    @property
    def slices(self) -> list[slice]:
        """The rows of each crystal in the atom-wise arrays."""
        ends = np.cumsum(self.counts)
        return [slice(int(end - count), int(end)) for end, count in zip(ends, self.counts, strict=True)]

    @property
    def crystal_of_atom(self) -> np.ndarray:
        """Index of the crystal each atom belongs to, shape (n_atoms,)."""
        return np.repeat(np.arange(len(self.counts)), self.counts)


class Prediction(NamedTuple):
    """What a potential says of a batch.

    ======================  ==================  ==================================================================
    field                   shape               content
    ======================  ==================  ==================================================================
    energies_ev             (n_crystals,)       potential energy of each cell, eV
    forces_ev_per_ang       (n_atoms, 3)        minus the gradient of the energy, eV/Å
    stresses_ev_per_ang3    (n_crystals, 3, 3)  dE/dε / V, eV/Å³, symmetric; positive where the cell would shrink
    ======================  ==================  ==================================================================
    """

    energies_ev: np.ndarray
    forces_ev_per_ang: np.ndarray
    stresses_ev_per_ang3: np.ndarray

    @classmethod
    def nan_for(cls, batch: Batch) -> Prediction:
        """Return arrays of the right shapes filled with NaN, the answer where there is none."""
        n_crystals = len(batch.counts)
        return cls(
            np.full(n_crystals, np.nan), np.full((len(batch.numbers), 3), np.nan), np.full((n_crystals, 3, 3), np.nan)
        )

    def with_nan_where_not_finite(self, batch: Batch) -> Prediction:
        """Return the prediction with all of a crystal's values NaN where one of them is not finite."""
        finite = np.isfinite(self.energies_ev) & np.isfinite(self.stresses_ev_per_ang3).all(axis=(1, 2))
        finite &= np.bincount(batch.crystal_of_atom, ~np.isfinite(self.forces_ev_per_ang).all(axis=1)) == 0
        return Prediction(
            np.where(finite, self.energies_ev, np.nan),
            np.where(finite[batch.crystal_of_atom, None], self.forces_ev_per_ang, np.nan),
            np.where(finite[:, None, None], self.stresses_ev_per_ang3, np.nan),
        )


@runtime_checkable
class Potential(Protocol):
    """A model of the interatomic energy; `tests/test_potentials.py` is its contract."""

    @property
    def name(self) -> str:
        """The registry's name, which also loads it again."""

    @property
    def digest(self) -> str:
        """Hash of everything that decides its numbers: model, weights, precision, version of the code behind it."""

    @property
    def elements(self) -> frozenset[str] | None:
        """Symbols it knows; None where only the calculator behind it can tell."""

    def compute(self, batch: Batch) -> Prediction:
        """Return energies, forces and stresses in the batch's order; the batch is not changed.

        A crystal for which the model has no finite answer (NaN, atoms on top of each other) gets NaN; it never
        spoils the others.
        """


class UnsupportedElementError(InputError):
    """A potential was asked for an element it does not know."""


class PotentialError(KappaforgeError):
    """A potential gave no finite answer where one is needed."""


def require_elements(potential: Potential, symbols: frozenset[str]) -> None:
    """Raise `UnsupportedElementError` where the potential does not know one of the elements."""
    if potential.elements is None:
        return
    if unknown := sorted(symbols - potential.elements):
        known = sorted(potential.elements, key=chemical_symbols.index)
        shown = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
        raise UnsupportedElementError(
            f"potential {potential.name!r} does not know {', '.join(unknown)} (it knows {shown}); "
            "choose another with --potential or [potential] name"
        )

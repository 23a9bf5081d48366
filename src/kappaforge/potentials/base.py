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

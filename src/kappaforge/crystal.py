"""The one record that flows through every step: an immutable crystal."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, chemical_symbols
from ase.units import kg

from kappaforge.errors import InputError

if TYPE_CHECKING:
    from pymatgen.core import Structure

MIN_VOLUME_PER_ATOM_ANG3 = 0.1
"""Below this the cell is degenerate: the densest solid at ambient pressure, diamond, has 5.7 Å³ per atom."""


@dataclass(frozen=True, eq=False)
class Crystal:
    """A periodic crystal in one of its cells.

    Parameters
    ----------
    cell
        Lattice vectors as rows, in Å, shape (3, 3).
    positions
        Cartesian positions in Å, shape (n_atoms, 3).
    numbers
        Atomic numbers, shape (n_atoms,).
    id
        The name that follows the candidate through a whole campaign, whatever becomes of its geometry.
    source
        Where it came from: a generator, a file, a library of known crystals.
    parents
        Digests of the geometries this one was made from, oldest first.

    Raises
    ------
    InputError
        For wrong shapes, values that are not finite, no atoms, unknown elements or a degenerate cell.
    """

    cell: np.ndarray
    positions: np.ndarray
    numbers: np.ndarray
    id: str = ""
    source: str = ""
    parents: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field, dtype in (("cell", np.float64), ("positions", np.float64), ("numbers", np.int64)):
            array = np.array(getattr(self, field), dtype=dtype, order="C")
            array.setflags(write=False)
            object.__setattr__(self, field, array)
        self._check()
        if not self.id:
            object.__setattr__(self, "id", self.digest[:12])

    def _check(self) -> None:
        who = f"crystal {self.id!r}" if self.id else "crystal"
        n_atoms = len(self.numbers)
        if self.cell.shape != (3, 3) or self.positions.shape != (n_atoms, 3) or self.numbers.ndim != 1:
            raise InputError(
                f"{who}: expected cell (3, 3), positions (n, 3) and numbers (n,), "
                f"got {self.cell.shape}, {self.positions.shape} and {self.numbers.shape}"
            )
        if n_atoms == 0:
            raise InputError(f"{who}: it has no atoms")
        if not (np.isfinite(self.cell).all() and np.isfinite(self.positions).all()):
            raise InputError(f"{who}: cell or positions hold values that are not finite (NaN or inf)")
        if self.numbers.min() < 1 or self.numbers.max() >= len(chemical_symbols):
            raise InputError(f"{who}: atomic numbers must lie between 1 and {len(chemical_symbols) - 1}")
        if self.volume_ang3 < MIN_VOLUME_PER_ATOM_ANG3 * n_atoms:
            raise InputError(f"{who}: the cell's volume of {self.volume_ang3:.3g} Å³ is too small for {n_atoms} atoms")

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def digest(self) -> str:
        """Content hash (SHA-256, hex) of cell, positions and numbers; equal to 1e-8 Å, blind to id and history."""
        content = hashlib.sha256()
        for lengths in (self.cell, self.positions):
            content.update((np.round(lengths, 8) + 0.0).astype("<f8").tobytes())  # + 0.0 turns -0.0 into 0.0
        content.update(self.numbers.astype("<i8").tobytes())
        return content.hexdigest()

    @property
    def volume_ang3(self) -> float:
        """Volume of the cell in Å³."""
        return float(abs(np.linalg.det(self.cell)))

    @property
    def density_g_per_cm3(self) -> float:
        """Mass density in g/cm³, with the standard atomic weights."""
        grams = atomic_masses[self.numbers].sum() / kg * 1e3
        return float(grams / (self.volume_ang3 * 1e-24))

    @property
    def fractional(self) -> np.ndarray:
        """Fractional coordinates, shape (n_atoms, 3), not wrapped."""
        return np.linalg.solve(self.cell.T, self.positions.T).T

    @property
    def formula(self) -> str:
        """Chemical formula of the cell in Hill's order, such as ``C8`` or ``BN``."""
        return str(self.to_ase().get_chemical_formula())

    @property
    def elements(self) -> frozenset[str]:
        """Symbols of the elements present."""
        return frozenset(chemical_symbols[number] for number in self.numbers)

    def moved_to(self, cell: np.ndarray, positions: np.ndarray, numbers: np.ndarray | None = None) -> Crystal:
        """Return the same candidate with a new geometry; this one's digest is added to the parents."""
        return replace(
            self,
            cell=cell,
            positions=positions,
            numbers=self.numbers if numbers is None else numbers,
            parents=(*self.parents, self.digest),
        )

    def to_ase(self) -> Atoms:
        """Return ASE atoms, periodic in all three directions."""
        return Atoms(numbers=self.numbers, positions=self.positions, cell=self.cell, pbc=True)

    @classmethod
    def from_ase(cls, atoms: Atoms, *, id: str = "", source: str = "", parents: tuple[str, ...] = ()) -> Crystal:
        """Take cell, positions and numbers from ASE atoms; raises `InputError` where a crystal cannot be made."""
        return cls(atoms.cell.array, atoms.positions, atoms.numbers, id=id, source=source, parents=parents)

    def to_pymatgen(self) -> Structure:
        """Return a pymatgen structure."""
        from pymatgen.core import Structure

        symbols = [chemical_symbols[number] for number in self.numbers]
        return Structure(self.cell, symbols, self.positions, coords_are_cartesian=True)

    @classmethod
    def from_pymatgen(
        cls, structure: Structure, *, id: str = "", source: str = "", parents: tuple[str, ...] = ()
    ) -> Crystal:
        """Take an ordered pymatgen structure; raises `InputError` for partial occupation."""
        if not structure.is_ordered:
            raise InputError(f"crystal {id!r}: sites are partially occupied; give an ordered structure")
        return cls(
            structure.lattice.matrix,
            structure.cart_coords,
            np.array(structure.atomic_numbers),
            id=id,
            source=source,
            parents=parents,
        )

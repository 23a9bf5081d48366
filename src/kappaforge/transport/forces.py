"""Forces in displaced supercells, many supercells at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from phonopy.structure.atoms import PhonopyAtoms

from kappaforge.potentials.base import Batch, Potential
from kappaforge.transport.failure import TransportError

ATOMS_PER_BATCH = 4096
"""Enough that a potential works at its full rate, little enough for the memory of a graph network."""


def supercell_forces(
    potential: Potential, supercell: PhonopyAtoms, displaced: Sequence[PhonopyAtoms], kind: str
) -> np.ndarray:
    """Return the forces in each displaced supercell.

    Parameters
    ----------
    potential
        Where the forces come from.
    supercell
        The supercell without displacements.
    displaced
        The same with displacements.
    kind
        What a failure calls the displacements, such as "single-atom".

    Returns
    -------
    ndarray
        Shape (n_displaced, n_supercell_atoms, 3), eV/Å.

    Raises
    ------
    TransportError
        Where a force is not finite; it names the displacement.
    """
    n_atoms = len(supercell)
    n_together = max(1, ATOMS_PER_BATCH // n_atoms)
    forces = np.empty((len(displaced), n_atoms, 3))
    for start in range(0, len(displaced), n_together):
        chunk = displaced[start : start + n_together]
        batch = Batch(
            np.tile(supercell.cell, (len(chunk), 1, 1)),
            np.concatenate([cell.positions for cell in chunk]),
            np.tile(supercell.numbers, len(chunk)).astype(np.int64),
            np.full(len(chunk), n_atoms, dtype=np.int64),
        )
        forces[start : start + len(chunk)] = potential.compute(batch).forces_ev_per_ang.reshape(-1, n_atoms, 3)
    broken = np.flatnonzero(~np.isfinite(forces).all(axis=(1, 2)))
    if broken.size:
        moves = displaced[broken[0]].positions - supercell.positions
        atoms = np.flatnonzero(np.abs(moves).max(axis=1) > 1e-8)
        parts = [f"atom {atom} by ({', '.join(f'{part:.4f}' for part in moves[atom])}) Å" for atom in atoms[:2]]
        moved = " and ".join(parts) + (f" and {len(atoms) - 2} more" if len(atoms) > 2 else "")
        moved = moved or "none of the atoms"
        raise TransportError(
            "failed",
            f"potential {potential.name!r} gave no finite forces for {kind} displacement {broken[0] + 1} of "
            f"{len(displaced)} ({moved} of the supercell); {broken.size} in all",
        )
    return forces

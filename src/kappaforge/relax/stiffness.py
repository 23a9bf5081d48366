"""A model of a crystal's stiffness: springs between near atoms, in the coordinates of the relaxation.

It need not be right, only tell stiff directions from soft ones: atoms against each other from atoms together, and both
from the cell, whose coordinates would otherwise have another scale.
"""

from __future__ import annotations

import numpy as np
from ase.data import covalent_radii
from matscipy.neighbours import neighbour_list

BOND_EV_PER_ANG2 = 30.0
"""Spring constant of a bond as long as the sum of the covalent radii; between that of metals and of diamond."""

DECAY = 4.0
"""How fast springs soften with the distance over the sum of the covalent radii, as in doi 10.1063/1.4947024."""

REACH = 2.2
"""Springs end at this multiple of the sum of the covalent radii."""

SIDEWAYS = 0.2
"""Stiffness across a spring, which stands for the bond angles, in units of that along it."""

FLOOR_EV_PER_ANG2 = 1.0
"""Added to every coordinate, so that what no spring holds is not free."""


LARGEST = 500
"""Atoms above which the springs are left out, as the time for them would grow with the third power."""


def inverse_stiffness(cell: np.ndarray, positions: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return the inverse of the model's second derivatives by the rows of `kappaforge.relax.coordinates.Coordinates`.

    With rows u of the atoms and n S of the cell, a spring r from atom i to j stretches by u_j - u_i + r S.

    Parameters
    ----------
    cell, positions
        Å, shapes (3, 3) and (n_atoms, 3).
    numbers
        Atomic numbers, shape (n_atoms,).

    Returns
    -------
    array
        Å²/eV, positive definite, shape (3 n_atoms + 9, 3 n_atoms + 9); above `LARGEST` atoms the diagonal of a matrix
        that gives the cell a scale and nothing else, shape (3 n_atoms + 9,).
    """
    n_atoms, radii = len(numbers), covalent_radii[numbers]
    if n_atoms > LARGEST:
        return np.repeat([1.0, n_atoms], [3 * n_atoms, 9]) / BOND_EV_PER_ANG2
    first, second, springs, lengths = neighbour_list(
        "ijDd", cutoff=2 * REACH * float(radii.max()), positions=positions, cell=cell, pbc=np.ones(3, bool)
    )
    ratios = lengths / (radii[first] + radii[second])
    near = (ratios < REACH) & (lengths > 0)
    first, second, springs, lengths, ratios = (each[near] for each in (first, second, springs, lengths, ratios))
    constants = 0.5 * BOND_EV_PER_ANG2 * (np.exp(DECAY * (1 - np.maximum(ratios, 0.8))) - np.exp(DECAY * (1 - REACH)))
    along = springs / lengths[:, None]
    outer = (1 - SIDEWAYS) * along[:, :, None] * along[:, None, :] + SIDEWAYS * np.eye(3)
    blocks = constants[:, None, None] * outer

    atoms = np.zeros((n_atoms, n_atoms, 3, 3))
    for one, other, sign in ((first, first, 1), (second, second, 1), (first, second, -1), (second, first, -1)):
        np.add.at(atoms, (one, other), sign * blocks)
    # Derivative of r S by the nine components of n S, symmetric in S.
    stretch = np.einsum("sa,bc->scab", springs, np.eye(3)) / (2 * n_atoms)
    stretch = (stretch + stretch.transpose(0, 1, 3, 2)).reshape(-1, 3, 9)
    pulled = blocks @ stretch
    coupling = np.zeros((n_atoms, 3, 9))
    np.add.at(coupling, second, pulled)
    np.add.at(coupling, first, -pulled)
    size = 3 * n_atoms
    stiffness = np.empty((size + 9, size + 9))
    stiffness[:size, :size] = atoms.transpose(0, 2, 1, 3).reshape(size, size)
    stiffness[:size, size:] = coupling.reshape(size, 9)
    stiffness[size:, :size] = stiffness[:size, size:].T
    stiffness[size:, size:] = np.einsum("sca,scb->ab", stretch, pulled)
    floor = np.full(size + 9, FLOOR_EV_PER_ANG2)
    floor[size:] /= n_atoms
    return np.linalg.inv(stiffness + np.diag(floor))

"""Force constants of second and third order by least squares from random displacements of all atoms.

The symmetry-adapted basis is symfc's (Phys. Rev. B 110, 214302; 10.1103/PhysRevB.110.214302): whatever its
coefficients, force constants obey the space group, the permutations of their indices and the acoustic sum rules. Its
solver is not used: it holds the normal equations, whose memory grows with the square of the basis and whose time with
the cube (7 GB for 10 atoms per cell), and does not ask LAPACK whether they were singular. Random displacements make a
well-conditioned problem, for which a few dozen products with the design matrix do, and these need no matrix.

Displacements come in opposite pairs. Half the difference of their forces is odd, half their sum even in the
displacements, so that the second order is fitted without the third and the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from phonopy.interface.symfc import SymfcFCSolver
from phonopy.structure.atoms import PhonopyAtoms
from phonopy.structure.cells import Primitive
from phonopy.structure.symmetry import Symmetry
from scipy.sparse.linalg import LinearOperator, lsmr

from kappaforge.transport.failure import TransportError

GAP_WINDOW_ANG = 0.2
"""How far a cutoff is raised to find a wider gap between shells of neighbours."""

SOLVER_TOLERANCE = 1e-6
MOST_ITERATIONS = 1000

LARGEST_RESIDUAL = 0.5
"""Beyond, a fit explains next to nothing: as when forces are noise, or come from beyond the cutoff."""


class Fit(NamedTuple):
    """Force constants of one order.

    ==============  ==========================================  ======================================================
    field           shape                                       content
    ==============  ==========================================  ======================================================
    constants       (n_primitive, n_supercell, 3, 3) or         eV/Å², or
                    (n_primitive, n_supercell, n_supercell,     eV/Å³
                    3, 3, 3)
    residual        –                                           root mean square of what is left of the forces,
                                                                relative to that of the forces
    n_parameters    –                                           free parameters
    ==============  ==========================================  ======================================================
    """

    constants: np.ndarray
    residual: float
    n_parameters: int


def cutoff_in_gap(distances_ang: np.ndarray, wanted_ang: float) -> float:
    """Put a cutoff into the middle of a gap between shells of neighbours: its own, or a wider one just above.

    It never falls below a shell that it held, as what a fit has no force constants for spoils those that it has.

    Parameters
    ----------
    distances_ang
        Between atoms, in any shape; those that differ by less than 1e-4 Å are one shell.
    wanted_ang
        The cutoff; gaps that begin more than `GAP_WINDOW_ANG` above it do not count.

    Returns
    -------
    float
        In Å. Where there is no shell beyond the cutoff, the cutoff itself.
    """
    shells = np.unique(np.round(np.append(distances_ang, 0.0), 4))
    gaps = [
        (round(float(end - start), 4), float(end + start) / 2)
        for start, end in pairwise(shells)
        if start < wanted_ang + GAP_WINDOW_ANG and end > wanted_ang
    ]
    return max(gaps)[1] if gaps else wanted_ang


def random_displacements(n_supercells: int, n_atoms: int, length_ang: float, seed: int) -> np.ndarray:
    """Return normally distributed displacements, shape (n_supercells, n_atoms, 3), root mean square length in Å.

    Lengths vary, as with equal ones Σⱼ Φᵢⱼⱼ uⱼuⱼ would hardly tell the traces of Φᵢⱼⱼ apart.
    """
    return np.random.default_rng(seed).normal(scale=length_ang / np.sqrt(3), size=(n_supercells, n_atoms, 3))


class Basis(NamedTuple):
    """Symmetry-adapted basis of one order, in the form that the fit needs.

    `compression` holds what symfc calls the compact compression matrix, only with the rows of `neighbours`.
    """

    order: int
    compression: Any
    sum_rules: Any
    translations: np.ndarray
    first_atoms: np.ndarray
    neighbours: list[np.ndarray]

    @property
    def n_parameters(self) -> int:
        """Return the number of free parameters."""
        return int(self.sum_rules.shape[1])

    def supercells_needed(self, oversampling: float) -> int:
        """Return how many supercells, opposite ones counted once, give so many force components per parameter."""
        return max(1, ceil(oversampling * self.n_parameters / (3 * self.translations.shape[1])))


def symmetric_basis(
    supercell: PhonopyAtoms, primitive: Primitive, symmetry: Symmetry, order: int, cutoff_ang: float | None
) -> Basis:
    """Build the basis of second (2) or third (3) order with symfc.

    Parameters
    ----------
    supercell, primitive, symmetry
        As phonopy has them; the symmetry is the supercell's.
    order
        2 or 3.
    cutoff_ang
        Between all pairs of atoms in a triplet, or between the two of a pair; None for no cutoff.

    Raises
    ------
    TransportError
        Where the cutoff leaves nothing to fit.
    """
    symfc = SymfcFCSolver(
        supercell, symmetry=symmetry, options={} if cutoff_ang is None else {"cutoff": {order: cutoff_ang}}
    )
    nothing = TransportError("failed", f"a cutoff of {cutoff_ang} Å leaves no force constant of order {order} to fit")
    try:
        basis = symfc.compute_basis_set(orders=[order])[order]
    except AssertionError:  # symfc's word for sum rules that only zero obeys
        raise nothing from None
    n_atoms = len(supercell)
    first_atoms = np.asarray(basis.p2s_map)
    assert np.array_equal(first_atoms, primitive.p2s_map), "symfc and phonopy choose the same atoms of a primitive cell"
    everyone = np.arange(n_atoms)
    cut = basis.fc_cutoff
    neighbours = [everyone if cut is None else np.asarray(cut.neighbors[atom]) for atom in first_atoms]
    rows = []
    for first, near in enumerate(neighbours):
        if order == 2:
            places, parts = first * n_atoms + near, 9
        else:
            places, parts = ((first * n_atoms + near[:, None]) * n_atoms + near).ravel(), 27
        rows.append((places[:, None] * parts + np.arange(parts)).ravel())
    compression = basis.compact_compression_matrix.tocsr()[np.concatenate(rows)]
    sum_rules = basis.blocked_basis_set
    if sum_rules.shape[1] == 0:
        raise nothing
    return Basis(order, compression, sum_rules, np.asarray(basis.translation_permutations), first_atoms, neighbours)


def fit_force_constants(basis: Basis, displacements: np.ndarray, forces: np.ndarray) -> Fit:
    """Fit force constants of one order to the part of the forces that belongs to it.

    Parameters
    ----------
    basis
        From `symmetric_basis`.
    displacements
        Shape (n_supercells, n_atoms, 3), Å; opposite ones only once.
    forces
        Same shape, eV/Å. Second order: (F(u) - F(-u)) / 2; third order: (F(u) + F(-u)) / 2 - F(0).

    Raises
    ------
    TransportError
        Where there are fewer forces than free parameters, which would give anything; where the fit does not converge
        or explains next to nothing; where all forces are zero.
    """
    n_supercells, n_atoms, _ = displacements.shape
    if n_supercells * 3 * n_atoms < basis.n_parameters:
        raise TransportError(
            "failed",
            f"under-determined fit of order {basis.order}: {n_supercells} supercells of {n_atoms} atoms for "
            f"{basis.n_parameters} parameters, which need {basis.supercells_needed(1.0)} (better "
            f"{basis.supercells_needed(4.5)}), opposite displacements counted once",
        )
    near = [
        displacements[:, basis.translations[:, atoms]].reshape(n_supercells * len(basis.translations), -1)
        for atoms in basis.neighbours
    ]
    wanted = np.stack([forces[:, basis.translations[:, atom]].reshape(-1, 3) for atom in basis.first_atoms])
    if not wanted.any():
        raise TransportError("failed", f"all force constants of order {basis.order} vanish: the forces do not change")

    def predict(parameters: np.ndarray) -> np.ndarray:
        flat = basis.compression @ (basis.sum_rules @ parameters)
        return np.stack([_forces(part, moved) for part, moved in zip(_by_atom(basis, flat), near, strict=True)]).ravel()

    def gradient(weights: np.ndarray) -> np.ndarray:
        by_atom = zip(weights.reshape(wanted.shape), near, strict=True)
        flat = np.concatenate([_transposed(weight, moved, basis.order).ravel() for weight, moved in by_atom])
        return basis.sum_rules.T @ (basis.compression.T @ flat)

    design = LinearOperator(shape=(wanted.size, basis.n_parameters), matvec=predict, rmatvec=gradient, dtype=np.float64)
    solution, reason, n_iterations, left, *_ = lsmr(
        design, wanted.ravel(), atol=SOLVER_TOLERANCE, btol=SOLVER_TOLERANCE, conlim=1e8, maxiter=MOST_ITERATIONS
    )
    if reason not in (1, 2, 4, 5):  # a residual of zero, or the least one
        raise TransportError(
            "failed",
            f"the fit of order {basis.order} did not settle in {n_iterations} iterations: "
            "raise the oversampling, or lower the cutoff",
        )
    constants = _dense(basis, basis.compression @ (basis.sum_rules @ solution))
    residual = float(left / np.linalg.norm(wanted))
    if residual > LARGEST_RESIDUAL:
        raise TransportError(
            "failed",
            f"the fit of order {basis.order} leaves {residual:.0%} of the forces: raise cutoff or displacements",
        )
    return Fit(constants, residual, basis.n_parameters)


def _by_atom(basis: Basis, flat: np.ndarray) -> Iterator[np.ndarray]:
    """Cut a column of force constants into those of each atom of the primitive cell, with its neighbours alone."""
    start = 0
    for atoms in basis.neighbours:
        n_near = len(atoms)
        shape = (n_near, 3, 3) if basis.order == 2 else (n_near, n_near, 3, 3, 3)
        size = int(np.prod(shape))
        yield flat[start : start + size].reshape(shape)
        start += size


def _forces(constants: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Return -Φ u, or -Φ u u / 2, on one atom, shape (n, 3), for displacements of its neighbours, (n, 3 n_near)."""
    if constants.ndim == 3:
        return -moved @ constants.transpose(0, 2, 1).reshape(moved.shape[1], 3)
    pairs = constants.transpose(2, 0, 3, 1, 4).reshape(3, moved.shape[1], moved.shape[1])
    return np.stack([-0.5 * np.einsum("nj,nj->n", moved @ pair, moved) for pair in pairs], axis=1)


def _transposed(weights: np.ndarray, moved: np.ndarray, order: int) -> np.ndarray:
    """Return the transpose of `_forces`, applied to weights of shape (n, 3)."""
    n_near = moved.shape[1] // 3
    if order == 2:
        return -(moved.T @ weights).reshape(n_near, 3, 3).transpose(0, 2, 1)
    pairs = np.stack([moved.T @ (weight[:, None] * moved) for weight in weights.T])
    return -0.5 * pairs.reshape(3, n_near, 3, n_near, 3).transpose(1, 3, 0, 2, 4)


def _dense(basis: Basis, flat: np.ndarray) -> np.ndarray:
    """Return force constants with all atoms of the supercell."""
    n_atoms = basis.translations.shape[1]
    constants = np.zeros((len(basis.first_atoms),) + (n_atoms,) * (basis.order - 1) + (3,) * basis.order)
    for first, (part, near) in enumerate(zip(_by_atom(basis, flat), basis.neighbours, strict=True)):
        constants[first][np.ix_(*[near] * (basis.order - 1))] = part  # a view of the first atom's
    return constants

"""Third-order force constants from the fewest displacements of one and two atoms that the symmetry allows.

phono3py displaces a second atom after each displaced first one, both forward and backward: up to 36 supercells for each
ordered pair of atoms. Here each pair counts once, whichever of its atoms comes first, and with both atoms displaced by
u and v, and by -u and -v, the even part of the forces has Φ(u, v) to the same order of the displacements as all four
signs have,

    F(u, v) + F(-u, -v) - F(u) - F(-u) - F(v) - F(-v) + 2 F(0) = -2 Σ u_a v_b Φ_ijk,ab.

Of the nine tensors u ⊗ v only those are displaced that rotations of the pair do not make from others, and of a
supercell and its negative only one if an operation of the crystal turns one into the other.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
from phonopy.structure.atoms import PhonopyAtoms
from phonopy.structure.cells import Primitive
from phonopy.structure.symmetry import Symmetry
from phonopy.utils import similarity_transformation

from kappaforge.transport.force_constants import average_over_known, impose_sum_rules, near_pairs_of_triplets

INDEPENDENT = 0.03
"""Least share of a new tensor u ⊗ v, squared, that is none of those that there are already."""

ROUND_ANG = 1e-6
"""Displacements that differ by less are the same."""


class Operations(NamedTuple):
    """The space group of a supercell, translations among it.

    ============  ============  ==================================================
    field         shape         content
    ============  ============  ==================================================
    rotations     (n, 3, 3)     Cartesian
    images        (n, n_atoms)  the atom that each atom is taken to
    ============  ============  ==================================================
    """

    rotations: np.ndarray
    images: np.ndarray


class ForceSum(NamedTuple):
    """Forces to be added up: those of displaced supercells, each turned by an operation's inverse.

    ============  =====  =============================================================
    field         shape  content
    ============  =====  =============================================================
    supercells    (n,)   which
    operations    (n,)   that take the displacements wanted to those of the supercell
    factors       (n,)   what each is multiplied by
    ============  =====  =============================================================
    """

    supercells: list[int]
    operations: list[int]
    factors: list[float]


class Measured(NamedTuple):
    """One tensor u ⊗ v of a pair and the forces that give Σ u_a v_b Φ_ijk,ab."""

    tensor: np.ndarray
    forces: ForceSum


class PairOrbit(NamedTuple):
    """A pair of atoms, whether it is turned into itself, and what is measured of it.

    ============  ==================  ============================================================================
    field         shape               content
    ============  ==================  ============================================================================
    atoms         –                   first, of the primitive cell, and second
    keep, swap    (n,)                operations that keep both atoms, and that exchange them
    members       (n)                 all pairs made from it: first atom, second atom, operation, whether exchanged
    measured      –                   enough for all nine components
    ============  ==================  ============================================================================
    """

    atoms: tuple[int, int]
    keep: np.ndarray
    swap: np.ndarray
    members: list[tuple[int, int, int, bool]]
    measured: list[Measured]


class PairDisplacements(NamedTuple):
    """Displaced supercells, and how force constants come from their forces.

    ============  =================================================================================================
    field         content
    ============  =================================================================================================
    sites         of each supercell, the atoms displaced and by how much (Å): the first has none
    orbits        pairs that no operation makes from each other
    operations    of the supercell
    near          pairs that are displaced together, shape (n_primitive, n_supercell)
    ============  =================================================================================================
    """

    sites: list[tuple[tuple[int, ...], np.ndarray]]
    orbits: list[PairOrbit]
    operations: Operations
    near: np.ndarray

    def supercells(self, supercell: PhonopyAtoms) -> list[PhonopyAtoms]:
        """Return the displaced supercells."""
        return [_displaced(supercell, *sites) for sites in self.sites]


def pair_displacements(
    primitive: Primitive, supercell: PhonopyAtoms, symmetry: Symmetry, near: np.ndarray, axes: np.ndarray, length: float
) -> PairDisplacements:
    """Choose displacements.

    Parameters
    ----------
    primitive, supercell, symmetry
        The cells, and the symmetry of the supercell.
    near
        Pairs whose atoms are displaced together, shape (n_primitive, n_supercell).
    axes
        Rows: orthogonal axes along which displacements look for symmetry first, shape (3, 3).
    length
        Of displacements, Å.
    """
    rotations = [
        similarity_transformation(supercell.cell.T, each) for each in symmetry.symmetry_operations["rotations"]
    ]
    operations = Operations(np.array(rotations), np.array(symmetry.atomic_permutations))
    registry = _Supercells(operations)
    directions = np.array([each for each in product((1, 0, -1), repeat=3) if each > (0, 0, 0)], dtype=float)
    directions = directions[np.argsort(np.abs(directions).sum(axis=1), kind="stable")]
    directions = directions / np.linalg.norm(directions, axis=1)[:, None] @ axes
    place = {atom: row for row, atom in enumerate(primitive.p2s_map)}
    left = {(atom, int(other)) for atom, row in place.items() for other in np.flatnonzero(near[row])}
    orbits = []
    # each atom's own displacements first, which those of pairs need
    for atoms in sorted(left, key=lambda pair: (pair[0] != pair[1], pair)):
        if atoms in left:
            orbit = _orbit(atoms, operations, place)
            left -= {(int(first), int(second)) for first, second, _, _ in orbit.members}
            _measure(orbit, operations, directions, length, registry)
            orbits.append(orbit)
    return PairDisplacements(registry.sites, orbits, operations, near)


def pair_force_constants(plan: PairDisplacements, primitive: Primitive, forces: np.ndarray) -> np.ndarray:
    """Solve for third-order force constants, with permutation symmetry and the acoustic sum rules.

    Parameters
    ----------
    plan
        From `pair_displacements`.
    primitive
        The same as there.
    forces
        In its supercells, shape (n_displaced, n_supercell, 3), eV/Å.

    Returns
    -------
    ndarray
        Shape (n_primitive, n_supercell, n_supercell, 3, 3, 3), eV/Å³; zero where no pair of a triplet is near.
    """
    rotations, images = plan.operations
    n_atoms = images.shape[1]
    fc3 = np.zeros((len(primitive), n_atoms, n_atoms, 3, 3, 3))
    place = {atom: row for row, atom in enumerate(primitive.p2s_map)}
    for orbit in plan.orbits:
        tensors, turned = [], []
        for tensor, wanted in orbit.measured:
            measured = sum(
                factor * (forces[cell][images[operation]] @ rotations[operation])
                for cell, operation, factor in zip(*wanted, strict=True)
            )
            for operations, exchanged in ((orbit.keep, False), (orbit.swap, True)):
                for operation in operations:
                    rotation = rotations[operation]
                    there = rotation @ tensor @ rotation.T
                    tensors.append((there.T if exchanged else there).ravel())
                    back = np.empty_like(measured)
                    back[images[operation]] = measured @ rotation.T
                    turned.append(back)
        solved = np.linalg.pinv(np.array(tensors)) @ np.array(turned).reshape(len(tensors), -1)
        constants = solved.reshape(3, 3, n_atoms, 3)
        for first, second, operation, exchanged in orbit.members:
            rotation = rotations[operation]
            own = constants.transpose(1, 0, 2, 3) if exchanged else constants
            there = np.einsum("ad,be,cf,dekf->kabc", rotation, rotation, rotation, own, optimize=True)
            fc3[place[first], second, images[operation]] = there
    n_near = near_pairs_of_triplets(primitive, plan.near)
    average_over_known(fc3, primitive, plan.near, n_near)
    impose_sum_rules(fc3, primitive, n_near > 0)
    return fc3


class _Supercells:
    """Displaced supercells that no operation makes from each other."""

    def __init__(self, operations: Operations) -> None:
        self.operations = operations
        self.sites: list[tuple[tuple[int, ...], np.ndarray]] = [((), np.zeros((0, 3)))]
        self.numbers: dict[bytes, int] = {}

    def find(self, atoms: tuple[int, ...], moves: np.ndarray) -> tuple[int, int]:
        """Return the supercell that displacements can be turned into, and by which operation; a new one if need be."""
        rotations, images = self.operations
        to, turned = images[:, atoms], np.einsum("nab,mb->nma", rotations, moves)
        order = np.argsort(to, axis=1)
        to, turned = np.take_along_axis(to, order, axis=1), np.take_along_axis(turned, order[:, :, None], axis=1)
        rounded = np.rint(turned / ROUND_ANG).astype(np.int64)
        rows = np.concatenate([to, rounded.reshape(len(to), -1)], axis=1)
        operation = _least(rows)
        key = rows[operation].tobytes()
        if key not in self.numbers:
            self.numbers[key] = len(self.sites)
            self.sites.append((tuple(int(atom) for atom in to[operation]), turned[operation]))
        return self.numbers[key], operation


def _orbit(atoms: tuple[int, int], operations: Operations, place: dict[int, int]) -> PairOrbit:
    """Turn a pair by all operations."""
    at = operations.images[:, atoms]
    members: dict[tuple[int, int], tuple[int, bool]] = {}
    for exchanged, ordered in ((False, at), (True, at[:, ::-1])):
        for operation in np.flatnonzero(np.isin(ordered[:, 0], list(place))):
            members.setdefault((int(ordered[operation, 0]), int(ordered[operation, 1])), (int(operation), exchanged))
    return PairOrbit(
        atoms,
        np.flatnonzero((at == atoms).all(axis=1)),
        np.flatnonzero((at == atoms[::-1]).all(axis=1)),
        [(*pair, *how) for pair, how in members.items()],
        [],
    )


def _measure(
    orbit: PairOrbit, operations: Operations, directions: np.ndarray, length: float, registry: _Supercells
) -> None:
    """Choose tensors u ⊗ v, one after the other the one that tells most for each supercell, until all nine are known.

    Of an atom with itself u = v, as only the symmetric part is asked for: both displacements are the same atom's.
    """
    rotations, own = operations.rotations, orbit.atoms[0] == orbit.atoms[1]
    n_directions = len(directions)
    u, v = np.divmod(np.arange(n_directions**2), n_directions)
    if own:
        u = v = np.arange(n_directions)
    one, two = directions[u], directions[v]
    kept, exchanged = rotations[orbit.keep], rotations[orbit.swap]
    # what a tensor becomes under all operations of the pair: (candidates, operations, 9)
    one_kept, two_kept = one @ kept.transpose(0, 2, 1), two @ kept.transpose(0, 2, 1)
    one_exchanged, two_exchanged = one @ exchanged.transpose(0, 2, 1), two @ exchanged.transpose(0, 2, 1)
    tensors = np.concatenate(
        [
            np.einsum("nca,ncb->cnab", one_kept, two_kept),
            np.einsum("nca,ncb->cnab", two_exchanged, one_exchanged),
        ],
        axis=1,
    ).reshape(len(u), -1, 9)
    # whether an operation makes both displacements negative
    backwards = (np.abs(one_kept + one).max(axis=2) < 1e-6) & (np.abs(two_kept + two).max(axis=2) < 1e-6)
    crossed = (np.abs(one_exchanged + two).max(axis=2) < 1e-6) & (np.abs(two_exchanged + one).max(axis=2) < 1e-6)
    costs = 2 - (backwards.any(axis=0) | crossed.any(axis=0))
    missing = np.eye(9)
    if own:
        missing = (missing + missing.reshape(3, 3, 3, 3).transpose(0, 1, 3, 2).reshape(9, 9)) / 2
    threshold = INDEPENDENT
    while np.trace(missing) > 0.5:
        left = tensors @ missing
        shares, vectors = np.linalg.eigh(left.transpose(0, 2, 1) @ left / tensors.shape[1])
        gains = (shares > threshold).sum(axis=1) / costs
        best = int(gains.argmax())
        if gains[best] == 0:
            threshold /= 10
            continue
        new = vectors[best][:, shares[best] > threshold]
        missing = missing - new @ new.T
        orbit.measured.append(_measured(orbit.atoms, length * one[best], length * two[best], own, registry))


def _measured(atoms: tuple[int, int], one: np.ndarray, two: np.ndarray, own: bool, registry: _Supercells) -> Measured:
    sites = [((atoms[0],), one[None])] if own else [(atoms, np.stack([one, two]))]
    terms = [(*registry.find(at, sign * by), 1.0) for at, by in sites for sign in (1, -1)]
    if own:
        terms.append((0, 0, -2.0))
        scale = -1.0
    else:
        for atom, move in zip(atoms, (one, two), strict=True):
            terms += [(*registry.find((atom,), sign * move[None]), -1.0) for sign in (1, -1)]
        terms.append((0, 0, 2.0))
        scale = -0.5
    cells, operations, factors = zip(*terms, strict=True)
    return Measured(np.outer(one, two), ForceSum(list(cells), list(operations), [scale * factor for factor in factors]))


def _displaced(supercell: PhonopyAtoms, atoms: tuple[int, ...], moves: np.ndarray) -> PhonopyAtoms:
    positions = supercell.positions
    positions[list(atoms)] += moves
    return PhonopyAtoms(numbers=supercell.numbers, cell=supercell.cell, positions=positions)


def _least(rows: np.ndarray) -> int:
    """Return the place of the lexicographically smallest row."""
    places = np.arange(len(rows))
    for column in rows.T:
        values = column[places]
        places = places[values == values.min()]
    return int(places[0])

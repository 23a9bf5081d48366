"""The smallest supercell that keeps periodic images far enough apart and the crystal's symmetry whole."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, isfinite, sqrt
from typing import NamedTuple

import numpy as np
import spglib

from kappaforge.errors import InputError
from kappaforge.spglib_answer import or_none
from kappaforge.transport.failure import TransportError
from kappaforge.transport.force_constants import SYMPREC
from kappaforge.transport.order_settings import Distance
from kappaforge.transport.primitive import PrimitiveCrystal

MOST_MATRICES = 20_000_000
"""Superlattices searched, which takes seconds. Beyond, the best multiple of the usual cells is taken."""

_TOLERANCE = 1e-6  # of lengths: round-off is no reason for a larger supercell


class SupercellChoice(NamedTuple):
    """A supercell of a primitive crystal.

    ===================  ======  ==================================================================================
    field                shape   content
    ===================  ======  ==================================================================================
    matrix               (3, 3)  integers; the supercell's lattice vectors are the rows of ``matrix @ primitive cell``
    n_atoms              –       atoms in the supercell
    face_distance_ang    –       between the closest two opposite faces, Å
    image_distance_ang   –       between an atom and its nearest periodic image, Å
    ===================  ======  ==================================================================================

    phonopy and phono3py take lattice vectors as columns: give them ``matrix.T``.
    """

    matrix: np.ndarray
    n_atoms: int
    face_distance_ang: float
    image_distance_ang: float


def smallest_supercell(
    primitive: PrimitiveCrystal, distance_ang: float, between: Distance = "faces"
) -> SupercellChoice:
    """Choose the supercell with the fewest atoms whose faces or images are at least a distance apart.

    All superlattices that the point group turns into themselves are candidates, not only multiples of the conventional
    and the primitive cell: they are enumerated in Hermite normal form (Hart & Forcade, Phys. Rev. B 77, 224115;
    10.1103/PhysRevB.77.224115), in order of their volume. Lattices the symmetry breaks are left out because finite
    displacements and q points would lose operations. Of equally many atoms, the supercell with the farthest images is
    taken, then that with the farthest faces. The lattice vectors are Niggli-reduced.

    Parameters
    ----------
    primitive
        The crystal.
    distance_ang
        Least distance, Å.
    between
        Of what: "faces" or "images".

    Raises
    ------
    InputError
        For a distance that is not positive and finite.
    TransportError
        Where spglib cannot reduce the cell.
    """
    if not (isfinite(distance_ang) and distance_ang > 0):
        raise InputError(f"supercell: expected a positive, finite distance in Å, got {distance_ang!r}")
    wanted = distance_ang * (1 - _TOLERANCE)
    best = _usual_supercell(primitive, wanted, between)
    volume = primitive.crystal.volume_ang3
    # no lattice packs its images densier than the face-centred cubic one, and faces make a volume of at least d³
    smallest = wanted**3 / volume / (sqrt(2) if between == "images" else 1.0)
    indices = range(max(1, ceil(smallest)), best.n_atoms // len(primitive.crystal))
    if sum(2 * index**2 for index in indices) > MOST_MATRICES:
        return best
    generators = _generators(primitive.rotations)
    short = _short_vectors(primitive.crystal.cell, wanted)
    for index in indices:
        fitting = [
            choice
            for matrix in _invariant_superlattices(index, generators, short)
            if _distance(choice := _choice(primitive, matrix), between) >= wanted
        ]
        if fitting:
            return max(fitting, key=_quality)
    return best


def conventional_matrix(primitive: PrimitiveCrystal) -> np.ndarray:
    """Return the integers that make rows of the conventional cell from rows of the primitive one, shape (3, 3)."""
    crystal = primitive.crystal
    given = (crystal.cell.tolist(), crystal.fractional.tolist(), crystal.numbers.tolist())
    dataset = or_none(spglib.get_symmetry_dataset, given, symprec=SYMPREC)
    if dataset is None:
        raise TransportError("failed", f"spglib finds no space group within {SYMPREC} Å: atoms may be too close")
    # spglib's matrix makes the given vectors out of the conventional ones, as columns
    return np.rint(np.linalg.inv(dataset.transformation_matrix).T).astype(np.int64)


def _usual_supercell(primitive: PrimitiveCrystal, wanted: float, between: Distance) -> SupercellChoice:
    """Return the smallest multiple of the conventional or of the primitive cell that is large enough."""
    choices = []
    for base in (conventional_matrix(primitive), np.eye(3, dtype=np.int64)):
        heights = 1 / np.linalg.norm(np.linalg.inv(base @ primitive.crystal.cell), axis=0)
        turned = np.linalg.inv(base.T) @ primitive.rotations @ base.T
        mixed = np.abs(turned).max(axis=0) > 0.1
        numbers = np.ceil(wanted / heights).astype(int)
        for _ in range(3):  # numbers of vectors that the symmetry mixes are equal
            numbers = np.array([numbers[mixed[axis] | mixed[:, axis]].max() for axis in range(3)])
        choices.append(_choice(primitive, numbers[:, None] * base))
    return min(choices, key=lambda choice: choice.n_atoms)


def _generators(rotations: np.ndarray) -> np.ndarray:
    """Return few rotations that generate all, without inversion, which turns every lattice into itself."""
    group = {tuple((sign * np.eye(3, dtype=int)).ravel()) for sign in (1, -1)}
    chosen: list[np.ndarray] = []
    # those that leave least of a lattice in place come first, as they rule out most
    for rotation in sorted(rotations, key=lambda rotation: (abs(np.trace(rotation)), rotation.tolist())):
        if tuple(rotation.ravel()) in group:
            continue
        chosen.append(rotation)
        grown = set(group)
        while True:
            products = {
                tuple((np.reshape(old, (3, 3)) @ new).ravel())
                for old in grown
                for new in (*chosen, -np.eye(3, dtype=int))
            }
            if products <= grown:
                break
            grown |= products
        group = grown
    return np.array(chosen, dtype=np.int64).reshape(-1, 3, 3)


def _short_vectors(cell: np.ndarray, length_ang: float) -> np.ndarray:
    """Return the lattice vectors shorter than a length, one of each ± pair, as whole numbers, shape (n, 3)."""
    reach = np.floor(length_ang * np.linalg.norm(np.linalg.inv(cell), axis=0)).astype(int)
    axes = [np.arange(-most, most + 1) for most in reach]
    vectors = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    vectors = vectors[len(vectors) // 2 + 1 :]  # the second half, past zero, mirrors the first
    lengths = np.linalg.norm(vectors @ cell, axis=1)
    return vectors[np.argsort(lengths, kind="stable")][: np.count_nonzero(lengths < length_ang)]


def _invariant_superlattices(index: int, generators: np.ndarray, short: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the superlattices of that index which the rotations keep and that hold none of the short vectors.

    Rows of each are (a, b, c), (0, d, e), (0, 0, f) with a d f = index, 0 ≤ b < d and 0 ≤ c, e < f.
    """
    for a in (number for number in range(1, index + 1) if index % number == 0):
        for d in (number for number in range(1, index // a + 1) if index // a % number == 0):
            f = index // (a * d)
            b, c, e = (axis.ravel() for axis in np.meshgrid(np.arange(d), np.arange(f), np.arange(f), indexing="ij"))
            for rotation in generators:
                for row in (2, 1, 0):  # the last row is the same for all, so it rules out most at least cost
                    zero = np.zeros_like(b)
                    vector = ((zero + a, b, c), (zero, zero + d, e), (zero, zero, zero + f))[row]
                    turned = [sum(rotation[i, j] * vector[j] for j in range(3)) for i in range(3)]
                    kept = _is_inside(turned, (a, d, f), b, c, e)
                    b, c, e = b[kept], c[kept], e[kept]
            for vector in short:
                if not b.size:
                    break
                kept = ~_is_inside(list(vector), (a, d, f), b, c, e)
                b, c, e = b[kept], c[kept], e[kept]
            for above in zip(b, c, e, strict=True):
                yield np.array([[a, above[0], above[1]], [0, d, above[2]], [0, 0, f]], dtype=np.int64)


def _is_inside(vector: list, diagonal: tuple[int, int, int], b: np.ndarray, c: np.ndarray, e: np.ndarray) -> np.ndarray:
    """Return for which superlattices a vector of the primitive lattice belongs to them."""
    a, d, f = diagonal
    first, rest = np.divmod(vector[0], a)
    inside = rest == 0
    second, rest = np.divmod(vector[1] - first * b, d)
    inside = inside & (rest == 0)
    return inside & ((vector[2] - first * c - second * e) % f == 0)


def _choice(primitive: PrimitiveCrystal, matrix: np.ndarray) -> SupercellChoice:
    """Reduce a superlattice and measure it."""
    lattice = matrix @ primitive.crystal.cell
    reduced = spglib.niggli_reduce(lattice)
    if reduced is None:
        raise TransportError("failed", "spglib cannot reduce the supercell's lattice: the cell may be degenerate")
    change = np.rint(reduced @ np.linalg.inv(lattice)).astype(np.int64)
    matrix = change @ matrix
    if np.linalg.det(matrix) < 0:
        matrix = -matrix
    lattice = matrix @ primitive.crystal.cell
    heights = 1 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    steps = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    lengths = np.linalg.norm(steps @ lattice, axis=1)
    n_cells = round(abs(np.linalg.det(matrix)))
    return SupercellChoice(
        matrix, n_cells * len(primitive.crystal), float(heights.min()), float(lengths[lengths > _TOLERANCE].min())
    )


def _distance(choice: SupercellChoice, between: Distance) -> float:
    return choice.face_distance_ang if between == "faces" else choice.image_distance_ang


def _quality(choice: SupercellChoice) -> tuple:
    """Order supercells of equally many atoms; the matrix settles ties, so that the same crystal gets the same one."""
    distances = round(choice.image_distance_ang, 6), round(choice.face_distance_ang, 6)
    return (*distances, choice.matrix.tolist())

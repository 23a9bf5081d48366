"""Which of many lattices have a basis close to that of another, all looked up at once.

``StructureMatcher`` compares two crystals only in bases of the first lattice whose lengths and angles are close to
those of the second's reduced cell. Few bases can ever be close to a reduced cell. Listed once for each lattice, they
answer by a look-up what pymatgen's ``Lattice.find_all_mappings`` searches for anew for every pair.
"""

from __future__ import annotations

import numba
import numpy as np
from ase.geometry import minkowski_reduce

from kappaforge.cells import cell_parameters, determinant, reciprocal_lengths

ROUNDING = 2e-5
"""Slack against round-off, here and in pymatgen: a basis may be found in vain, but none may be missed."""

REDUCTION_SLACK = 1e-3
"""How far, relatively, a cell that counts as reduced may break the conditions: programs reduce to about 1e-5."""

MAX_VECTORS = 5000
"""Lattices with more vectors to consider, long needles and thin plates, are not listed but always offered."""

MAX_INTEGER = 127
"""Nor are those with bases whose integers do not fit into a byte."""

MAX_DEFECT = np.sqrt(2)
"""Product of the lengths of a reduced cell's vectors over its volume, at most (Gauss, for ternary forms)."""


def is_reduced(cell: np.ndarray) -> bool:
    """Tell whether a cell is reduced: rising lengths, angles as near to 90° as the lengths ask for, little defect.

    Niggli's cells are (doi 10.1107/S0567739476000636).

    Parameters
    ----------
    cell
        Lattice vectors as rows, shape (3, 3).
    """
    lengths, angles_deg = cell_parameters(np.array(cell, dtype=np.float64, order="C"))
    (a, b, c), slack = lengths, 1 + REDUCTION_SLACK
    rising = a <= b * slack and b <= c * slack
    square = (np.abs(np.cos(np.deg2rad(angles_deg))) <= np.array([b / c, a / c, a / b]) / 2 + REDUCTION_SLACK).all()
    return bool(rising and square and a * b * c <= MAX_DEFECT * abs(np.linalg.det(cell)) * slack)


class LatticeIndex:
    """Lattices by number, and every basis of theirs that may be close to a reduced cell.

    Parameters
    ----------
    ltol
        Relative tolerance of the lengths, as in ``StructureMatcher``.
    angle_tol_deg
        Tolerance of the angles, in degrees.
    """

    def __init__(self, ltol: float, angle_tol_deg: float) -> None:
        self.log_tolerance = float(np.log(1 + ltol)) + ROUNDING
        self.angle_tolerance_deg = angle_tol_deg + ROUNDING
        self._rows = np.empty((0, 6), dtype=np.float32)
        self._scales = np.empty((0, 3, 3), dtype=np.int8)
        self._starts = np.zeros(1, dtype=np.int64)
        self._listed = np.empty(0, dtype=np.bool_)
        self._n_lattices = 0

    def __len__(self) -> int:
        return self._n_lattices

    @property
    def bases(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The bases of all lattices as the kernels take them.

        Returns
        -------
        tuple
            Angles alpha, beta, gamma in degrees and logarithms of the lengths at volume 1, shape (n_bases, 6), single
            precision, by rising alpha for each lattice; the bases in units of the lattice's cell, shape (n_bases, 3,
            3); where the bases of each lattice start and those of the last end, shape (n_lattices + 1,); whether the
            lattice is listed, shape (n_lattices,).
        """
        n, end = self._n_lattices, self._starts[self._n_lattices]
        return self._rows[:end], self._scales[:end], self._starts[: n + 1], self._listed[:n]

    def add(self, cell: np.ndarray) -> None:
        """Append a lattice, given by any of its cells, of any volume, shape (3, 3)."""
        if is_reduced(cell):
            rows, scales, listed = self._bases(unit_volume(cell))
        else:
            reduced, change = minkowski_reduce(cell)
            rows, scales, listed = self._bases(unit_volume(reduced))
            scales = np.rint(scales @ change)  # in units of the cell given
        if np.abs(scales).max(initial=0) > MAX_INTEGER:
            rows, scales, listed = rows[:0], scales[:0], False
        start = int(self._starts[self._n_lattices])
        end = start + len(rows)
        self._rows, self._scales = grown(self._rows, end), grown(self._scales, end)
        self._starts, self._listed = grown(self._starts, self._n_lattices + 2), grown(self._listed, len(self) + 1)
        self._rows[start:end], self._scales[start:end] = rows, scales
        self._starts[self._n_lattices + 1], self._listed[self._n_lattices] = end, listed
        self._n_lattices += 1

    def close_to(self, cell: np.ndarray) -> list[int]:
        """Return the numbers, rising, of the lattices with a basis close to a reduced cell of any volume.

        A cell that is not reduced may be close to bases that are not listed: all lattices are offered then.
        """
        if not is_reduced(cell):
            return list(range(len(self)))
        found = _close(*self.bases, row_of(unit_volume(cell)), self.log_tolerance, self.angle_tolerance_deg)
        return [int(number) for number in np.flatnonzero(found)]

    def _bases(self, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
        """Return rows and integers of all bases (u, v, w) that may be close to a reduced cell, and whether it has.

        The cell given is reduced and has volume 1. A reduced cell has rising lengths and little defect, so u is hardly
        longer than v, v hardly longer than w, and the product of the three is bounded.
        """
        factor = np.exp(self.log_tolerance) * (1 + REDUCTION_SLACK)
        bound = factor**3 * MAX_DEFECT
        shortest, second, _ = np.sort(np.linalg.norm(cell, axis=1))
        radius = bound / (shortest * second)
        if 4 / 3 * np.pi * radius**3 > MAX_VECTORS:
            return np.empty((0, 6)), np.empty((0, 3, 3)), False
        integers, vectors, lengths = short_vectors(cell, radius)
        order = np.argsort(lengths, kind="stable")
        integers, vectors, lengths = integers[order], vectors[order], lengths[order]
        n_short = int(np.searchsorted(lengths, factor * np.sqrt(bound / shortest), side="right"))
        rows, scales = _bases_of(
            integers, vectors, lengths, n_short, factor, bound, self.log_tolerance, self.angle_tolerance_deg
        )
        order = np.argsort(rows[:, 0], kind="stable")
        return rows[order], scales[order], True


def unit_volume(cell: np.ndarray) -> np.ndarray:
    """Return the cell scaled to volume 1."""
    return np.ascontiguousarray(cell / np.cbrt(abs(np.linalg.det(cell))), dtype=np.float64)


def grown(array: np.ndarray, length: int) -> np.ndarray:
    """Return the array with room for `length` entries, doubled where it has to grow."""
    if length <= len(array):
        return array
    more = np.empty((max(length, 2 * len(array)) - len(array), *array.shape[1:]), dtype=array.dtype)
    return np.concatenate([array, more])


@numba.njit(cache=True, error_model="numpy")
def row_of(cell: np.ndarray) -> np.ndarray:
    """Return the angles in degrees and the logarithms of the lengths, shape (6,)."""
    lengths, angles_deg = cell_parameters(cell)
    row = np.empty(6)
    for k in range(3):
        row[k], row[3 + k] = angles_deg[k], np.log(lengths[k])
    return row


@numba.njit(cache=True, error_model="numpy")
def first_row(rows: np.ndarray, start: int, end: int, least_alpha_deg: float) -> int:
    """Return the first row from `start` whose alpha is not below the least; rows are sorted by it."""
    while start < end:
        middle = (start + end) // 2
        if rows[middle, 0] < least_alpha_deg:
            start = middle + 1
        else:
            end = middle
    return start


@numba.njit(cache=True, error_model="numpy")
def row_is_close(row: np.ndarray, wanted: np.ndarray, log_tolerance: float, angle_tolerance_deg: float) -> bool:
    """Tell whether angles and lengths are within the tolerances."""
    for column in range(6):
        tolerance = angle_tolerance_deg if column < 3 else log_tolerance
        if abs(row[column] - wanted[column]) > tolerance:
            return False
    return True


@numba.njit(cache=True, error_model="numpy")
def short_vectors(cell: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the lattice vectors up to a length, but zero, in any order: integers (as floats), vectors, lengths."""
    reach = reciprocal_lengths(cell)
    a, b, c = int(radius * reach[0]), int(radius * reach[1]), int(radius * reach[2])
    n, room = 0, 128
    found = np.empty((room, 7))
    for i in range(-a, a + 1):
        for j in range(-b, b + 1):
            for k in range(-c, c + 1):
                x = i * cell[0, 0] + j * cell[1, 0] + k * cell[2, 0]
                y = i * cell[0, 1] + j * cell[1, 1] + k * cell[2, 1]
                z = i * cell[0, 2] + j * cell[1, 2] + k * cell[2, 2]
                square = x * x + y * y + z * z
                if square > radius * radius or (i == 0 and j == 0 and k == 0):
                    continue
                if n == room:
                    room *= 2
                    found = _with_room(found, room)
                found[n, 0], found[n, 1], found[n, 2] = i, j, k
                found[n, 3], found[n, 4], found[n, 5], found[n, 6] = x, y, z, np.sqrt(square)
                n += 1
    return found[:n, :3].copy(), found[:n, 3:6].copy(), found[:n, 6].copy()


@numba.njit(cache=True, error_model="numpy")
def _with_room(array: np.ndarray, room: int) -> np.ndarray:
    """Return the array with more rows."""
    more = np.empty((room, array.shape[1]))
    for i in range(len(array)):
        for k in range(array.shape[1]):
            more[i, k] = array[i, k]
    return more


@numba.njit(cache=True, error_model="numpy")
def is_upper(vector: np.ndarray) -> bool:
    """Tell whether a vector lies in the upper half of space: of v and -v exactly one does."""
    x, y, z = vector[0], vector[1], vector[2]
    return bool(x > 0 or (x == 0 and (y > 0 or (y == 0 and z > 0))))


@numba.njit(cache=True, error_model="numpy")
def _angle_deg(u: np.ndarray, v: np.ndarray, norms: float) -> float:
    cosine = (u[0] * v[0] + u[1] * v[1] + u[2] * v[2]) / norms
    return float(np.rad2deg(np.arccos(min(1.0, max(-1.0, cosine)))))


@numba.njit(cache=True, error_model="numpy")
def _square_enough(angle_deg: float, ratio: float, log_tolerance: float, angle_tolerance_deg: float) -> bool:
    """Tell whether an angle may be close to a reduced cell's, whose cosine is at most half the ratio of the lengths."""
    largest = min(ratio * np.exp(2 * log_tolerance) / 2 + REDUCTION_SLACK, 1.0)
    return bool(abs(90 - angle_deg) <= np.rad2deg(np.arcsin(largest)) + angle_tolerance_deg)


@numba.njit(cache=True, error_model="numpy")
def _bases_of(
    integers: np.ndarray,
    vectors: np.ndarray,
    lengths: np.ndarray,
    n_short: int,
    factor: float,
    bound: float,
    log_tolerance: float,
    angle_tolerance_deg: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and integers of the bases of vectors, which are sorted by length; u and v are of the short ones."""
    room, n = 256, 0
    found = np.empty((room, 15))
    for i in range(n_short):
        if not is_upper(integers[i]):  # (u, v, w) and (-u, -v, -w) are one
            continue
        for j in range(n_short):
            if lengths[i] >= factor**2 * lengths[j] or lengths[i] * lengths[j] ** 2 > bound * factor**2:
                continue
            gamma = _angle_deg(vectors[i], vectors[j], lengths[i] * lengths[j])
            if not _square_enough(gamma, lengths[i] / lengths[j], log_tolerance, angle_tolerance_deg):
                continue
            for k in range(len(lengths)):
                if lengths[i] * lengths[j] * lengths[k] > bound:
                    break
                if lengths[j] >= factor**2 * lengths[k]:
                    continue
                if abs(determinant(integers[i], integers[j], integers[k])) != 1:
                    continue
                alpha = _angle_deg(vectors[j], vectors[k], lengths[j] * lengths[k])
                if not _square_enough(alpha, lengths[j] / lengths[k], log_tolerance, angle_tolerance_deg):
                    continue
                beta = _angle_deg(vectors[i], vectors[k], lengths[i] * lengths[k])
                if not _square_enough(beta, lengths[i] / lengths[k], log_tolerance, angle_tolerance_deg):
                    continue
                if n == room:
                    room *= 2
                    found = _with_room(found, room)
                found[n, 0], found[n, 1], found[n, 2] = alpha, beta, gamma
                found[n, 3], found[n, 4], found[n, 5] = np.log(lengths[i]), np.log(lengths[j]), np.log(lengths[k])
                for axis in range(3):
                    found[n, 6 + axis] = integers[i, axis]
                    found[n, 9 + axis] = integers[j, axis]
                    found[n, 12 + axis] = integers[k, axis]
                n += 1
    return found[:n, :6].copy(), found[:n, 6:].copy().reshape((n, 3, 3))


@numba.njit(cache=True, error_model="numpy")
def _close(
    rows: np.ndarray,
    scales: np.ndarray,
    starts: np.ndarray,
    listed: np.ndarray,
    wanted: np.ndarray,
    log_tolerance: float,
    angle_tolerance_deg: float,
) -> np.ndarray:
    """Tell for each lattice whether it has a basis close to the one wanted, or is not listed."""
    found = np.empty(len(listed), dtype=np.bool_)
    for number in range(len(listed)):
        found[number] = not listed[number]
        row = first_row(rows, starts[number], starts[number + 1], wanted[0] - angle_tolerance_deg)
        while row < starts[number + 1] and rows[row, 0] <= wanted[0] + angle_tolerance_deg and not found[number]:
            found[number] = row_is_close(rows[row], wanted, log_tolerance, angle_tolerance_deg)
            row += 1
    return found

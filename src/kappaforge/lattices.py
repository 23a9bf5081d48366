"""Which of many lattices have a basis close to that of another, all looked up at once.

``StructureMatcher`` compares two crystals only in bases of the first lattice whose lengths and angles are close to
those of the second's reduced cell. Few bases can ever be close to a reduced cell. Listed once for each lattice, they
answer in one comparison of arrays what pymatgen's ``Lattice.find_all_mappings`` searches for anew for every pair.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from ase.geometry import minkowski_reduce

ROUNDING = 1e-6
"""Slack against round-off, here and in pymatgen: a basis may be found in vain, but none may be missed."""

REDUCTION_SLACK = 1e-3
"""How far, relatively, a cell that counts as reduced may break the conditions: programs reduce to about 1e-5."""

MAX_VECTORS = 5000
"""Lattices with more vectors to consider, long needles and thin plates, are not listed but always offered."""

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
    lengths, cosines = _lengths_and_cosines(cell[None])
    (a, b, c), slack = lengths[0], 1 + REDUCTION_SLACK
    rising = a <= b * slack and b <= c * slack
    square = (np.abs(cosines[0]) <= np.array([b / c, a / c, a / b]) / 2 + REDUCTION_SLACK).all()
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
        self._log_tolerance = np.log(1 + ltol) + ROUNDING
        self._angle_tolerance_deg = angle_tol_deg + ROUNDING
        self._rows = np.empty((0, 6))
        self._owners = np.empty(0, dtype=np.int64)
        self._n_rows = 0
        self._n_lattices = 0
        self._unlisted: list[int] = []

    def add(self, cell: np.ndarray) -> None:
        """Append a lattice, given by any of its cells, of any volume, shape (3, 3)."""
        rows = self._bases(minkowski_reduce(cell / np.cbrt(abs(np.linalg.det(cell))))[0])
        if rows is None:
            self._unlisted.append(self._n_lattices)
            self._n_lattices += 1
            return
        end = self._n_rows + len(rows)
        if end > len(self._rows):  # grow by doubling
            room = max(end, 2 * len(self._rows))
            self._rows = np.concatenate([self._rows[: self._n_rows], np.empty((room - self._n_rows, 6))])
            self._owners = np.concatenate([self._owners[: self._n_rows], np.empty(room - self._n_rows, dtype=np.int64)])
        self._rows[self._n_rows : end] = rows
        self._owners[self._n_rows : end] = self._n_lattices
        self._n_rows = end
        self._n_lattices += 1

    def close_to(self, cell: np.ndarray) -> Iterable[int]:
        """Return the numbers, rising, of the lattices with a basis close to a reduced cell of any volume."""
        lengths, cosines = _lengths_and_cosines((cell / np.cbrt(abs(np.linalg.det(cell))))[None])
        wanted = _row(lengths, cosines)[0]
        rows, owners = self._rows[: self._n_rows], self._owners[: self._n_rows]
        tolerances = np.repeat([self._log_tolerance, self._angle_tolerance_deg], 3)
        kept = np.flatnonzero(np.abs(rows[:, 0] - wanted[0]) < tolerances[0])
        for column in range(1, 6):  # each column leaves few rows to the next
            kept = kept[np.abs(rows[kept, column] - wanted[column]) < tolerances[column]]
        return sorted([*np.unique(owners[kept]).tolist(), *self._unlisted])

    def _bases(self, cell: np.ndarray) -> np.ndarray | None:
        """Return the rows of all bases (u, v, w) that may be close to a reduced cell; None for needles and plates.

        The cell given is Minkowski-reduced and has volume 1. A reduced cell has rising lengths and little defect, so u
        is hardly longer than v, v hardly longer than w, and the product of the three is bounded.
        """
        factor = np.exp(self._log_tolerance) * (1 + REDUCTION_SLACK)
        bound = factor**3 * MAX_DEFECT
        shortest, second, _ = np.sort(np.linalg.norm(cell, axis=1))
        radius = bound / (shortest * second)
        if 4 / 3 * np.pi * radius**3 > MAX_VECTORS:
            return None
        integers, vectors, lengths = _vectors(cell, radius)
        n_short = int(np.searchsorted(lengths, factor * np.sqrt(bound / shortest), side="right"))
        short = lengths[:n_short]
        u, v = np.nonzero((short[:, None] < factor**2 * short) & (short[:, None] * short**2 <= bound * factor**2))
        upper = _upper(integers[u])  # (u, v, w) and (-u, -v, -w) are one
        u, v = u[upper], v[upper]
        cosines = np.einsum("ij,ij->i", vectors[u], vectors[v]) / (lengths[u] * lengths[v])
        near = self._square_enough(cosines, lengths[u] / lengths[v])
        u, v = u[near], v[near]
        pairs, w = np.nonzero(
            (lengths[v, None] < factor**2 * lengths) & ((lengths[u] * lengths[v])[:, None] * lengths <= bound)
        )
        u, v = u[pairs], v[pairs]
        found_lengths, found_cosines = _lengths_and_cosines(np.stack([vectors[u], vectors[v], vectors[w]], axis=1))
        near = self._square_enough(found_cosines[:, 0], found_lengths[:, 1] / found_lengths[:, 2])
        near &= self._square_enough(found_cosines[:, 1], found_lengths[:, 0] / found_lengths[:, 2])
        scale = np.stack([integers[u[near]], integers[v[near]], integers[w[near]]], axis=1)
        whole = np.abs(np.abs(np.linalg.det(scale)) - 1) < 0.5
        return _row(found_lengths[near][whole], found_cosines[near][whole])

    def _square_enough(self, cosines: np.ndarray, ratios: np.ndarray) -> np.ndarray:
        """Tell which angles may be close to a reduced cell's, whose cosine is at most half the ratio of the lengths."""
        largest = np.minimum(ratios * np.exp(2 * self._log_tolerance) / 2 + REDUCTION_SLACK, 1.0)
        off_deg = np.abs(90 - np.rad2deg(np.arccos(np.clip(cosines, -1, 1))))
        near: np.ndarray = off_deg <= np.rad2deg(np.arcsin(largest)) + self._angle_tolerance_deg
        return near


def _vectors(cell: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the lattice vectors up to a length, but zero, by rising length: integers, vectors, lengths."""
    ranges = np.floor(radius * np.linalg.norm(np.linalg.inv(cell), axis=0)).astype(int)
    axes = [np.arange(-extent, extent + 1) for extent in ranges]
    integers = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    lengths = np.linalg.norm(integers @ cell, axis=1)
    order = np.argsort(lengths, kind="stable")[1 : np.count_nonzero(lengths <= radius)]
    return integers[order], integers[order] @ cell, lengths[order]


def _upper(integers: np.ndarray) -> np.ndarray:
    """Tell which vectors lie in the upper half of space: of v and -v exactly one does."""
    x, y, z = integers.T
    half: np.ndarray = (x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))
    return half


def _lengths_and_cosines(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return lengths and the cosines of alpha, beta, gamma of cells of shape (n, 3, 3), each of shape (n, 3)."""
    lengths = np.linalg.norm(cells, axis=2)
    pairs = ((1, 2), (0, 2), (0, 1))
    dots = np.stack([np.einsum("ij,ij->i", cells[:, one], cells[:, two]) for one, two in pairs], axis=1)
    products = np.stack([lengths[:, one] * lengths[:, two] for one, two in pairs], axis=1)
    return lengths, dots / products


def _row(lengths: np.ndarray, cosines: np.ndarray) -> np.ndarray:
    """Return the logarithms of the lengths and the angles in degrees, shape (n, 6)."""
    return np.concatenate([np.log(lengths), np.rad2deg(np.arccos(np.clip(cosines, -1, 1)))], axis=1)

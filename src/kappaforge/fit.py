"""Whether the sites of one reduced crystal fall on those of another: ``StructureMatcher.fit`` as compiled code.

pymatgen tries every basis of the first lattice that is close to the second's cell and every translation that brings an
atom of the second onto one of the first; it pairs the atoms with the least sum of squared distances and takes the
drift out. They match where no pair is then farther apart than the tolerance r (Ong et al., doi
10.1016/j.commatsci.2012.10.028). The steps are the same here: at equal volume, in the lattice of mean lengths and
angles.

One test comes before the pairing, which takes most of the time. Where distances after the drift m are below r, any two
displacements differ by less than 2 r. Seen from the atom that is paired with the second's first one, every atom has
therefore a partner within 2 r. A basis without a translation for which this holds cannot match, and a translation only
if it lets the first atom be paired with the atom of one that does.
"""

from __future__ import annotations

import numba
import numpy as np

from kappaforge.assignment import pairing
from kappaforge.cells import cell_of, cell_parameters, determinant, inverse, lll, product, reciprocal_lengths
from kappaforge.lattices import first_row, is_upper, row_is_close, short_vectors

_Crystal = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]
"""Lengths and angles of a cell, fractional coordinates, atomic numbers, and the atom that is brought onto others."""

FAR = 1e20
"""Squared distance of atoms that must not be paired."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def first_fit(
    rows: np.ndarray,
    scales: np.ndarray,
    starts: np.ndarray,
    listed: np.ndarray,
    cells: np.ndarray,
    sites: np.ndarray,
    numbers: np.ndarray,
    cell: np.ndarray,
    own_sites: np.ndarray,
    own_numbers: np.ndarray,
    wanted: np.ndarray,
    is_reduced: bool,
    log_tolerance: float,
    angle_tolerance_deg: float,
    tolerances: tuple[float, float, float],
) -> int:
    """Return the number of the first member for which ``fit(member, crystal)`` holds, or -1.

    Parameters
    ----------
    rows, scales, starts, listed
        The bases of the members' lattices, see `kappaforge.lattices.LatticeIndex.bases`.
    cells, sites, numbers
        Of the members: cells of volume 1, shape (n_members, 3, 3), fractional coordinates, shape (n_members, n_atoms,
        3), and atomic numbers, shape (n_members, n_atoms).
    cell, own_sites, own_numbers, wanted, is_reduced
        The same of the crystal, its row, see `kappaforge.lattices.row_of`, and whether its cell is reduced.
    log_tolerance, angle_tolerance_deg
        Of the look-up, as wide as the matcher's or wider.
    tolerances
        The matcher's: of lengths (relative), of sites (in units of (volume per atom)^(1/3)), of angles (degrees).
    """
    lengths, angles_deg = cell_parameters(cell)
    crystal = (lengths, angles_deg, own_sites, own_numbers, rarest(own_numbers))
    scale = np.empty((3, 3))
    for member in range(len(listed)):
        if is_reduced and listed[member]:
            row = first_row(rows, starts[member], starts[member + 1], wanted[0] - angle_tolerance_deg)
            while row < starts[member + 1] and rows[row, 0] <= wanted[0] + angle_tolerance_deg:
                if row_is_close(rows[row], wanted, log_tolerance, angle_tolerance_deg):
                    for i in range(3):
                        for k in range(3):
                            scale[i, k] = scales[row, i, k]
                    if _basis_fits(cells[member], scale, sites[member], numbers[member], crystal, tolerances):
                        return member
                row += 1
        elif _any_basis_fits(cells[member], sites[member], numbers[member], crystal, tolerances):
            return member
    return -1


@numba.njit(cache=True, error_model="numpy")
def rarest(numbers: np.ndarray) -> int:
    """Return the first of the atoms whose element is the rarest: the fewest translations bring it onto another."""
    best, fewest = 0, len(numbers) + 1
    for i in range(len(numbers)):
        count = 0
        for j in range(len(numbers)):
            count += numbers[j] == numbers[i]
        if count < fewest:
            best, fewest = i, count
    return best


@numba.njit(cache=True, error_model="numpy")
def _any_basis_fits(
    cell: np.ndarray,
    sites: np.ndarray,
    numbers: np.ndarray,
    crystal: _Crystal,
    tolerances: tuple[float, float, float],
) -> bool:
    """Try all bases of a lattice that are close to lengths and angles, where they are not listed."""
    ltol, _, angle_tol_deg = tolerances
    lengths, angles_deg, _, _, _ = crystal
    longest = max(lengths[0], lengths[1], lengths[2])
    integers, vectors, norms = short_vectors(cell, longest * (1 + ltol))
    scale = np.empty((3, 3))
    for i in range(len(norms)):
        if not (is_upper(integers[i]) and _same_length(norms[i], lengths[0], ltol)):  # as bases, v and -v are one
            continue
        for j in range(len(norms)):
            if not _same_length(norms[j], lengths[1], ltol):
                continue
            dot = vectors[i, 0] * vectors[j, 0] + vectors[i, 1] * vectors[j, 1] + vectors[i, 2] * vectors[j, 2]
            gamma_deg = np.rad2deg(np.arccos(min(1.0, max(-1.0, dot / (norms[i] * norms[j])))))
            if abs(gamma_deg - angles_deg[2]) > angle_tol_deg:
                continue
            for k in range(len(norms)):
                if not _same_length(norms[k], lengths[2], ltol):
                    continue
                if abs(determinant(integers[i], integers[j], integers[k])) != 1:
                    continue
                for axis in range(3):
                    scale[0, axis], scale[1, axis] = integers[i, axis], integers[j, axis]
                    scale[2, axis] = integers[k, axis]
                if _basis_fits(cell, scale, sites, numbers, crystal, tolerances):
                    return True
    return False


@numba.njit(cache=True, error_model="numpy")
def _same_length(length: float, wanted: float, ltol: float) -> bool:
    return 1 / (1 + ltol) < length / wanted < 1 + ltol


@numba.njit(cache=True, error_model="numpy")
def _basis_fits(
    cell: np.ndarray,
    scale: np.ndarray,
    sites: np.ndarray,
    numbers: np.ndarray,
    crystal: _Crystal,
    tolerances: tuple[float, float, float],
) -> bool:
    """Tell whether the sites match in one basis, ``scale @ cell``, or in its negative."""
    ltol, stol, angle_tol_deg = tolerances
    lengths, angles_deg, own_sites, own_numbers, anchor = crystal
    mean_lengths, mean_angles = cell_parameters(product(scale, cell))
    for k in range(3):
        if not _same_length(mean_lengths[k], lengths[k], ltol):
            return False
        if abs(mean_angles[k] - angles_deg[k]) > angle_tol_deg:
            return False
        mean_lengths[k] = (mean_lengths[k] + lengths[k]) / 2
        mean_angles[k] = np.deg2rad((mean_angles[k] + angles_deg[k]) / 2)
    mean = cell_of(mean_lengths, mean_angles)
    volume = mean[0, 0] * mean[1, 1] * mean[2, 2]
    if not volume > 0:
        return False
    tolerance = stol * (volume / len(sites)) ** (1 / 3)
    back = inverse(scale)
    for _ in range(2):
        placed = product(sites, back)
        if _translation_fits(placed, numbers, own_sites, own_numbers, anchor, mean, tolerance):
            return True
        for i in range(3):
            for k in range(3):
                back[i, k] = -back[i, k]
    return False


@numba.njit(cache=True, error_model="numpy")
def _translation_fits(
    sites: np.ndarray,
    numbers: np.ndarray,
    own_sites: np.ndarray,
    own_numbers: np.ndarray,
    anchor: int,
    cell: np.ndarray,
    tolerance: float,
) -> bool:
    """Tell whether the sites match by any translation that brings the anchor onto an atom."""
    n, reach = len(sites), 2 * tolerance
    box = reciprocal_lengths(cell)
    for k in range(3):
        box[k] *= reach
    possible, covered = np.zeros(n, dtype=np.bool_), np.empty(n, dtype=np.bool_)
    n_possible = 0
    for j in range(n):
        if numbers[j] == own_numbers[anchor]:
            possible[j] = _partners_within_reach(
                sites, numbers, own_sites, own_numbers, anchor, j, cell, box, reach * reach, covered
            )
            n_possible += possible[j]
    if n_possible == 0:
        return False
    short, change = lll(cell)
    undo, short_box = inverse(change), reciprocal_lengths(short)
    for k in range(3):
        short_box[k] *= reach
    short_sites, short_own = product(sites, undo), product(own_sites, undo)
    for j in range(n):
        if numbers[j] != own_numbers[anchor]:
            continue
        worth = possible[j] or (
            _can_pair_with_possible(short_sites, j, possible, short_box)
            and _within_box(sites, numbers, own_sites, own_numbers, anchor, j, box)
        )
        if worth:
            distance = _largest_distance(
                short_sites, numbers, short_own, own_numbers, anchor, j, short, short_box, reach * reach
            )
            if distance < tolerance:
                return True
    return False


@numba.njit(cache=True, error_model="numpy")
def _partners_within_reach(
    sites: np.ndarray,
    numbers: np.ndarray,
    own_sites: np.ndarray,
    own_numbers: np.ndarray,
    anchor: int,
    onto: int,
    cell: np.ndarray,
    box: np.ndarray,
    reach_squared: float,
    covered: np.ndarray,
) -> bool:
    """Tell whether each atom has one of the other crystal's of its kind within reach, the anchor being on one."""
    n, n_covered = len(sites), 0
    covered[:] = False
    for i in range(n):
        found = False
        x0 = own_sites[i, 0] - own_sites[anchor, 0] + sites[onto, 0]
        x1 = own_sites[i, 1] - own_sites[anchor, 1] + sites[onto, 1]
        x2 = own_sites[i, 2] - own_sites[anchor, 2] + sites[onto, 2]
        for j in range(n):
            if numbers[j] != own_numbers[i]:
                continue
            x, y, z = sites[j, 0] - x0, sites[j, 1] - x1, sites[j, 2] - x2
            x, y, z = x - np.round(x), y - np.round(y), z - np.round(z)
            if abs(x) > box[0] or abs(y) > box[1] or abs(z) > box[2]:  # the box holds the sphere within reach
                continue
            if _image_within_reach(x, y, z, cell, box, reach_squared):
                found = True
                n_covered += not covered[j]
                covered[j] = True
        if not found:
            return False
    return n_covered == n


@numba.njit(cache=True, error_model="numpy")
def _image_within_reach(x: float, y: float, z: float, cell: np.ndarray, box: np.ndarray, reach_squared: float) -> bool:
    """Tell whether a vector or a periodic image of it is short; the cell is a lower triangle."""
    # Where the box is less than half a cell wide to each side no other image lies in it.
    a, b, c = int(box[0] >= 0.5), int(box[1] >= 0.5), int(box[2] >= 0.5)
    for k in range(-c, c + 1):
        w = z + k
        for j in range(-b, b + 1):
            v = y + j
            for i in range(-a, a + 1):
                u = x + i
                first = u * cell[0, 0] + v * cell[1, 0] + w * cell[2, 0]
                second = v * cell[1, 1] + w * cell[2, 1]
                third = w * cell[2, 2]
                if first * first + second * second + third * third < reach_squared:
                    return True
    return False


@numba.njit(cache=True, error_model="numpy")
def _can_pair_with_possible(sites: np.ndarray, onto: int, possible: np.ndarray, box: np.ndarray) -> bool:
    """Tell whether the anchor, on an atom, may be paired with another for which all have partners within reach."""
    for other in range(len(sites)):
        inside = possible[other]
        for k in range(3):
            apart = sites[other, k] - sites[onto, k]
            inside = inside and abs(apart - np.round(apart)) <= box[k]
        if inside:
            return True
    return False


@numba.njit(cache=True, error_model="numpy")
def _within_box(
    sites: np.ndarray,
    numbers: np.ndarray,
    own_sites: np.ndarray,
    own_numbers: np.ndarray,
    anchor: int,
    onto: int,
    box: np.ndarray,
) -> bool:
    """Tell whether each atom has one of its kind within the box: pymatgen's own test before the pairing."""
    for i in range(len(sites)):
        found = False
        for j in range(len(sites)):
            if numbers[j] != own_numbers[i]:
                continue
            inside = True
            for k in range(3):
                apart = sites[j, k] - own_sites[i, k] - (sites[onto, k] - own_sites[anchor, k])
                inside = inside and abs(apart - np.round(apart)) <= box[k]
            if inside:
                found = True
                break
        if not found:
            return False
    return True


@numba.njit(cache=True, error_model="numpy")
def _largest_distance(
    sites: np.ndarray,
    numbers: np.ndarray,
    own_sites: np.ndarray,
    own_numbers: np.ndarray,
    anchor: int,
    onto: int,
    cell: np.ndarray,
    box: np.ndarray,
    reach_squared: float,
) -> float:
    """Return the largest distance between paired atoms, without their common drift; infinite where no pairing is."""
    n = len(sites)
    squares, vectors = np.empty((n, n)), np.empty((n, n, 3))
    images = box[0] >= 0.5 or box[1] >= 0.5 or box[2] >= 0.5
    for i in range(n):
        for j in range(n):
            squares[i, j] = FAR
            if numbers[j] != own_numbers[i]:
                continue
            x = sites[j, 0] - own_sites[i, 0] - (sites[onto, 0] - own_sites[anchor, 0])
            y = sites[j, 1] - own_sites[i, 1] - (sites[onto, 1] - own_sites[anchor, 1])
            z = sites[j, 2] - own_sites[i, 2] - (sites[onto, 2] - own_sites[anchor, 2])
            x, y, z = x - np.round(x), y - np.round(y), z - np.round(z)
            if abs(x) > box[0] or abs(y) > box[1] or abs(z) > box[2]:
                continue
            squares[i, j] = _keep_straight(x, y, z, cell, vectors[i, j])
            if images or squares[i, j] >= reach_squared:  # within reach there is no other image in so small a box
                squares[i, j] = _keep_shortest(x, y, z, cell, vectors[i, j])
    partners = pairing(squares)
    drift = np.zeros(3)
    for i in range(n):
        if squares[i, partners[i]] >= FAR:
            return np.inf
        for axis in range(3):
            drift[axis] += vectors[i, partners[i], axis] / n
    largest = 0.0
    for i in range(n):
        square = 0.0
        for axis in range(3):
            square += (vectors[i, partners[i], axis] - drift[axis]) ** 2
        largest = max(largest, square)
    return float(np.sqrt(largest))


@numba.njit(cache=True, error_model="numpy")
def _keep_straight(x: float, y: float, z: float, cell: np.ndarray, vector: np.ndarray) -> float:
    """Write the Cartesian vector of fractional coordinates, and return its square."""
    square = 0.0
    for axis in range(3):
        vector[axis] = x * cell[0, axis] + y * cell[1, axis] + z * cell[2, axis]
        square += vector[axis] * vector[axis]
    return square


@numba.njit(cache=True, error_model="numpy")
def _keep_shortest(x: float, y: float, z: float, cell: np.ndarray, vector: np.ndarray) -> float:
    """Write the shortest of a vector's periodic images, and return its square."""
    shortest, u, v, w = np.inf, x, y, z
    for a in range(-1, 2):
        for b in range(-1, 2):
            for c in range(-1, 2):
                square = _keep_straight(x + a, y + b, z + c, cell, vector)
                if square < shortest:
                    shortest, u, v, w = square, x + a, y + b, z + c
    return _keep_straight(u, v, w, cell, vector)

"""The linear tetrahedron method for sums and differences of two phonons' frequencies on a grid.

phonopy cuts the grid's cells along the shortest main diagonal of the given basis and can average over the point group:
up to 192 tetrahedra around each point. Here the grid is cut as Delaunay's triangulation does, which no choice of basis
enters and which has the crystal's symmetry by itself, unless some of its edges are orthogonal; only then an average
remains (24, 40 and 96 tetrahedra for diamond, bct-C4 and lonsdaleite). phono3py's function would evaluate all of them
for all bands, in ten to twenty times the time of ours, which visits what can conserve energy and there only tetrahedra
that the surface of constant energy cuts. With phonopy's tetrahedra the weights are its to round-off.
"""

from __future__ import annotations

from itertools import permutations
from typing import NamedTuple

import numba
import numpy as np
from phonopy.phonon.grid import BZGrid

TOLERANCE = 1e-6
"""Of what a right angle is, relative to the squared lengths."""


class Tetrahedra(NamedTuple):
    """The different tetrahedra around a point of a grid, which is one corner of all.

    =========  ============  ==========================================================================
    field      shape         content
    =========  ============  ==========================================================================
    steps      (n_steps, 3)  steps to the other corners, as phonopy counts grid addresses
    corners    (n, 3)        rows of `steps`
    shares     (n,)          volume of each as a fraction of a grid point's cell, times its weight in
                             the average over the point group
    =========  ============  ==========================================================================
    """

    steps: np.ndarray
    corners: np.ndarray
    shares: np.ndarray


def tetrahedra_around_a_point(grid: BZGrid) -> Tetrahedra:
    """Return the tetrahedra of Delaunay's triangulation of the grid, averaged over the point group.

    With Selling's superbase, four vectors that add up to zero at angles of 90° or more, the four-vector walks around a
    point in all 24 orders are the tetrahedra that meet there (Conway and Sloane, Proc. R. Soc. A 436, 55 (1992)).
    """
    superbase = selling_superbase(grid.microzone_lattice) @ grid.P.T
    walks = np.cumsum([[superbase[step] for step in order[:3]] for order in permutations(range(4))], axis=1)
    counts: dict[frozenset[tuple[int, ...]], int] = {}
    seen = set()
    for rotation in grid.rotations:
        turned = frozenset(frozenset(map(tuple, walk)) for walk in (walks @ rotation.T).tolist())
        if turned not in seen:
            seen.add(turned)
            for tetrahedron in turned:
                counts[tetrahedron] = counts.get(tetrahedron, 0) + 1
    steps = sorted({step for tetrahedron in counts for step in tetrahedron})
    places = {step: place for place, step in enumerate(steps)}
    corners = [[places[step] for step in sorted(tetrahedron)] for tetrahedron in counts]
    return Tetrahedra(np.array(steps), np.array(corners), np.array(list(counts.values())) / (6 * len(seen)))


def selling_superbase(lattice: np.ndarray) -> np.ndarray:
    """Return four lattice vectors that add up to zero at angles of 90° or more (Selling, 1874).

    Parameters
    ----------
    lattice
        Basis vectors in columns, shape (3, 3).

    Returns
    -------
    ndarray
        In units of them, one vector each row, shape (4, 3).
    """
    base = np.array([*np.eye(3, dtype=int), [-1, -1, -1]])
    small = TOLERANCE * np.abs(np.linalg.det(lattice)) ** (2 / 3)
    while True:
        vectors = base @ lattice.T
        products = np.triu(vectors @ vectors.T, 1)
        one, two = np.unravel_index(products.argmax(), products.shape)
        if products[one, two] <= small:
            return base
        others = [place for place in range(4) if place not in (one, two)]
        base[others] += base[one]
        base[one] = -base[one]


@numba.njit(cache=True, error_model="numpy")
def on_shell(
    sign_one: float,
    sign_two: float,
    targets: np.ndarray,
    ones: np.ndarray,
    twos: np.ndarray,
    frequencies: np.ndarray,
    forward: np.ndarray,
    backward: np.ndarray,
    corners: np.ndarray,
    shares: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return where a sum of two frequencies equals others, and the density of the delta function there.

    The density at a grid point is the integral of δ(target - sum) over its tetrahedra, with the sum linear in each
    and weighted by the hat function of the point: one there, zero at all others.

    Parameters
    ----------
    sign_one, sign_two
        Factors of both frequencies.
    targets
        Frequencies of the first mode, ascending, shape (n_targets,).
    ones, twos
        Points q' and q'' of each pair, shape (n_pairs,).
    frequencies
        Shape (n_points, n_bands).
    forward, backward
        Points one step and one step back from each point, shape (n_points, n_steps).
    corners, shares
        As of `Tetrahedra`.

    Returns
    -------
    places
        In `ones` and `targets`, and bands of q' and of q'', shape (4, n), 32-bit.
    densities
        Over the inverse of the frequencies' unit, shape (n,).
    """
    n_bands = frequencies.shape[1]
    n_steps = forward.shape[1]
    at_one, at_two = np.empty((n_bands, n_steps)), np.empty((n_bands, n_steps))
    off, inverse = np.empty(n_steps), np.empty(n_steps)
    room = 1024
    places, found = np.empty((4, room), dtype=np.int32), np.empty(room)
    n_found = 0
    for pair in range(len(ones)):
        one, two = ones[pair], twos[pair]
        for step in range(n_steps):
            for band in range(n_bands):
                at_one[band, step] = sign_one * frequencies[forward[one, step], band]
                at_two[band, step] = sign_two * frequencies[backward[two, step], band]
        for second in range(n_bands):
            for third in range(n_bands):
                here = sign_one * frequencies[one, second] + sign_two * frequencies[two, third]
                low, high = here, here
                for step in range(n_steps):
                    energy = at_one[second, step] + at_two[third, step]
                    low, high = min(low, energy), max(high, energy)
                for first in range(len(targets)):
                    target = targets[first]
                    if target >= high:
                        break
                    if target <= low:
                        continue
                    # the point itself always counts as above
                    sign = 1.0 if here >= target else -1.0
                    above = sign * (here - target)
                    for step in range(n_steps):
                        off[step] = sign * (at_one[second, step] + at_two[third, step] - target)
                        inverse[step] = 1.0 / (above - off[step])
                    density = 0.0
                    for tetrahedron in range(len(shares)):
                        i, j, k = corners[tetrahedron]
                        density += shares[tetrahedron] * _density(
                            above, off[i], off[j], off[k], inverse[i], inverse[j], inverse[k]
                        )
                    if density > 0.0:
                        if n_found == room:
                            room *= 2
                            more, longer = np.empty((4, room), dtype=np.int32), np.empty(room)
                            more[:, :n_found], longer[:n_found] = places, found
                            places, found = more, longer
                        places[0, n_found], places[1, n_found] = pair, first
                        places[2, n_found], places[3, n_found] = second, third
                        found[n_found] = density
                        n_found += 1
    return places[:, :n_found], found[:n_found]


@numba.njit(cache=True, error_model="numpy", inline="always")
def _density(above: float, i: float, j: float, k: float, to_i: float, to_j: float, to_k: float) -> float:
    """Return the integral of δ(E) times the hat function of the first corner over a tetrahedron of volume 1.

    The section E = 0 is a triangle, or two: δ gives three times the volume of the pyramid from a corner to it over the
    corner's energy, and the hat function the mean of its values at the triangle's corners, which lie on the edges.

    Parameters
    ----------
    above
        Energy at the first corner, not negative.
    i, j, k
        Those at the others.
    to_i, to_j, to_k
        1 over the differences from the first to each.
    """
    n_below = (i < 0) + (j < 0) + (k < 0)
    if n_below == 0:
        return 0.0
    if n_below == 3:
        shares = above * to_i, above * to_j, above * to_k
        return shares[0] * shares[1] * to_k * (3.0 - shares[0] - shares[1] - shares[2])
    # sort: `i` below, `k` above
    if n_below == 1:
        if j < 0:
            i, j, to_i = j, i, to_j
        elif k < 0:
            i, k, to_i = k, i, to_k
        return i * i * -i * to_i * to_i / ((j - i) * (k - i))
    if i >= 0:
        i, k, to_i = k, i, to_k
    elif j >= 0:
        j, k, to_j = k, j, to_k
    share_i, share_j = -i * to_i, -j * to_j
    inverse = 1.0 / ((k - i) * (k - j))
    from_i, from_j = (k - j) * inverse, (k - i) * inverse
    near = above * to_j * -i * from_i * (share_i + share_j) * to_i
    return near + k * from_i * -j * from_j * share_j * to_j

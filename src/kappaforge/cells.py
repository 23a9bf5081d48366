"""Cells and other matrices of three rows, for compiled code: plain loops compile faster than calls of numpy."""

from __future__ import annotations

import numba
import numpy as np

LOVASZ = 0.75
"""Of the reduction by Lenstra, Lenstra and Lovász (doi 10.1007/BF01457454)."""


@numba.njit(cache=True, error_model="numpy")
def cell_parameters(cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lengths and the angles alpha, beta, gamma in degrees of a cell, each of shape (3,)."""
    lengths, angles_deg = np.empty(3), np.empty(3)
    for k in range(3):
        lengths[k] = np.sqrt(cell[k, 0] ** 2 + cell[k, 1] ** 2 + cell[k, 2] ** 2)
    for k in range(3):
        one, two = (k + 1) % 3, (k + 2) % 3
        dot = cell[one, 0] * cell[two, 0] + cell[one, 1] * cell[two, 1] + cell[one, 2] * cell[two, 2]
        angles_deg[k] = np.rad2deg(np.arccos(min(1.0, max(-1.0, dot / (lengths[one] * lengths[two])))))
    return lengths, angles_deg


@numba.njit(cache=True, error_model="numpy")
def cell_of(lengths: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Return the cell of lengths and angles (rad) as a lower triangle; not a number where there is none."""
    cos_alpha, cos_beta, cos_gamma = np.cos(angles[0]), np.cos(angles[1]), np.cos(angles[2])
    sin_gamma = np.sin(angles[2])
    cell = np.zeros((3, 3))
    cell[0, 0] = lengths[0]
    cell[1, 0], cell[1, 1] = lengths[1] * cos_gamma, lengths[1] * sin_gamma
    x, y = cos_beta, (cos_alpha - cos_beta * cos_gamma) / sin_gamma
    cell[2, 0], cell[2, 1], cell[2, 2] = lengths[2] * x, lengths[2] * y, lengths[2] * np.sqrt(1 - x * x - y * y)
    return cell


@numba.njit(cache=True, error_model="numpy")
def determinant(u: np.ndarray, v: np.ndarray, w: np.ndarray) -> float:
    """Return the triple product of three vectors."""
    return u[0] * (v[1] * w[2] - v[2] * w[1]) - u[1] * (v[0] * w[2] - v[2] * w[0]) + u[2] * (v[0] * w[1] - v[1] * w[0])


@numba.njit(cache=True, error_model="numpy")
def inverse(matrix: np.ndarray) -> np.ndarray:
    """Return the inverse of a matrix of shape (3, 3)."""
    volume = determinant(matrix[0], matrix[1], matrix[2])
    result = np.empty((3, 3))
    for i in range(3):
        one, two = (i + 1) % 3, (i + 2) % 3
        for j in range(3):
            k, m = (j + 1) % 3, (j + 2) % 3
            result[j, i] = (matrix[one, k] * matrix[two, m] - matrix[one, m] * matrix[two, k]) / volume
    return result


@numba.njit(cache=True, error_model="numpy")
def product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the product of matrices of shapes (n, 3) and (3, 3)."""
    result = np.empty((len(first), 3))
    for i in range(len(first)):
        for k in range(3):
            result[i, k] = first[i, 0] * second[0, k] + first[i, 1] * second[1, k] + first[i, 2] * second[2, k]
    return result


@numba.njit(cache=True, error_model="numpy")
def reciprocal_lengths(cell: np.ndarray) -> np.ndarray:
    """Return the lengths of the reciprocal vectors, without 2π, shape (3,)."""
    inverted, lengths = inverse(cell), np.empty(3)
    for k in range(3):
        lengths[k] = np.sqrt(inverted[0, k] ** 2 + inverted[1, k] ** 2 + inverted[2, k] ** 2)
    return lengths


@numba.njit(cache=True, error_model="numpy")
def lll(cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cell of Lenstra, Lenstra and Lovász and the integers it is made with, ``integers @ cell``."""
    short, change = np.empty((3, 3)), np.zeros((3, 3))
    for i in range(3):
        change[i, i] = 1.0
        for k in range(3):
            short[i, k] = cell[i, k]
    k = 1
    while k < 3:
        for j in range(k - 1, -1, -1):
            _, shares = _gram_schmidt(short)
            times = np.round(shares[k, j])
            for axis in range(3):
                short[k, axis] -= times * short[j, axis]
                change[k, axis] -= times * change[j, axis]
        squares, shares = _gram_schmidt(short)
        if squares[k] >= (LOVASZ - shares[k, k - 1] ** 2) * squares[k - 1]:
            k += 1
            continue
        for axis in range(3):
            short[k, axis], short[k - 1, axis] = short[k - 1, axis], short[k, axis]
            change[k, axis], change[k - 1, axis] = change[k - 1, axis], change[k, axis]
        k = max(k - 1, 1)
    return short, change


@numba.njit(cache=True, error_model="numpy")
def _gram_schmidt(cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the squared lengths of the orthogonalised vectors and their shares in the cell's vectors."""
    straight, shares, squares = np.empty((3, 3)), np.zeros((3, 3)), np.zeros(3)
    for i in range(3):
        for axis in range(3):
            straight[i, axis] = cell[i, axis]
        for j in range(i):
            dot = 0.0
            for axis in range(3):
                dot += cell[i, axis] * straight[j, axis]
            shares[i, j] = dot / squares[j]
            for axis in range(3):
                straight[i, axis] -= shares[i, j] * straight[j, axis]
        for axis in range(3):
            squares[i] += straight[i, axis] ** 2
    return squares, shares

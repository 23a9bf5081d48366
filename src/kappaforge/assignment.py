"""Pairs of least total cost, for compiled code."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, error_model="numpy")
def pairing(costs: np.ndarray) -> np.ndarray:
    """Return the column of each row so that the sum of their costs is the least, shape (n,).

    By shortest augmenting paths (Crouse, doi 10.1109/TAES.2016.140952), as ``scipy.optimize.linear_sum_assignment``,
    which compiled code cannot call; ties are decided as there.
    """
    n = len(costs)
    of_row, of_column = np.full(n, -1), np.full(n, -1)
    u, v = np.zeros(n), np.zeros(n)
    path, shortest, left = np.empty(n, dtype=np.int64), np.empty(n), np.empty(n, dtype=np.int64)
    seen_rows, seen_columns = np.empty(n, dtype=np.bool_), np.empty(n, dtype=np.bool_)
    for current in range(n):
        for k in range(n):
            left[k] = n - k - 1
        seen_rows[:], seen_columns[:], shortest[:] = False, False, np.inf
        n_left, least, i, sink = n, 0.0, current, -1
        while sink == -1:
            seen_rows[i] = True
            chosen, lowest = -1, np.inf
            for k in range(n_left):
                j = left[k]
                reduced = least + costs[i, j] - u[i] - v[j]
                if reduced < shortest[j]:
                    path[j], shortest[j] = i, reduced
                if shortest[j] < lowest or (shortest[j] == lowest and of_column[j] == -1):
                    lowest, chosen = shortest[j], k
            least = lowest
            j = left[chosen]
            if of_column[j] == -1:
                sink = j
            else:
                i = of_column[j]
            seen_columns[j] = True
            n_left -= 1
            left[chosen] = left[n_left]
        u[current] += least
        for k in range(n):
            if seen_rows[k] and k != current:
                u[k] += least - shortest[of_row[k]]
            if seen_columns[k]:
                v[k] -= least - shortest[k]
        j = sink
        while True:
            i = path[j]
            of_column[j] = i
            of_row[i], j = j, of_row[i]
            if i == current:
                break
    return of_row

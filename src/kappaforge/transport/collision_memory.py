"""Memory that the collisions need, estimated before any of it is taken."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from kappaforge.transport.failure import TransportError
from kappaforge.transport.interaction import CHUNK_BYTES
from kappaforge.transport.phonon_grid import PhononGrid

GIB = 2**30
MOST_GIB = 4.0
"""Of what is free, half is taken by default, and no more than this."""


def free_gib() -> float:
    """Return the memory in GiB that is free or can be freed."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kib = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # not Linux
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB / 2
    return kib * 1024 / GIB


def collision_gib(grid: PhononGrid, n_known: int, n_bands: int, *, whole: bool) -> tuple[float, float]:
    """Estimate what collisions on a grid need.

    Parameters
    ----------
    grid
        The phonons.
    n_known
        Triplets of atoms with third-order force constants.
    n_bands
        Three for each atom.
    whole
        Whether the whole transport equation is solved.

    Returns
    -------
    tuple of float
        At any rate, and for each temperature, GiB.
    """
    n_points = len(grid.points)
    # three views of all force constants, the sparse matrix of them, and either while it is sorted
    numbers = 3 * 27 * n_known
    constants = 2 * 8 * numbers + 24 * min(numbers, n_bands**3 * n_points)
    # sums over R'' of one point; strengths of its pairs, of which there are at most half as many as points, with
    # squares and copies; arrays cut to a size
    inner = (8 + 4) * n_bands**3 * n_points
    strengths = 4 * 4 * n_bands**3 * (n_points // 2 + 1)
    back = 4 * len(grid.irreducible) * n_bands * n_points * n_bands if whole else 0
    return (constants + inner + strengths + 4 * CHUNK_BYTES) / GIB, back / GIB


def temperatures_at_once(
    grid: PhononGrid, n_known: int, temperatures_k: Sequence[float], memory_gib: float | None, *, whole: bool
) -> list[list[float]]:
    """Share temperatures out among rounds of collisions that fit into the memory allowed.

    Parameters
    ----------
    grid, n_known, whole
        As of `collision_gib`.
    temperatures_k
        All, in K.
    memory_gib
        What may be used, GiB; None for half of what is free, at most `MOST_GIB`.

    Returns
    -------
    list of list of float
        The temperatures of each round.

    Raises
    ------
    TransportError
        Where one temperature alone does not fit.
    """
    allowed = min(free_gib() / 2, MOST_GIB) if memory_gib is None else memory_gib
    always, each = collision_gib(grid, n_known, grid.frequencies_thz.shape[1], whole=whole)
    if always + each > allowed:
        mesh = "×".join(map(str, grid.mesh))
        raise TransportError(
            "failed",
            f"collisions on the {mesh} mesh need about {always + each:.1f} GiB, and {allowed:.1f} are allowed: take a "
            "smaller mesh length, level 'rta', or raise collision_memory_gib",
        )
    n_together = len(temperatures_k) if each == 0 else min(len(temperatures_k), int((allowed - always) / each))
    return [list(temperatures_k[start : start + n_together]) for start in range(0, len(temperatures_k), n_together)]

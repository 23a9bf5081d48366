"""Rattled copies of a crystal: the configurations around it that a potential should know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kappaforge.crystal import Crystal


def rattled(crystal: Crystal, n: int, rattle_ang: float, seed: int) -> list[Crystal]:
    """Return copies with normal displacements of the standard deviation `rattle_ang` (Å) along each axis.

    A copy is decided by the crystal's geometry, its own number and the seed, so that more copies leave the first ones
    as they are.
    """
    content = int(crystal.digest[:16], 16)
    copies = []
    for number in range(n):
        rng = np.random.default_rng([seed, content, number])
        positions = crystal.positions + rng.normal(scale=rattle_ang, size=crystal.positions.shape)
        copy = crystal.moved_to(crystal.cell, positions)
        copies.append(replace(copy, id=f"{crystal.id}-rattled-{number}", source=f"rattled {crystal.id}"))
    return copies

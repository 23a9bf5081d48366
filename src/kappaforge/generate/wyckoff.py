"""Patterns that no data set shows: occupied sites drawn from PyXtal's tables of Wyckoff positions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase.data import atomic_numbers
from pyxtal.lattice import Lattice
from pyxtal.msg import VolumeError

from kappaforge.crystal import Crystal
from kappaforge.generate.attempt import compatible, group
from kappaforge.generate.pattern import Pattern, pattern_of

ROOM_ANG3 = 1000.0
"""Volume per atom of the cell that the sites are laid out in: nothing touches by chance."""


def random_pattern(number: int, counts: Mapping[str, int], rng: np.random.Generator) -> Pattern | None:
    """Draw occupied sites of a space group.

    Parameters
    ----------
    number
        Space group.
    counts
        Atoms of each element in the primitive cell.
    rng
        Decides everything.

    Returns
    -------
    Pattern or None
        None where the draw came to no end: too few sites for the atoms, or atoms on one point.
    """
    if not compatible(number, tuple(counts.values())):
        return None
    space_group = group(number)
    centring = space_group.cellsize()
    taken: set[int] = set()
    positions, numbers = [], []
    for symbol, count in counts.items():
        left = count
        while left:
            fitting = [
                index
                for index, site in enumerate(space_group.Wyckoff_positions)
                if site.multiplicity <= left * centring and (site.get_dof() or index not in taken)
            ]
            if not fitting:
                return None
            index = int(rng.choice(fitting))
            taken.add(index)
            site = space_group.Wyckoff_positions[index]
            point = rng.random(3)
            places = np.array([operation.operate(point) for operation in site.ops])
            positions.append(places)
            numbers += [atomic_numbers[symbol]] * len(places)
            left -= site.multiplicity // centring
    try:
        lattice = Lattice(space_group.lattice_type, ROOM_ANG3 * len(numbers), unique_axis="c", random_state=rng)
    except VolumeError:
        return None
    cell = lattice.matrix
    crystal = Crystal(cell, np.concatenate(positions) @ cell, np.array(numbers), id="sites")
    found = pattern_of(crystal, symprec_ang=1e-2)
    if found is None or len(found[0]) != sum(counts.values()):
        return None
    return found[0]

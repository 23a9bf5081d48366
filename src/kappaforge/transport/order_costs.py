"""What the two ways to force constants cost, estimated before either is gone."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from kappaforge.transport.failure import TransportError
from kappaforge.transport.order_settings import ForceConstantSettings, Way
from kappaforge.transport.primitive import PrimitiveCrystal
from kappaforge.transport.supercells import SupercellChoice

GIB = 2**30

# Seconds of one core of a server, from crystals of 2 to 12 atoms in supercells of 96 to 216; they only have to rank
# the ways, and forces outweigh them with most potentials.
SOLVE_SECONDS = {2: 2e-6, 3: 3e-6}
"""Of finite displacements, for each pair or triplet of atoms of which the first is in the primitive cell."""
BASIS_SECONDS = 1.5e-6
"""Of a fit, for each of those and each operation of the point group."""
PRODUCT_SECONDS = 8e-11
"""Of a multiplication and addition in a fit's products of matrices."""
ITERATIONS = 60
"""Of a fit."""


class Size(NamedTuple):
    """Atoms of the primitive cell and of the supercell, and operations of the point group."""

    n_primitive: int
    n_atoms: int
    n_operations: int

    @classmethod
    def of(cls, primitive: PrimitiveCrystal, choice: SupercellChoice) -> Size:
        """Take them from a crystal and its supercell."""
        return cls(len(primitive.crystal), choice.n_atoms, len(primitive.rotations))

    def n_constants(self, order: int) -> int:
        """Return the pairs or triplets of atoms of which the first is in the primitive cell."""
        return self.n_primitive * self.n_atoms ** (order - 1)


class Cost(NamedTuple):
    """What one way is estimated to need.

    ==============  =======================================================
    field           content
    ==============  =======================================================
    n_supercells    supercells whose forces are computed
    seconds         of forces and solver, on one core
    gib             memory in GiB, beyond what the program holds anyway
    ==============  =======================================================
    """

    n_supercells: int
    seconds: float
    gib: float


def finite_cost(order: int, size: Size, n_supercells: int, settings: ForceConstantSettings) -> Cost:
    """Estimate what finite displacements need."""
    constants = size.n_constants(order)
    forces = n_supercells * size.n_atoms * settings.force_ms_per_atom / 1000
    # the constants, their change with a displacement, and copies in between; all pairs of the supercell in fc2
    numbers = 4 * 3**order * constants + 2 * 9 * size.n_atoms**2
    return Cost(n_supercells, forces + SOLVE_SECONDS[order] * constants, 8 * numbers / GIB)


def fit_cost(order: int, size: Size, n_known: int, n_near: int, settings: ForceConstantSettings) -> Cost:
    """Estimate what a fit needs.

    Parameters
    ----------
    order, size, settings
        As for `finite_cost`.
    n_known
        Pairs or triplets within the cutoff whose first atom is in the primitive cell.
    n_near
        Atoms within the cutoff, the first one included.
    """
    permutations = 2 if order == 2 else 6
    n_parameters = 3**order * n_known / (permutations * size.n_operations)
    n_pairs = max(1, ceil(settings.oversampling * n_parameters / (3 * size.n_atoms)))
    n_supercells = 2 * n_pairs + (order == 3)
    forces = n_supercells * size.n_atoms * settings.force_ms_per_atom / 1000
    basis = BASIS_SECONDS * size.n_constants(order) * size.n_operations
    # forward and backward, for each Cartesian part of the force on each atom of each supercell
    products = 2 * 3 * n_pairs * size.n_atoms * (3 * n_near) ** (order - 1)
    solve = ITERATIONS * PRODUCT_SECONDS * products
    # symfc's indices of all triplets of the supercell, its compression matrix, displacements around each atom; against
    # peaks of 0.1 to 0.9 GiB, in supercells of 96 to 216 atoms, this is from 0.1 GiB too little to 0.6 too much
    numbers = 12 * size.n_atoms**order + 2 * 3**order * (size.n_constants(order) + 6 * n_known)
    numbers += 6 * n_pairs * size.n_atoms * n_near
    return Cost(n_supercells, forces + basis + solve, 8 * numbers / GIB)


def cheaper_way(costs: dict[Way, Cost], settings: ForceConstantSettings) -> Way:
    """Choose the way that is asked for, or else the one that takes less time, within the memory allowed.

    Raises
    ------
    TransportError
        Where no way is left.
    """
    asked: dict[Way, Cost] = costs if settings.way == "auto" else {settings.way: costs[settings.way]}
    fitting = {way: cost for way, cost in asked.items() if cost.gib <= settings.memory_gib}
    if not fitting:
        needed = " and ".join(f"{way!r} needs about {cost.gib:.1f} GiB" for way, cost in asked.items())
        others = [f"way {way!r} ({cost.gib:.1f} GiB)" for way, cost in costs.items() if way not in asked]
        raise TransportError(
            "failed",
            f"force constants: {needed}, and memory_gib allows {settings.memory_gib:g}: "
            + ", ".join(["raise it", *others, "or take a smaller distance between faces"]),
        )
    return min(fitting, key=lambda way: fitting[way].seconds)

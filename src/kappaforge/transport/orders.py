"""Force constants of second and of third order, each from a supercell of its own and in the cheaper of two ways."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from phono3py import Phono3py
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms
from phonopy.structure.cells import Primitive

from kappaforge.potentials.base import Potential
from kappaforge.transport.failure import TransportError
from kappaforge.transport.fit import cutoff_in_gap, fit_force_constants, random_displacements, symmetric_basis
from kappaforge.transport.force_constants import (
    displace_atoms,
    displace_pairs,
    force_constants,
    near_pairs_of_triplets,
    pair_distances,
    pair_supercells,
    phono3py_with,
    phonopy_with,
    set_forces,
)
from kappaforge.transport.forces import supercell_forces
from kappaforge.transport.order_costs import Cost, Size, cheaper_way, finite_cost, fit_cost
from kappaforge.transport.order_settings import ForceConstantSettings, Way
from kappaforge.transport.primitive import PrimitiveCrystal
from kappaforge.transport.supercells import SupercellChoice, smallest_supercell


@dataclass(frozen=True, eq=False, kw_only=True)
class Order:
    """How force constants of one order came about.

    Parameters
    ----------
    choice
        The supercell.
    primitive
        The primitive cell within the supercell, as phonopy has it; it holds the shortest vectors.
    way
        "finite" or "fit".
    costs
        Estimates of the ways that were weighed against each other.
    n_supercells
        Supercells whose forces were computed.
    cutoff_ang
        Cutoff used, in Å: between *any* two atoms of a triplet for "finite", between *all* for "fit"; None for none.
    residual
        Of a fit: root mean square of what is left of the forces, relative to that of the forces.
    seconds_by_part
        Time of displacements, forces and force_constants.
    """

    choice: SupercellChoice
    supercell: PhonopyAtoms
    primitive: Primitive
    way: Way
    costs: dict[Way, Cost]
    n_supercells: int
    cutoff_ang: float | None
    residual: float | None
    seconds_by_part: dict[str, float]


@dataclass(frozen=True, eq=False, kw_only=True)
class SecondOrder(Order):
    """Second-order force constants.

    Parameters
    ----------
    fc2
        Shape (n_primitive, n_supercell, 3, 3), eV/Å².
    """

    fc2: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class ThirdOrder(Order):
    """Third-order force constants.

    Parameters
    ----------
    fc3
        Shape (n_primitive, n_supercell, n_supercell, 3, 3, 3), eV/Å³.
    known
        Triplets within the cutoff, shape (n_primitive, n_supercell, n_supercell); the others are zero.
    """

    fc3: np.ndarray
    known: np.ndarray


def order2(primitive: PrimitiveCrystal, potential: Potential, settings: ForceConstantSettings) -> SecondOrder:
    """Compute second-order force constants.

    Raises
    ------
    TransportError
        For forces that are not finite, a fit that fails, or a way that needs more memory than allowed.
    """
    clock = _Clock()
    choice = smallest_supercell(primitive, settings.fc2_face_distance_ang, settings.distance_between)
    phonopy = phonopy_with(primitive.crystal, choice.matrix)
    displace_atoms(phonopy, settings.displacement_ang)
    displaced = phonopy.supercells_with_displacements or []
    size = Size.of(primitive, choice)
    costs: dict[Way, Cost] = {
        "finite": finite_cost(2, size, len(displaced), settings),
        "fit": fit_cost(2, size, size.n_primitive * size.n_atoms, size.n_atoms, settings),
    }
    way = cheaper_way(costs, settings)
    clock.finish("displacements")
    residual = None
    if way == "finite":
        phonopy.forces = supercell_forces(potential, phonopy.supercell, displaced, "single-atom")
        clock.finish("forces")
        phonopy.produce_force_constants(calculate_full_force_constants=False, show_drift=False)
        phonopy.symmetrize_force_constants(level=3, show_drift=False)
        fc2, n_supercells = phonopy.force_constants, len(displaced)
    else:
        fc2, residual, n_supercells = _fitted(2, phonopy, None, potential, settings, clock)
    clock.finish("force_constants")
    assert fc2 is not None
    return SecondOrder(
        choice=choice,
        supercell=phonopy.supercell,
        primitive=phonopy.primitive,
        way=way,
        costs=costs,
        n_supercells=n_supercells,
        cutoff_ang=None,
        residual=residual,
        seconds_by_part=clock.seconds,
        fc2=fc2,
    )


def order3(primitive: PrimitiveCrystal, potential: Potential, settings: ForceConstantSettings) -> ThirdOrder:
    """Compute third-order force constants.

    Raises
    ------
    TransportError
        For forces that are not finite, a fit that fails, force constants that all vanish, or a way that needs more
        memory than allowed.
    """
    clock = _Clock()
    choice = smallest_supercell(primitive, settings.fc3_face_distance_ang, settings.distance_between)
    phonopy = phonopy_with(primitive.crystal, choice.matrix)
    distances_ang = pair_distances(phonopy.primitive)
    fit_cutoff_ang = cutoff_in_gap(distances_ang, settings.fc3_fit_cutoff_ang)
    any_cutoff_ang = None if settings.fc3_cutoff_ang is None else cutoff_in_gap(distances_ang, settings.fc3_cutoff_ang)
    near = distances_ang < fit_cutoff_ang
    known = near_pairs_of_triplets(phonopy.primitive, near) == 3
    size = Size.of(primitive, choice)
    n_near = int(near.sum(axis=1).max())
    costs: dict[Way, Cost] = {"fit": fit_cost(3, size, int(known.sum()), n_near, settings)}
    if settings.way != "fit":
        phono3py = phono3py_with(primitive.crystal, choice.matrix)
        displace_pairs(phono3py, settings.displacement_ang, any_cutoff_ang)
        singles = phono3py.supercells_with_displacements[: len(phono3py.dataset["first_atoms"])]
        pairs = pair_supercells(phono3py)
        costs["finite"] = finite_cost(3, size, len(singles) + len(pairs), settings)
    way = cheaper_way(costs, settings)
    clock.finish("displacements")
    residual = None
    if way == "finite":
        single_forces = supercell_forces(potential, phono3py.supercell, singles, "single-atom")
        pair_forces = supercell_forces(potential, phono3py.supercell, pairs, "two-atom")
        clock.finish("forces")
        set_forces(phono3py, single_forces, pair_forces)
        _, fc3, known = force_constants(phono3py)
        n_supercells = len(singles) + len(pairs)
        if not np.abs(fc3).max() > 0:
            raise TransportError("failed", "all third-order force constants vanish: the forces do not change")
    else:
        fc3, residual, n_supercells = _fitted(3, phonopy, fit_cutoff_ang, potential, settings, clock)
    clock.finish("force_constants")
    return ThirdOrder(
        choice=choice,
        supercell=phonopy.supercell,
        primitive=phonopy.primitive,
        way=way,
        costs=costs,
        n_supercells=n_supercells,
        cutoff_ang=any_cutoff_ang if way == "finite" else fit_cutoff_ang,
        residual=residual,
        seconds_by_part=clock.seconds,
        fc3=fc3,
        known=known,
    )


def phono3py_of_orders(primitive: PrimitiveCrystal, second: SecondOrder, third: ThirdOrder) -> Phono3py:
    """Return phono3py with both orders in their supercells, for its own solvers or its files."""
    phono3py = phono3py_with(primitive.crystal, third.choice.matrix, second.choice.matrix)
    phono3py.fc2 = second.fc2
    phono3py.fc3 = third.fc3
    phono3py.fc3_nonzero_indices = np.ascontiguousarray(third.known, dtype="byte")
    return phono3py


def _fitted(
    order: int,
    phonopy: Phonopy,
    cutoff_ang: float | None,
    potential: Potential,
    settings: ForceConstantSettings,
    clock: _Clock,
) -> tuple[np.ndarray, float, int]:
    """Fit one order; return its force constants, the residual and the number of supercells computed."""
    supercell = phonopy.supercell
    basis = symmetric_basis(supercell, phonopy.primitive, phonopy.symmetry, order, cutoff_ang)
    clock.finish("force_constants")
    n_pairs = basis.supercells_needed(settings.oversampling)
    moves = random_displacements(n_pairs, len(supercell), settings.displacement_ang, settings.seed)
    displaced = [_moved(supercell, move) for move in (*moves, *-moves)]
    if order == 3:  # even parts hold the forces without displacements too, which only symmetry makes vanish
        displaced.append(supercell)
    forces = supercell_forces(potential, supercell, displaced, "random")
    plus, minus = forces[:n_pairs], forces[n_pairs : 2 * n_pairs]
    clock.finish("forces")
    part = (plus - minus) / 2 if order == 2 else (plus + minus) / 2 - forces[-1]
    fit = fit_force_constants(basis, moves, part)
    return fit.constants, fit.residual, len(displaced)


def _moved(supercell: PhonopyAtoms, moves: np.ndarray) -> PhonopyAtoms:
    return PhonopyAtoms(numbers=supercell.numbers, cell=supercell.cell, positions=supercell.positions + moves)


class _Clock:
    """Sums up the time between calls by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def finish(self, part: str) -> None:
        now = time.perf_counter()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._last
        self._last = now

"""Force constants of second and of third order, each from a supercell of its own and in the cheaper of two ways.

A plan says which supercells to displace (`kappaforge.transport.plans`), a potential or anyone else gives the forces,
and `solve2` and `solve3` make force constants of both. `order2` and `order3` are all three in a row.
"""

from __future__ import annotations

import time
from copy import copy
from dataclasses import dataclass

import numpy as np
from phono3py import Phono3py
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms
from phonopy.structure.cells import Primitive

from kappaforge.errors import InputError
from kappaforge.potentials.base import Potential
from kappaforge.transport.failure import TransportError
from kappaforge.transport.fit import fit_force_constants
from kappaforge.transport.force_constants import phono3py_with, solve_second_order
from kappaforge.transport.order_costs import Cost
from kappaforge.transport.order_settings import ForceConstantSettings, Way
from kappaforge.transport.pair_displacements import pair_force_constants
from kappaforge.transport.plans import Plan, SecondPlan, ThirdPlan, plan2, plan3, planned_forces
from kappaforge.transport.primitive import PrimitiveCrystal
from kappaforge.transport.supercells import SupercellChoice


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
    phonopy
        phonopy with them: setting it up anew would search the symmetry of hundreds of atoms again, and of a primitive
        cell whose atoms it has wrapped it would number those of the supercell otherwise.
    """

    fc2: np.ndarray
    phonopy: Phonopy


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
    plan = plan2(primitive, settings)
    start = time.perf_counter()
    forces = planned_forces(plan, potential)
    return solve2(plan, forces, forces_seconds=time.perf_counter() - start)


def order3(primitive: PrimitiveCrystal, potential: Potential, settings: ForceConstantSettings) -> ThirdOrder:
    """Compute third-order force constants.

    Raises
    ------
    TransportError
        For forces that are not finite, a fit that fails, force constants that all vanish, or a way that needs more
        memory than allowed.
    """
    plan = plan3(primitive, settings)
    start = time.perf_counter()
    forces = planned_forces(plan, potential)
    return solve3(plan, forces, forces_seconds=time.perf_counter() - start)


def solve2(plan: SecondPlan, forces_ev_per_ang: np.ndarray, *, forces_seconds: float = 0.0) -> SecondOrder:
    """Make second-order force constants of the forces in a plan's supercells.

    Parameters
    ----------
    plan
        From `plan2`.
    forces_ev_per_ang
        In `plan.supercells`, in their order and that of their atoms: shape (n_displaced, n_supercell, 3), eV/Å.
    forces_seconds
        What `seconds_by_part` says that they took.

    Raises
    ------
    InputError
        For forces of another shape, or that are not finite.
    TransportError
        For a fit that fails.
    """
    start = time.perf_counter()
    _check(plan, forces_ev_per_ang)
    residual = None
    if plan.fit is None:
        fc2 = solve_second_order(plan.phonopy, forces_ev_per_ang)
    else:
        n_pairs = len(plan.fit.moves_ang)
        odd = (forces_ev_per_ang[:n_pairs] - forces_ev_per_ang[n_pairs:]) / 2
        fc2, residual, _ = fit_force_constants(plan.fit.basis, plan.fit.moves_ang, odd)
    phonons = copy(plan.phonopy)  # the plan may be solved again with other forces
    phonons.force_constants = fc2
    return SecondOrder(
        choice=plan.choice,
        supercell=plan.supercell,
        primitive=plan.primitive,
        way=plan.way,
        costs=plan.costs,
        n_supercells=len(forces_ev_per_ang),
        cutoff_ang=plan.cutoff_ang,
        residual=residual,
        seconds_by_part=_seconds(plan, forces_seconds, time.perf_counter() - start),
        fc2=fc2,
        phonopy=phonons,
    )


def solve3(plan: ThirdPlan, forces_ev_per_ang: np.ndarray, *, forces_seconds: float = 0.0) -> ThirdOrder:
    """Make third-order force constants of the forces in a plan's supercells.

    Parameters
    ----------
    plan
        From `plan3`.
    forces_ev_per_ang, forces_seconds
        As of `solve2`.

    Raises
    ------
    InputError
        For forces of another shape, or that are not finite.
    TransportError
        For a fit that fails, or force constants that all vanish.
    """
    start = time.perf_counter()
    _check(plan, forces_ev_per_ang)
    residual = None
    if plan.fit is None:
        assert plan.pairs is not None, "there is one or the other"
        fc3 = pair_force_constants(plan.pairs, plan.primitive, forces_ev_per_ang)
        if not np.abs(fc3).max() > 0:
            raise TransportError("failed", "all third-order force constants vanish: the forces do not change")
    else:
        n_pairs = len(plan.fit.moves_ang)
        plus, minus = forces_ev_per_ang[:n_pairs], forces_ev_per_ang[n_pairs : 2 * n_pairs]
        even = (plus + minus) / 2 - forces_ev_per_ang[-1]
        fc3, residual, _ = fit_force_constants(plan.fit.basis, plan.fit.moves_ang, even)
    return ThirdOrder(
        choice=plan.choice,
        supercell=plan.supercell,
        primitive=plan.primitive,
        way=plan.way,
        costs=plan.costs,
        n_supercells=len(forces_ev_per_ang),
        cutoff_ang=plan.cutoff_ang,
        residual=residual,
        seconds_by_part=_seconds(plan, forces_seconds, time.perf_counter() - start),
        fc3=fc3,
        known=plan.known,
    )


def phono3py_of_orders(primitive: PrimitiveCrystal, second: SecondOrder, third: ThirdOrder) -> Phono3py:
    """Return phono3py with both orders in their supercells, for its own solvers or its files."""
    phono3py = phono3py_with(primitive.crystal, third.choice.matrix, second.choice.matrix)
    phono3py.fc2 = second.fc2
    phono3py.fc3 = third.fc3
    phono3py.fc3_nonzero_indices = np.ascontiguousarray(third.known, dtype="byte")
    return phono3py


def _check(plan: Plan, forces_ev_per_ang: np.ndarray) -> None:
    names = plan.names
    expected = (len(names), len(plan.supercell), 3)
    if forces_ev_per_ang.shape != expected:
        raise InputError(f"forces of order {plan.order}: expected shape {expected}, got {forces_ev_per_ang.shape}")
    if (broken := np.flatnonzero(~np.isfinite(forces_ev_per_ang).all(axis=(1, 2)))).size:
        raise InputError(f"forces of {names[broken[0]]} are not finite (NaN or inf); {broken.size} supercells in all")


def _seconds(plan: Plan, forces: float, solving: float) -> dict[str, float]:
    so_far = plan.seconds_by_part
    return {
        "displacements": so_far["displacements"],
        "forces": forces,
        "force_constants": so_far.get("force_constants", 0.0) + solving,
    }

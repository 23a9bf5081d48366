"""Which displaced supercells give force constants of an order: all that can be known before their forces are."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
from phono3py import Phono3py
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms
from phonopy.structure.cells import Primitive

from kappaforge.potentials.base import Potential
from kappaforge.transport.fit import Basis, cutoff_in_gap, random_displacements, symmetric_basis
from kappaforge.transport.force_constants import (
    displace_atoms,
    near_pairs_of_triplets,
    pair_distances,
    phono3py_with,
    phonopy_with,
)
from kappaforge.transport.forces import supercell_forces
from kappaforge.transport.order_costs import Cost, Size, cheaper_way, finite_cost, fit_cost
from kappaforge.transport.order_settings import ForceConstantSettings, Way
from kappaforge.transport.pair_displacements import PairDisplacements, pair_displacements
from kappaforge.transport.primitive import PrimitiveCrystal
from kappaforge.transport.supercells import SupercellChoice, smallest_supercell

PAIR_LENGTH = 5 / 3
"""How much longer displacements of pairs are than those of the second order. Their error is that of phono3py's at half
the length, and the noise of the forces falls with its square."""


class RandomMoves(NamedTuple):
    """What a fit needs beside forces: the basis, and half of the displacements, (n_pairs, n_supercell, 3) in Å."""

    basis: Basis
    moves_ang: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """The displaced supercells of one order, and what its force constants are solved with once there are forces.

    Parameters
    ----------
    choice, supercell, primitive, way, costs, cutoff_ang
        As of `kappaforge.transport.orders.Order`.
    displaced
        The displaced supercells by kind of displacement: "single-atom" of second order, "one- or two-atom" of third, or
        "random". A fit's are displacements and their opposites; of third order, one supercell has none.
    fit
        Of a fit, None for finite displacements.
    seconds_by_part
        Time of displacements and, for the basis of a fit, force_constants.
    """

    order: ClassVar[int]
    choice: SupercellChoice
    supercell: PhonopyAtoms
    primitive: Primitive
    way: Way
    costs: dict[Way, Cost]
    cutoff_ang: float | None
    displaced: dict[str, list[PhonopyAtoms]]
    fit: RandomMoves | None
    seconds_by_part: dict[str, float]

    @property
    def supercells(self) -> list[PhonopyAtoms]:
        """All displaced supercells, in the order in which solving takes their forces."""
        return [cell for cells in self.displaced.values() for cell in cells]

    @property
    def names(self) -> list[str]:
        """A name for each of the supercells, such as ``order3-0042``, counted from one."""
        return [f"order{self.order}-{number:04d}" for number in range(1, len(self.supercells) + 1)]

    @property
    def moves_ang(self) -> np.ndarray:
        """Displacements of all atoms, shape (n_displaced, n_supercell, 3), Å."""
        return np.array([cell.positions - self.supercell.positions for cell in self.supercells])


@dataclass(frozen=True, eq=False, kw_only=True)
class SecondPlan(Plan):
    """Of second order; `phonopy` holds the finite displacements and, while solving, their forces."""

    order = 2
    phonopy: Phonopy


@dataclass(frozen=True, eq=False, kw_only=True)
class ThirdPlan(Plan):
    """Of third order.

    Parameters
    ----------
    pairs
        The finite displacements; None for a fit.
    known
        Triplets within the cutoff, shape (n_primitive, n_supercell, n_supercell).
    """

    order = 3
    pairs: PairDisplacements | None
    known: np.ndarray


def plan2(primitive: PrimitiveCrystal, settings: ForceConstantSettings) -> SecondPlan:
    """Choose supercell, way and displacements of second order.

    Raises
    ------
    TransportError
        For a way that needs more memory than allowed, or a fit of nothing.
    """
    clock = _Clock()
    choice = smallest_supercell(primitive, settings.fc2_face_distance_ang, settings.distance_between)
    phonopy = phonopy_with(primitive.crystal, choice.matrix)
    displace_atoms(phonopy, settings.displacement_ang)
    displaced = {"single-atom": list(phonopy.supercells_with_displacements or [])}
    size = Size.of(primitive, choice)
    costs: dict[Way, Cost] = {
        "finite": finite_cost(2, size, len(displaced["single-atom"]), settings),
        "fit": fit_cost(2, size, size.n_primitive * size.n_atoms, size.n_atoms, settings),
    }
    # few displacements are needed at any rate, and a fit's noise may turn soft modes imaginary
    wanted = settings.fc2_way or ("finite" if settings.way == "auto" else settings.way)
    way = cheaper_way(costs, replace(settings, way=wanted))
    clock.finish("displacements")
    fit = None
    if way == "fit":
        fit = _random_moves(2, phonopy, None, settings)
        displaced = {"random": _opposite(phonopy.supercell, fit.moves_ang)}
        clock.finish("force_constants")
    return SecondPlan(
        choice=choice,
        supercell=phonopy.supercell,
        primitive=phonopy.primitive,
        way=way,
        costs=costs,
        cutoff_ang=None,
        displaced=displaced,
        fit=fit,
        seconds_by_part=clock.seconds,
        phonopy=phonopy,
    )


def plan3(primitive: PrimitiveCrystal, settings: ForceConstantSettings) -> ThirdPlan:
    """Choose supercell, way and displacements of third order.

    Raises
    ------
    TransportError
        For a way that needs more memory than allowed, or a fit of nothing.
    """
    clock = _Clock()
    choice = smallest_supercell(primitive, settings.fc3_face_distance_ang, settings.distance_between)
    phono3py = phono3py_with(primitive.crystal, choice.matrix)
    distances_ang = pair_distances(phono3py.primitive)
    fit_cutoff_ang = cutoff_in_gap(distances_ang, settings.fc3_fit_cutoff_ang)
    any_cutoff_ang = cutoff_in_gap(distances_ang, settings.fc3_cutoff_ang) if settings.fc3_cutoff_ang else None
    near = distances_ang < fit_cutoff_ang
    known = near_pairs_of_triplets(phono3py.primitive, near) == 3
    size = Size.of(primitive, choice)
    n_near = int(near.sum(axis=1).max())
    costs: dict[Way, Cost] = {"fit": fit_cost(3, size, int(known.sum()), n_near, settings)}
    pairs = None
    if settings.way != "fit":
        displaced_together = distances_ang < (any_cutoff_ang or np.inf)
        axes = phono3py.primitive_symmetry.dataset.std_rotation_matrix
        pairs = pair_displacements(
            phono3py.primitive,
            phono3py.supercell,
            phono3py.symmetry,
            displaced_together,
            axes,
            PAIR_LENGTH * settings.displacement_ang,
        )
        costs["finite"] = finite_cost(3, size, len(pairs.sites), settings)
    way = cheaper_way(costs, settings)
    fit = None
    if way == "finite":
        assert pairs is not None, "its cost was known"
        displaced = {"one- or two-atom": pairs.supercells(phono3py.supercell)}
        known = near_pairs_of_triplets(phono3py.primitive, pairs.near) > 0
        clock.finish("displacements")
    else:
        pairs = None
        clock.finish("displacements")
        fit = _random_moves(3, phono3py, fit_cutoff_ang, settings)
        # even parts hold the forces without displacements too, which only symmetry makes vanish
        displaced = {"random": [*_opposite(phono3py.supercell, fit.moves_ang), phono3py.supercell]}
        clock.finish("force_constants")
    return ThirdPlan(
        choice=choice,
        supercell=phono3py.supercell,
        primitive=phono3py.primitive,
        way=way,
        costs=costs,
        cutoff_ang=any_cutoff_ang if way == "finite" else fit_cutoff_ang,
        displaced=displaced,
        fit=fit,
        seconds_by_part=clock.seconds,
        pairs=pairs,
        known=known,
    )


def planned_forces(plan: Plan, potential: Potential) -> np.ndarray:
    """Return a potential's forces in the supercells of a plan, shape (n_displaced, n_supercell, 3), eV/Å.

    Raises
    ------
    TransportError
        Where a force is not finite; it names the displacement.
    """
    return np.concatenate(
        [supercell_forces(potential, plan.supercell, cells, kind) for kind, cells in plan.displaced.items()]
    )


def _random_moves(
    order: int, phonopy: Phonopy | Phono3py, cutoff_ang: float | None, settings: ForceConstantSettings
) -> RandomMoves:
    basis = symmetric_basis(phonopy.supercell, phonopy.primitive, phonopy.symmetry, order, cutoff_ang)
    n_pairs = basis.supercells_needed(settings.oversampling)
    return RandomMoves(
        basis, random_displacements(n_pairs, len(phonopy.supercell), settings.displacement_ang, settings.seed)
    )


def _opposite(supercell: PhonopyAtoms, moves_ang: np.ndarray) -> list[PhonopyAtoms]:
    """Return the supercell with all displacements, then with their opposites."""
    return [
        PhonopyAtoms(numbers=supercell.numbers, cell=supercell.cell, positions=supercell.positions + moves)
        for moves in (*moves_ang, *-moves_ang)
    ]


class _Clock:
    """Sums up the time between calls by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def finish(self, part: str) -> None:
        now = time.perf_counter()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._last
        self._last = now

"""Forces that were computed elsewhere, for the supercells they belong to: told by where the atoms are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from phonopy.structure.atoms import PhonopyAtoms

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.transport.plans import Plan

SAME_ANG = 1e-4
"""Atoms that are closer are at the same place, and displacements shorter than ten times this bring it down."""

SAME_FORCES_EV_PER_ANG = 1e-5
"""Forces that differ by less are the same twice, as files round them."""


ENOUGH = 10
"""Missing supercells for which an error looks what comes closest to them."""


class GivenForces(NamedTuple):
    """Forces in one crystal.

    ==================  ============  ============================================================
    field               shape         content
    ==================  ============  ============================================================
    crystal             –             a supercell, its atoms in any order and in any periodic image
    forces_ev_per_ang   (n_atoms, 3)  eV/Å
    where               –             what an error calls it: a file and its frame
    engine              –             what computed them; empty where that is not known
    ==================  ============  ============================================================
    """

    crystal: Crystal
    forces_ev_per_ang: np.ndarray
    where: str
    engine: str = ""


class _Fitting(NamedTuple):
    """Given forces whose atoms are near the sites of a supercell, in the supercell's order of atoms."""

    given: list[GivenForces]
    moves_ang: np.ndarray
    forces_ev_per_ang: np.ndarray


def matched_forces(
    plans: Sequence[Plan], given: Sequence[GivenForces], missing_because: Mapping[str, str] | None = None
) -> list[np.ndarray]:
    """Return for each plan the forces in its supercells, in its order of supercells and of atoms.

    Parameters
    ----------
    plans
        Those of one crystal.
    given
        In any order; those that belong to no supercell are left out.
    missing_because
        Why forces are missing, by the name of the supercell.

    Returns
    -------
    list of ndarray
        Shapes (n_displaced, n_supercell, 3), eV/Å.

    Raises
    ------
    InputError
        Where a supercell has no forces, not finite ones, or two that differ; where those of one order come from
        different engines.
    """
    found, missing, used = [], [], set()
    fittings = [_fitting(plan.supercell, given) for plan in plans]
    for plan, fitting in zip(plans, fittings, strict=True):
        chosen = []
        tolerance = _tolerance(plan)
        for name, moves in zip(plan.names, plan.moves_ang, strict=True):
            off = np.abs(fitting.moves_ang - moves).max(axis=(1, 2))
            same = np.flatnonzero(off <= tolerance)
            if not same.size:
                missing.append((name, moves, fitting))
                continue
            _check_same(name, fitting, same)
            used |= {id(fitting.given[index].crystal) for index in same}
            chosen.append(int(same[np.argmin(off[same])]))
        _check_engines(plan, [fitting.given[index] for index in chosen])
        found.append(fitting.forces_ev_per_ang[chosen])
    if missing:
        n_all = sum(len(plan.names) for plan in plans)
        names = missing[0][0] + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
        hint = (
            _reason([name for name, _, _ in missing], missing_because or {})
            or _nearest(missing[:ENOUGH], used)
            or _foreign(given, fittings)
        )
        raise InputError(f"no forces for {names} of {n_all} supercells{hint}")
    return found


def _tolerance(plan: Plan) -> float:
    lengths = np.linalg.norm(plan.moves_ang, axis=2)
    return min(SAME_ANG, float(lengths.max()) / 10)


def _fitting(supercell: PhonopyAtoms, given: Sequence[GivenForces]) -> _Fitting:
    n_atoms = len(supercell)
    fitting: list[GivenForces] = []
    moves, forces = np.empty((len(given), n_atoms, 3)), np.empty((len(given), n_atoms, 3))
    for each in given:
        found = _on_sites(supercell, each.crystal)
        if found is not None:
            order, moves[len(fitting)] = found
            forces[len(fitting)] = each.forces_ev_per_ang[order]
            fitting.append(each)
    return _Fitting(fitting, moves[: len(fitting)], forces[: len(fitting)])


def _on_sites(supercell: PhonopyAtoms, crystal: Crystal) -> tuple[np.ndarray, np.ndarray] | None:
    """Return which atom of a crystal is near each site of the supercell, and how far from it, (n_sites, 3) in Å.

    None for another cell, or where an atom is nearest to a site of another element or of another atom.
    """
    if len(crystal) != len(supercell) or np.abs(crystal.cell - supercell.cell).max() > SAME_ANG:
        return None
    atoms = crystal.fractional @ supercell.cell  # in the supercell's own cell, which may differ by round-off of a file
    apart = _nearest_image(atoms[None] - supercell.positions[:, None], supercell.cell)
    order = (apart**2).sum(axis=2).argmin(axis=1)
    once = len(np.unique(order)) == len(order)
    if not (once and np.array_equal(crystal.numbers[order], supercell.numbers)):
        return None
    return order, apart[np.arange(len(order)), order]


def _nearest_image(vectors: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Bring vectors that are short up to a lattice vector to their short image; others to any."""
    return vectors - np.rint(vectors @ np.linalg.inv(cell)) @ cell


def _check_same(name: str, fitting: _Fitting, same: np.ndarray) -> None:
    forces = fitting.forces_ev_per_ang[same]
    for index, each in zip(same, forces, strict=True):
        if not np.isfinite(each).all():
            raise InputError(f"{fitting.given[index].where}: forces of {name} are not finite (NaN or inf)")
    different = np.abs(forces - forces[0]).max(axis=(1, 2)) > SAME_FORCES_EV_PER_ANG
    if different.any():
        other = fitting.given[same[np.argmax(different)]].where
        raise InputError(f"{fitting.given[same[0]].where} and {other} give different forces for {name}: remove one")


def _check_engines(plan: Plan, chosen: Sequence[GivenForces]) -> None:
    engines = {each.engine: each.where for each in reversed(chosen) if each.engine}
    if len(engines) > 1:
        (first, where), (second, elsewhere), *_ = engines.items()
        raise InputError(
            f"forces of order {plan.order} are of different engines and cannot be mixed: "
            f"{first!r} ({where}) and {second!r} ({elsewhere})"
        )


def _reason(names: Sequence[str], missing_because: Mapping[str, str]) -> str:
    """Say why the first of the names is missing of which that is known."""
    return next((f"; {name}: {missing_because[name]}" for name in names if name in missing_because), "")


def _nearest(missing: Sequence[tuple[str, np.ndarray, _Fitting]], used: set[int]) -> str:
    """Say which of the forces that belong to no supercell come closest to one that is missing, if there are any."""
    closest = None
    for name, moves, fitting in missing:
        for each, given_moves in zip(fitting.given, fitting.moves_ang, strict=True):
            if id(each.crystal) in used:
                continue
            lengths = np.linalg.norm(given_moves - moves, axis=1)
            candidate = (each.crystal.id != name, float(lengths.max()), int(lengths.argmax()), each.where, name)
            closest = candidate if closest is None else min(closest, candidate)
    if closest is None:
        return ""
    _, length, atom, where, name = closest
    return (
        f"; {where} comes closest to {name}, but its atom {atom} of the supercell is {length:.4f} Å off: "
        "compute forces without moving atoms"
    )


def _foreign(given: Sequence[GivenForces], fittings: Sequence[_Fitting]) -> str:
    """Say which forces belong to no supercell even roughly, if there are any."""
    known = {id(each.crystal) for fitting in fittings for each in fitting.given}
    foreign = [each.where for each in given if id(each.crystal) not in known]
    return f"; {foreign[0]} has another cell or other atoms than they have" if foreign else ""

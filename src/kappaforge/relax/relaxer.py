"""Relaxation of many crystals at once: positions and cells together, each crystal for itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from ase.units import GPa
from matscipy.neighbours import neighbour_list

from kappaforge.crystal import Crystal
from kappaforge.potentials.base import Batch, Potential, require_elements
from kappaforge.relax.coordinates import Coordinates
from kappaforge.relax.descent import FireThenLbfgs
from kappaforge.relax.fire import Fire
from kappaforge.relax.lbfgs import Lbfgs
from kappaforge.relax.point import Minimiser, Point
from kappaforge.relax.settings import RelaxSettings
from kappaforge.relax.symmetry import SymmetryProjector, symmetrised

MINIMISERS: dict[str, type[Minimiser]] = {"fire": Fire, "lbfgs": Lbfgs, "fire-lbfgs": FireThenLbfgs}

ATOMS_AT_ONCE = 512
"""Enough to hide what a step costs however few crystals it moves, and little memory."""

DISTANCE_INTERVAL = 10
"""Steps between two looks at the shortest distance, which costs about as much as a fast potential."""


@dataclass(frozen=True, eq=False)
class RelaxRecord:
    """What became of one crystal.

    Parameters
    ----------
    id
        The crystal's.
    status
        ``ok``, ``unconverged`` (stopped at the last step) or ``failed``.
    reason
        One line; empty when ok.
    crystal
        The relaxed crystal; where it failed, the one that came.
    energy_ev_per_atom
        Potential energy without the work against the pressure; NaN where the potential had no answer.
    fmax_ev_per_ang
        Largest force on an atom in the last geometry.
    stress_max_gpa
        Largest deviation of a stress component from the external pressure.
    steps
        Steps taken.
    seconds
        This crystal's share of the time, by its number of atoms.
    """

    id: str
    status: str
    reason: str
    crystal: Crystal
    energy_ev_per_atom: float
    fmax_ev_per_ang: float
    stress_max_gpa: float
    steps: int
    seconds: float


def relax(
    crystals: Sequence[Crystal],
    potential: Potential,
    settings: RelaxSettings,
    *,
    atoms_at_once: int = ATOMS_AT_ONCE,
) -> list[RelaxRecord]:
    """Bring crystals to the nearest minimum of the enthalpy.

    Many crystals advance together, one evaluation of the potential per step; each has its own state of the minimiser,
    leaves when it is done and makes room for the next. Where the potential itself treats the crystals of a batch alike
    whatever their company, so does the relaxer, bit by bit.

    Parameters
    ----------
    crystals
        Any sizes, any cells.
    potential
        Where energies, forces and stresses come from.
    settings
        When to stop.
    atoms_at_once
        The next crystal enters when no more atoms than these are at work with it, or none.

    Returns
    -------
    list of RelaxRecord
        In the order of the crystals.

    Raises
    ------
    UnsupportedElementError
        Where the potential does not know an element; nothing is relaxed then.
    """
    if not crystals:
        return []
    require_elements(potential, frozenset().union(*(crystal.elements for crystal in crystals)))
    records: dict[int, RelaxRecord] = {}
    seconds = np.zeros(len(crystals))
    work, entered, clock = None, 0, time.perf_counter()
    while len(records) < len(crystals):
        entering = _entering(crystals, entered, 0 if work is None else len(work.coordinates.numbers), atoms_at_once)
        if entering:
            work = _joined(work, _Work.of(crystals, entering, settings))
            entered += len(entering)
        assert work is not None, "a crystal enters where none is at work"

        now = _evaluate(work, potential, settings.pressure_gpa)
        verdicts = _verdicts(now, work, settings)
        counts = work.coordinates.counts
        clock, before = time.perf_counter(), clock
        seconds[work.indices] += (clock - before) * counts / counts.sum()
        for place, verdict in verdicts.items():
            index = int(work.indices[place])
            steps = int(work.steps[place])
            records[index] = _record(crystals[index], now, place, verdict, steps, float(seconds[index]))
        work = _advanced(work, now, np.array([place not in verdicts for place in range(len(counts))]), settings)
    return [records[index] for index in range(len(crystals))]


class _Work(NamedTuple):
    """The crystals at work: places in the list, geometry, minimiser, symmetry, and steps taken."""

    indices: np.ndarray
    coordinates: Coordinates
    minimiser: Minimiser
    projectors: tuple[SymmetryProjector | None, ...]
    steps: np.ndarray

    @classmethod
    def of(cls, crystals: Sequence[Crystal], indices: range, settings: RelaxSettings) -> _Work:
        """Return crystals before their first step, their symmetry made exact where it is to be kept."""
        starts = [crystals[index] for index in indices]
        projectors: tuple[SymmetryProjector | None, ...] = (None,) * len(starts)
        if settings.keep_symmetry:
            pairs = [symmetrised(crystal, settings.symprec) for crystal in starts]
            starts, projectors = [exact for exact, _ in pairs], tuple(projector for _, projector in pairs)
        coordinates = Coordinates.of(Batch.of(starts))
        minimiser = MINIMISERS[settings.minimiser].at_rest(len(coordinates.rows), len(starts))
        return cls(np.array(indices), coordinates, minimiser, projectors, np.zeros(len(starts), dtype=np.int64))


def _entering(crystals: Sequence[Crystal], first: int, atoms: int, atoms_at_once: int) -> range:
    """Return the indices of those that enter next, where so many atoms are at work."""
    last = first
    while last < len(crystals) and (atoms == 0 or atoms + len(crystals[last]) <= atoms_at_once):
        atoms += len(crystals[last])
        last += 1
    return range(first, last)


def _joined(work: _Work | None, others: _Work) -> _Work:
    if work is None:
        return others
    return _Work(
        np.concatenate([work.indices, others.indices]),
        work.coordinates.joined(others.coordinates),
        work.minimiser.joined(others.minimiser),
        work.projectors + others.projectors,
        np.concatenate([work.steps, others.steps]),
    )


def _advanced(work: _Work, state: _State, staying: np.ndarray, settings: RelaxSettings) -> _Work | None:
    """Return those that stay, one step further; None where all leave."""
    if not staying.any():
        return None
    coordinates, minimiser = work.coordinates, work.minimiser
    forces = coordinates.forces(state.forces_ev_per_ang, state.stresses_ev_per_ang3)
    point = Point(forces, state.enthalpies_ev, coordinates.owner, work.steps, state.geometry)
    if not staying.all():
        minimiser = minimiser.of(staying[point.owner], staying)
        coordinates, point = coordinates.subset(staying), point.subset(staying)
    minimiser, moves = minimiser.step(point, settings.max_move_ang)
    projectors = tuple(projector for projector, stays in zip(work.projectors, staying, strict=True) if stays)
    return _Work(work.indices[staying], coordinates.moved(moves), minimiser, projectors, point.steps + 1)


class _State(NamedTuple):
    """A batch evaluated: geometry, energies, symmetric forces, and stresses with the pressure added."""

    geometry: Batch
    energies_ev: np.ndarray
    enthalpies_ev: np.ndarray
    forces_ev_per_ang: np.ndarray
    stresses_ev_per_ang3: np.ndarray
    fmax_ev_per_ang: np.ndarray
    stress_max_gpa: np.ndarray


def _evaluate(work: _Work, potential: Potential, pressure_gpa: float) -> _State:
    geometry = work.coordinates.geometry()
    energies, forces, stresses = potential.compute(geometry)
    forces, stresses = forces.copy(), stresses + pressure_gpa * GPa * np.eye(3)
    for index, (rows, projector) in enumerate(zip(geometry.slices, work.projectors, strict=True)):
        if projector is not None:
            forces[rows] = projector.forces(forces[rows])
            stresses[index] = projector.stress(stresses[index])
    enthalpies = energies + pressure_gpa * GPa * np.abs(np.linalg.det(geometry.cells))
    starts = np.cumsum(geometry.counts) - geometry.counts
    fmax = np.maximum.reduceat(np.sqrt((forces**2).sum(axis=1)), starts)
    stress_max_gpa = np.abs(stresses).max(axis=(1, 2)) / GPa
    return _State(geometry, energies, enthalpies, forces, stresses, fmax, stress_max_gpa)


def _verdicts(state: _State, work: _Work, settings: RelaxSettings) -> dict[int, tuple[str, str]]:
    """Return status and reason of each crystal that stops here, by its place."""
    ratios = np.abs(np.linalg.det(state.geometry.cells) / np.linalg.det(work.coordinates.reference_cells))
    within = (ratios >= 1 / settings.max_volume_ratio) & (ratios <= settings.max_volume_ratio)
    settled = (state.fmax_ev_per_ang <= settings.fmax_ev_per_ang) & (state.stress_max_gpa <= settings.stress_max_gpa)
    last = work.steps >= settings.max_steps
    finite = np.isfinite(state.energies_ev)
    verdicts, slices = {}, state.geometry.slices
    for place in np.flatnonzero(~finite | ~within | settled | last | (work.steps % DISTANCE_INTERVAL == 0)).tolist():
        steps, rows = int(work.steps[place]), slices[place]
        if not finite[place]:
            verdicts[place] = "failed", f"the potential has no finite answer after {steps} steps"
        elif not within[place]:
            verdicts[place] = "failed", f"the volume changed by a factor of {ratios[place]:.3g} within {steps} steps"
        elif (close := _closest(state.geometry, place, rows, settings.min_distance_ang)) is not None:
            verdicts[place] = "failed", f"two atoms are {close:.2f} Å apart after {steps} steps"
        elif settled[place] and _has_lone_atom(state.geometry, place, rows, settings.max_distance_ang):
            reason = f"an atom is farther than {settings.max_distance_ang:g} Å from all others after {steps} steps"
            verdicts[place] = "failed", reason
        elif settled[place]:
            verdicts[place] = "ok", ""
        elif last[place]:
            verdicts[place] = (
                "unconverged",
                f"after {steps} steps fmax is {state.fmax_ev_per_ang[place]:.2g} eV/Å "
                f"(wanted {settings.fmax_ev_per_ang:g}) and stress is {state.stress_max_gpa[place]:.2g} GPa off "
                f"(wanted {settings.stress_max_gpa:g})",
            )
    return verdicts


def _closest(geometry: Batch, index: int, rows: slice, below_ang: float) -> float | None:
    """Return the shortest distance in Å, periodic images included, if it is below the limit."""
    distances = neighbour_list(
        "d", cutoff=below_ang, positions=geometry.positions[rows], cell=geometry.cells[index], pbc=np.ones(3, bool)
    )
    return float(distances.min()) if len(distances) else None


def _has_lone_atom(geometry: Batch, index: int, rows: slice, within_ang: float) -> bool:
    """Tell whether an atom has no other, nor an image of its own, within a distance in Å."""
    positions, cell = geometry.positions[rows], geometry.cells[index]
    owners = neighbour_list("i", cutoff=within_ang, positions=positions, cell=cell, pbc=np.ones(3, bool))
    return len(np.unique(owners)) < len(positions)


def _record(
    crystal: Crystal, state: _State, index: int, verdict: tuple[str, str], step: int, seconds: float
) -> RelaxRecord:
    status, reason = verdict
    rows = state.geometry.slices[index]
    relaxed = crystal
    if status != "failed" and step > 0:
        relaxed = crystal.moved_to(state.geometry.cells[index], state.geometry.positions[rows])
    return RelaxRecord(
        id=crystal.id,
        status=status,
        reason=reason,
        crystal=relaxed,
        energy_ev_per_atom=float(state.energies_ev[index]) / len(crystal),
        fmax_ev_per_ang=float(state.fmax_ev_per_ang[index]),
        stress_max_gpa=float(state.stress_max_gpa[index]),
        steps=step,
        seconds=seconds,
    )

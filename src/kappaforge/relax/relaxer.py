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
from kappaforge.relax.fire import Fire, fire_step
from kappaforge.relax.settings import RelaxSettings
from kappaforge.relax.symmetry import SymmetryProjector, symmetrised

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


def relax(crystals: Sequence[Crystal], potential: Potential, settings: RelaxSettings) -> list[RelaxRecord]:
    """Bring crystals to the nearest minimum of the enthalpy.

    All crystals advance together, one evaluation of the potential per step; each has its own state of the minimiser
    and leaves when it is done. Where the potential itself treats the crystals of a batch alike whatever their company,
    so does the relaxer, bit by bit.

    Parameters
    ----------
    crystals
        Any sizes, any cells.
    potential
        Where energies, forces and stresses come from.
    settings
        When to stop.

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
    clock = time.perf_counter()
    starts, projectors = _starts(crystals, settings)
    coordinates = Coordinates.of(Batch.of(starts))
    fire = Fire.at_rest(len(coordinates.rows), len(crystals))
    running, seconds = np.arange(len(crystals)), np.zeros(len(crystals))
    records: dict[int, RelaxRecord] = {}
    for step in range(settings.max_steps + 1):
        now = _evaluate(coordinates, potential, [projectors[index] for index in running], settings.pressure_gpa)
        verdicts = _verdicts(now, coordinates.reference_cells, step, settings)
        clock, before = time.perf_counter(), clock
        seconds[running] += (clock - before) * coordinates.counts / coordinates.counts.sum()

        staying = np.array([not status for status, _ in verdicts])
        for place in np.flatnonzero(~staying).tolist():
            index = int(running[place])
            records[index] = _record(crystals[index], now, place, verdicts[place], step, float(seconds[index]))
        if not staying.any():
            break

        forces = coordinates.forces(now.forces_ev_per_ang, now.stresses_ev_per_ang3)
        if not staying.all():
            rows = staying[coordinates.owner]
            forces, fire = forces[rows], fire.of(rows, staying)
            coordinates, running = coordinates.subset(staying), running[staying]
        fire, moves = fire_step(fire, forces, coordinates.owner, settings.max_move_ang)
        coordinates = coordinates.moved(moves)
    return [records[index] for index in range(len(crystals))]


def _starts(
    crystals: Sequence[Crystal], settings: RelaxSettings
) -> tuple[list[Crystal], list[SymmetryProjector | None]]:
    """Return the crystals to start from, and what keeps their symmetry where that is asked for."""
    if not settings.keep_symmetry:
        return list(crystals), [None] * len(crystals)
    pairs = [symmetrised(crystal, settings.symprec) for crystal in crystals]
    return [exact for exact, _ in pairs], [projector for _, projector in pairs]


class _State(NamedTuple):
    """A batch evaluated: geometry, energies, symmetric forces, and stresses with the pressure added."""

    geometry: Batch
    energies_ev: np.ndarray
    forces_ev_per_ang: np.ndarray
    stresses_ev_per_ang3: np.ndarray
    fmax_ev_per_ang: np.ndarray
    stress_max_gpa: np.ndarray


def _evaluate(
    coordinates: Coordinates,
    potential: Potential,
    projectors: Sequence[SymmetryProjector | None],
    pressure_gpa: float,
) -> _State:
    geometry = coordinates.geometry()
    energies, forces, stresses = potential.compute(geometry)
    forces, stresses = forces.copy(), stresses + pressure_gpa * GPa * np.eye(3)
    fmax = np.empty(len(energies))
    for index, (rows, projector) in enumerate(zip(geometry.slices, projectors, strict=True)):
        if projector is not None:
            forces[rows] = projector.forces(forces[rows])
            stresses[index] = projector.stress(stresses[index])
        fmax[index] = np.sqrt((forces[rows] ** 2).sum(axis=1)).max()
    stress_max_gpa = np.abs(stresses).max(axis=(1, 2)) / GPa
    return _State(geometry, energies, forces, stresses, fmax, stress_max_gpa)


def _verdicts(state: _State, reference_cells: np.ndarray, step: int, settings: RelaxSettings) -> list[tuple[str, str]]:
    """Return status and reason of each crystal that stops here; both empty for those that go on."""
    ratios = np.abs(np.linalg.det(state.geometry.cells) / np.linalg.det(reference_cells))
    verdicts = []
    for index, rows in enumerate(state.geometry.slices):
        fmax, stress_max, ratio = state.fmax_ev_per_ang[index], state.stress_max_gpa[index], ratios[index]
        settled = fmax <= settings.fmax_ev_per_ang and stress_max <= settings.stress_max_gpa
        last = step == settings.max_steps
        look_close = settled or last or step % DISTANCE_INTERVAL == 0
        verdict = "", ""
        if not np.isfinite(state.energies_ev[index]):
            verdict = "failed", f"the potential has no finite answer after {step} steps"
        elif not 1 / settings.max_volume_ratio <= ratio <= settings.max_volume_ratio:
            verdict = "failed", f"the volume changed by a factor of {ratio:.3g} within {step} steps"
        elif look_close and (close := _closest(state.geometry, index, rows, settings.min_distance_ang)) is not None:
            verdict = "failed", f"two atoms are {close:.2f} Å apart after {step} steps"
        elif settled:
            verdict = "ok", ""
        elif last:
            verdict = (
                "unconverged",
                (
                    f"after {step} steps fmax is {fmax:.2g} eV/Å (wanted {settings.fmax_ev_per_ang:g}) "
                    f"and stress is {stress_max:.2g} GPa off (wanted {settings.stress_max_gpa:g})"
                ),
            )
        verdicts.append(verdict)
    return verdicts


def _closest(geometry: Batch, index: int, rows: slice, below_ang: float) -> float | None:
    """Return the shortest distance in Å, periodic images included, if it is below the limit."""
    distances = neighbour_list(
        "d", cutoff=below_ang, positions=geometry.positions[rows], cell=geometry.cells[index], pbc=np.ones(3, bool)
    )
    return float(distances.min()) if len(distances) else None


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

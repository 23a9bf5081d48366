"""κ at a stated accuracy: force constants from supercells large enough, our own kernel, two meshes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from phono3py.other.isotope import get_mass_variances

from kappaforge.potentials.base import Potential
from kappaforge.transport.boltzmann import phono3py_conductivity
from kappaforge.transport.collision_memory import temperatures_at_once
from kappaforge.transport.force_constants import ForceConstants
from kappaforge.transport.interaction import ThreePhonon, lattice_terms
from kappaforge.transport.meshes import LEAST, converged_meshes, extrapolated, step_beyond
from kappaforge.transport.modes import conduction_w_per_mk_per_ps
from kappaforge.transport.orders import SecondOrder, ThirdOrder, order2, order3, phono3py_of_orders
from kappaforge.transport.phono3py_file import write_phono3py_file
from kappaforge.transport.phonon_grid import phonon_grid
from kappaforge.transport.primitive import PrimitiveCrystal, symmetrised_tensor
from kappaforge.transport.record import Clock, KappaAt, KappaRecord, Mesh, largest_eigenvalue
from kappaforge.transport.scattering import isotope_rates_thz, three_phonon_scattering
from kappaforge.transport.settings import KappaSettings
from kappaforge.transport.solution import Solution, solve
from kappaforge.transport.stability import stability_steps
from kappaforge.transport.wigner import coherence_kappa_w_per_mk


class Tensors(NamedTuple):
    """κ in the relaxation-time approximation, of the whole equation, and of coherences; shape (3, 3), W/(m·K)."""

    rta: np.ndarray
    lbte: np.ndarray | None = None
    coherence: np.ndarray | None = None

    @property
    def better(self) -> np.ndarray:
        """Of the whole equation where that was solved."""
        return self.rta if self.lbte is None else self.lbte

    def each(self, function: Callable[[np.ndarray], np.ndarray]) -> Tensors:
        """Apply a function to those that there are."""
        return Tensors(function(self.rta), *(None if part is None else function(part) for part in self[1:]))


MESH_ERROR = 0.5
"""Of the step from the finer mesh to an infinitely fine one, where the coarser one is fine enough for a line."""

FEW_POINTS = 7
"""Along an axis of the coarser mesh: with fewer, steps from mesh to mesh vary so much that the whole step may be wrong.
Diamond's from 5³ and 9³ is 6 % short of what denser meshes go to, 0.9 of the step; from 7³ and 11³ 2 %, a fifth."""

LEAST_POINTS_ERROR = 0.1
"""Of κ at least, where the coarser mesh has the least number of points along an axis (docs/method/kappa.md)."""


def converged_steps(
    record: KappaRecord,
    primitive: PrimitiveCrystal,
    potential: Potential,
    settings: KappaSettings,
    clock: Clock,
    modes_folder: Path | None = None,
) -> Iterator[KappaRecord]:
    """Yield what is known after each step: harmonic phonons, third-order force constants, κ.

    With a folder given, the modes on the finest mesh are written there, as `write_phono3py_file` does.
    """
    record = replace(record, meshes=converged_meshes(primitive, settings))
    second = order2(primitive, potential, settings.force_constants)
    clock.add(second.seconds_by_part)
    for known in harmonic_steps(record, second, settings, clock):
        record = known
        yield record
    if settings.level == "harmonic":
        return
    third = order3(primitive, potential, settings.force_constants)
    clock.add(third.seconds_by_part)
    yield from kappa_steps(record, primitive, second, third, settings, clock, modes_folder)


def harmonic_steps(
    record: KappaRecord, second: SecondOrder, settings: KappaSettings, clock: Clock
) -> Iterator[KappaRecord]:
    """Yield the record with what the second order says, before and after stability is judged."""
    record = replace(
        record,
        n_displacements=second.n_supercells,
        n_supercell_atoms=(second.choice.n_atoms,),
        ways=(second.way,),
        fit_residual=second.residual,
    )
    for known in stability_steps(record, second.phonopy, settings, clock):
        record = known
        yield record
    with clock.part("stability"):
        grid = phonon_grid(second.phonopy, record.meshes[0])
        conduction = conduction_w_per_mk_per_ps(grid, settings.temperature_k)
    yield replace(record, conduction_w_per_mk_per_ps=conduction)


def kappa_steps(
    record: KappaRecord,
    primitive: PrimitiveCrystal,
    second: SecondOrder,
    third: ThirdOrder,
    settings: KappaSettings,
    clock: Clock,
    modes_folder: Path | None = None,
) -> Iterator[KappaRecord]:
    """Yield the record with what the third order says, and then with κ."""
    residuals = [order.residual for order in (second, third) if order.residual is not None]
    record = replace(
        record,
        n_displacements=second.n_supercells + third.n_supercells,
        n_supercell_atoms=(second.choice.n_atoms, third.choice.n_atoms),
        ways=(second.way, third.way),
        fit_residual=max(residuals, default=None),
    )
    yield record
    if settings.collisions == "phono3py":
        by_mesh = [_by_phono3py(primitive, second, third, mesh, settings, clock) for mesh in record.meshes]
    else:
        by_mesh = _by_kernel(second, third, record.meshes, settings, clock, modes_folder)
    by_mesh = [[tensors.each(partial(symmetrised_tensor, primitive)) for tensors in found] for found in by_mesh]
    solutions = [
        _combined(temperature, [found[place] for found in by_mesh], record.meshes)
        for place, temperature in enumerate(settings.temperatures_k)
    ]
    yield replace(record, solutions=tuple(solutions))


def _by_kernel(
    second: SecondOrder,
    third: ThirdOrder,
    meshes: tuple[Mesh, ...],
    settings: KappaSettings,
    clock: Clock,
    modes_folder: Path | None,
) -> list[list[Tensors]]:
    """Return κ at each temperature on each mesh; memory is asked for all meshes before anything is computed."""
    whole, temperatures_k = settings.level == "full", settings.temperatures_k
    with clock.part("collisions"):
        grids = [phonon_grid(second.phonopy, mesh) for mesh in meshes]
        n_known = int(third.known.sum())
        rounds = [
            temperatures_at_once(grid, n_known, temperatures_k, settings.collision_memory_gib, whole=whole)
            for grid in grids
        ]
        terms = lattice_terms(third.fc3, third.known, third.primitive)
    by_mesh = []
    for grid, groups in zip(grids, rounds, strict=True):
        solved = _solved(ThreePhonon(terms, grid, third.primitive, settings.device), groups, settings, clock)
        coherences: list[np.ndarray | None] = [None] * len(solved)
        if settings.coherence:
            with clock.part("solution"):
                coherences = [
                    coherence_kappa_w_per_mk(second.phonopy, grid, solution.linewidths_thz, solution.temperature_k)
                    for solution in solved
                ]
        by_mesh.append(
            [
                Tensors(solution.kappa_rta_w_per_mk, solution.kappa_lbte_w_per_mk, coherence)
                for solution, coherence in zip(solved, coherences, strict=True)
            ]
        )
    if modes_folder is not None:
        write_phono3py_file(modes_folder, grids[-1], solved, whole=False)
    return by_mesh


def _solved(
    three_phonon: ThreePhonon, rounds: list[list[float]], settings: KappaSettings, clock: Clock
) -> list[Solution]:
    """Return the solutions at the temperatures of all rounds."""
    assert settings.collisions != "phono3py"
    grid, isotopes = three_phonon.grid, None
    solved = []
    for temperatures_k in rounds:
        with clock.part("collisions"):
            if settings.isotope_scattering and isotopes is None:
                isotopes = isotope_rates_thz(grid, get_mass_variances(three_phonon.primitive))
            scatterings = three_phonon_scattering(
                three_phonon, temperatures_k, settings.collisions, whole=settings.level == "full"
            )
        with clock.part("solution"):
            solved += [
                solve(grid, scattering, isotope_rates_thz=isotopes, boundary_length_um=settings.boundary_length_um)
                for scattering in scatterings
            ]
        del scatterings  # before the next are made
    return solved


def _by_phono3py(
    primitive: PrimitiveCrystal,
    second: SecondOrder,
    third: ThirdOrder,
    mesh: Mesh,
    settings: KappaSettings,
    clock: Clock,
) -> list[Tensors]:
    with clock.part("collisions"):
        found = phono3py_conductivity(
            phono3py_of_orders(primitive, second, third),
            ForceConstants(second.fc2, third.fc3, third.known),
            mesh=mesh,
            temperatures_k=settings.temperatures_k,
            whole=settings.level == "full",
            isotope_scattering=settings.isotope_scattering,
            boundary_length_um=settings.boundary_length_um,
        )
    return [Tensors(rta, lbte) for rta, lbte in found]


def _combined(temperature_k: float, tensors: list[Tensors], meshes: tuple[Mesh, ...]) -> KappaAt:
    """Extrapolate where there are two meshes."""
    best, step, error = tensors[-1], None, None
    if len(meshes) == 2:
        coarse, fine = tensors
        rta = extrapolated((coarse.rta, fine.rta), meshes)
        lbte = None if coarse.lbte is None or fine.lbte is None else extrapolated((coarse.lbte, fine.lbte), meshes)
        # coherences need no long waves, so that they are those of the finer mesh
        best = Tensors(rta, lbte, fine.coherence)
        step = float(np.linalg.norm(step_beyond((coarse.better, fine.better), meshes), 2))
        error = (MESH_ERROR if min(meshes[0]) >= FEW_POINTS else 1.0) * step
        if min(meshes[0]) <= LEAST:
            error = max(error, LEAST_POINTS_ERROR * largest_eigenvalue(best.better))
    return KappaAt(
        temperature_k=temperature_k,
        kappa_rta_w_per_mk=best.rta,
        kappa_lbte_w_per_mk=best.lbte,
        kappa_coherence_w_per_mk=best.coherence,
        mesh_step_w_per_mk=step,
        mesh_error_w_per_mk=error,
        by_mesh=tuple(
            (largest_eigenvalue(each.rta), None if each.lbte is None else largest_eigenvalue(each.lbte))
            for each in tensors
        ),
    )


def confirmed(before: KappaAt, now: KappaAt) -> KappaAt:
    """Return κ of finer meshes with the error that the step from coarser ones tells.

    Two extrapolations that agree show that the lines are straight, whatever the number of points: the error is how far
    they are apart, and at least `MESH_ERROR` of the last step.
    """
    apart = float(np.linalg.norm(now.kappa_w_per_mk - before.kappa_w_per_mk, 2))
    return replace(now, mesh_error_w_per_mk=max(apart, MESH_ERROR * (now.mesh_step_w_per_mk or 0.0)))

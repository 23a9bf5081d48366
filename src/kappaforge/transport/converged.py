"""κ at a stated accuracy: force constants from supercells large enough, our own kernel, two meshes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from phono3py.other.isotope import get_mass_variances
from phonopy import Phonopy

from kappaforge.crystal import Crystal
from kappaforge.potentials.base import Potential
from kappaforge.transport.boltzmann import phono3py_conductivity
from kappaforge.transport.failure import TransportError
from kappaforge.transport.force_constants import ForceConstants, phonopy_with
from kappaforge.transport.interaction import ThreePhonon, lattice_terms
from kappaforge.transport.meshes import converged_meshes, extrapolated
from kappaforge.transport.orders import SecondOrder, ThirdOrder, order2, order3, phono3py_of_orders
from kappaforge.transport.phonon_grid import phonon_grid
from kappaforge.transport.primitive import PrimitiveCrystal, symmetrised_tensor
from kappaforge.transport.record import Clock, KappaAt, KappaRecord, Mesh, largest_eigenvalue
from kappaforge.transport.scattering import isotope_rates_thz, three_phonon_scattering
from kappaforge.transport.settings import KappaSettings
from kappaforge.transport.solution import conduction_w_per_mk_per_ps, solve
from kappaforge.transport.stability import imaginary_mode, spectrum

Tensors = tuple[np.ndarray, np.ndarray | None]
"""κ of the relaxation-time approximation and of the whole equation, shape (3, 3) each, W/(m·K)."""

MESH_ERROR = 0.5
"""Of the step from the finer mesh to the extrapolated κ."""


def converged_steps(
    record: KappaRecord, primitive: PrimitiveCrystal, potential: Potential, settings: KappaSettings, clock: Clock
) -> Iterator[KappaRecord]:
    """Yield what is known after each step: harmonic phonons, third-order force constants, κ."""
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
    yield from kappa_steps(record, primitive, second, third, settings, clock)


def harmonic_steps(
    record: KappaRecord, second: SecondOrder, settings: KappaSettings, clock: Clock
) -> Iterator[KappaRecord]:
    """Yield the record with what the second order says, before and after stability is judged."""
    with clock.part("stability"):
        phonopy = _harmonic(record.crystal, second)
        assert record.mesh is not None, "the meshes come first"
        q_points, frequencies = spectrum(phonopy, record.mesh)
    record = replace(
        record,
        n_displacements=second.n_supercells,
        n_supercell_atoms=(second.choice.n_atoms,),
        ways=(second.way,),
        fit_residual=second.residual,
        min_frequency_thz=float(frequencies.min()),
        max_frequency_thz=float(frequencies.max()),
    )
    yield record
    if reason := imaginary_mode(q_points, frequencies, settings):
        raise TransportError("unstable", reason)
    with clock.part("stability"):
        grid = phonon_grid(phonopy, record.meshes[0])
        conduction = conduction_w_per_mk_per_ps(grid, settings.temperature_k)
    yield replace(record, conduction_w_per_mk_per_ps=conduction)


def kappa_steps(
    record: KappaRecord,
    primitive: PrimitiveCrystal,
    second: SecondOrder,
    third: ThirdOrder,
    settings: KappaSettings,
    clock: Clock,
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
    on_mesh = _by_phono3py if settings.collisions == "phono3py" else _by_kernel
    by_mesh = [on_mesh(primitive, second, third, mesh, settings, clock) for mesh in record.meshes]
    solutions = []
    for place, temperature in enumerate(settings.temperatures_k):
        tensors = [
            (symmetrised_tensor(primitive, rta), None if lbte is None else symmetrised_tensor(primitive, lbte))
            for rta, lbte in (found[place] for found in by_mesh)
        ]
        solutions.append(_combined(temperature, tensors, record.meshes))
    yield replace(record, solutions=tuple(solutions))


def _harmonic(crystal: Crystal, second: SecondOrder) -> Phonopy:
    phonopy = phonopy_with(crystal, second.choice.matrix)
    phonopy.force_constants = second.fc2
    return phonopy


def _by_kernel(
    primitive: PrimitiveCrystal,
    second: SecondOrder,
    third: ThirdOrder,
    mesh: Mesh,
    settings: KappaSettings,
    clock: Clock,
) -> list[Tensors]:
    assert settings.collisions != "phono3py"
    with clock.part("collisions"):
        phonopy = _harmonic(primitive.crystal, second)
        grid = phonon_grid(phonopy, mesh)
        terms = lattice_terms(third.fc3, third.known, third.primitive)
        scattering = three_phonon_scattering(ThreePhonon(terms, grid, third.primitive), settings.collisions)
        isotopes = None
        if settings.isotope_scattering:
            isotopes = isotope_rates_thz(grid, get_mass_variances(phonopy.primitive))
    with clock.part("solution"):
        solved = [
            solve(
                grid,
                scattering,
                temperature,
                whole=settings.level == "full",
                isotope_rates_thz=isotopes,
                boundary_length_um=settings.boundary_length_um,
            )
            for temperature in settings.temperatures_k
        ]
    return [(solution.kappa_rta_w_per_mk, solution.kappa_lbte_w_per_mk) for solution in solved]


def _by_phono3py(
    primitive: PrimitiveCrystal,
    second: SecondOrder,
    third: ThirdOrder,
    mesh: Mesh,
    settings: KappaSettings,
    clock: Clock,
) -> list[Tensors]:
    with clock.part("collisions"):
        return phono3py_conductivity(
            phono3py_of_orders(primitive, second, third),
            ForceConstants(second.fc2, third.fc3, third.known),
            mesh=mesh,
            temperatures_k=settings.temperatures_k,
            whole=settings.level == "full",
            isotope_scattering=settings.isotope_scattering,
            boundary_length_um=settings.boundary_length_um,
        )


def _combined(temperature_k: float, tensors: list[Tensors], meshes: tuple[Mesh, ...]) -> KappaAt:
    """Extrapolate where there are two meshes."""
    (rta, lbte), error = tensors[-1], None
    if len(meshes) == 2:
        (coarse_rta, coarse_lbte), reached = tensors[0], rta if lbte is None else lbte
        rta = extrapolated((coarse_rta, rta), meshes)
        if lbte is not None and coarse_lbte is not None:
            lbte = extrapolated((coarse_lbte, lbte), meshes)
        better = rta if lbte is None else lbte
        error = MESH_ERROR * abs(largest_eigenvalue(better) - largest_eigenvalue(reached))
    return KappaAt(
        temperature_k=temperature_k,
        kappa_rta_w_per_mk=rta,
        kappa_lbte_w_per_mk=lbte,
        mesh_error_w_per_mk=error,
        by_mesh=tuple(
            (largest_eigenvalue(one), None if two is None else largest_eigenvalue(two)) for one, two in tensors
        ),
    )

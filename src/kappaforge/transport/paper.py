"""κ exactly as in the paper: one supercell, displacements within a cutoff, phono3py's relaxation-time approximation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from phonopy import Phonopy

from kappaforge.crystal import Crystal
from kappaforge.potentials.base import Potential
from kappaforge.transport.boltzmann import phono3py_conductivity
from kappaforge.transport.force_constants import (
    displace_atoms,
    force_constants,
    pair_supercells,
    phono3py_of,
    phonopy_with,
    set_forces,
    solve_second_order,
)
from kappaforge.transport.forces import supercell_forces
from kappaforge.transport.meshes import paper_mesh
from kappaforge.transport.primitive import PrimitiveCrystal, symmetrised_tensor
from kappaforge.transport.record import Clock, KappaAt, KappaRecord
from kappaforge.transport.settings import KappaSettings, PaperProtocol
from kappaforge.transport.stability import stability_steps


def displaced_phonopy(crystal: Crystal, protocol: PaperProtocol) -> Phonopy:
    """Set up phonopy with the single displacements that phono3py also starts from."""
    phonopy = phonopy_with(crystal, np.diag(protocol.supercell))
    displace_atoms(phonopy, protocol.displacement_ang)
    return phonopy


def paper_steps(
    record: KappaRecord, primitive: PrimitiveCrystal, potential: Potential, settings: KappaSettings, clock: Clock
) -> Iterator[KappaRecord]:
    """Yield what is known after each step (paper, "ETC protocol").

    The harmonic phonons come first: an unstable crystal is refused before the many displacements of the third order.
    """
    protocol = settings.paper
    mesh = paper_mesh(primitive, settings)
    with clock.part("displacements"):
        phonopy = displaced_phonopy(primitive.crystal, protocol)
        singles = phonopy.supercells_with_displacements or []
    record = replace(record, meshes=(mesh,), n_displacements=len(singles), n_supercell_atoms=(len(phonopy.supercell),))
    yield record
    with clock.part("forces"):
        single_forces = supercell_forces(potential, phonopy.supercell, singles, "single-atom")
    with clock.part("force_constants"):
        solve_second_order(phonopy, single_forces)
    record = replace(record, ways=("finite",))
    for known in stability_steps(record, phonopy, settings, clock):
        record = known
        yield record
    if settings.level == "harmonic":
        return
    with clock.part("displacements"):
        phono3py = phono3py_of(primitive.crystal, protocol)
        pairs = pair_supercells(phono3py)
    with clock.part("forces"):
        pair_forces = supercell_forces(potential, phono3py.supercell, pairs, "two-atom")
    with clock.part("force_constants"):
        set_forces(phono3py, single_forces, pair_forces)
        constants = force_constants(phono3py)
    with clock.part("collisions"):
        found = phono3py_conductivity(
            phono3py,
            constants,
            mesh=mesh,
            temperatures_k=settings.temperatures_k,
            isotope_scattering=settings.isotope_scattering,
            boundary_length_um=settings.boundary_length_um,
            negligible=protocol.fc3_negligible,
        )
    solutions = tuple(
        KappaAt(temperature_k=temperature, kappa_rta_w_per_mk=symmetrised_tensor(primitive, rta))
        for temperature, (rta, _) in zip(settings.temperatures_k, found, strict=True)
    )
    yield replace(
        record,
        n_displacements=record.n_displacements + len(pairs),
        n_supercell_atoms=(len(phonopy.supercell), len(phono3py.supercell)),
        ways=("finite", "finite"),
        solutions=solutions,
    )

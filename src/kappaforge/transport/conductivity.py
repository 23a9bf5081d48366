"""Lattice thermal conductivity of one crystal (paper, "ETC protocol")."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from kappaforge.crystal import Crystal
from kappaforge.potentials.base import Potential
from kappaforge.transport.boltzmann import rta_conductivity
from kappaforge.transport.failure import TransportError
from kappaforge.transport.force_constants import force_constants, pair_supercells, phono3py_of, set_forces
from kappaforge.transport.forces import supercell_forces
from kappaforge.transport.primitive import symmetrised_tensor
from kappaforge.transport.settings import KappaSettings
from kappaforge.transport.stability import HarmonicPhonons, StabilityRecord, harmonic_phonons, timed

LARGEST_KAPPA_W_PER_MK = 1e5
"""Thirty times isotopically pure diamond at room temperature. Chains or atoms that a short-ranged potential does not
connect give 1e30: without third-order force constants between them lifetimes are infinite."""


@dataclass(frozen=True, eq=False, kw_only=True)
class KappaRecord(StabilityRecord):
    """κ of one crystal, on top of its harmonic phonons; a crystal that is not ``ok`` has none.

    Parameters
    ----------
    temperature_k
        Temperature in K.
    kappa_rta_w_per_mk
        The tensor in the Cartesian frame of `crystal`, which is that of the crystal as given; shape (3, 3), W/(m·K).
    kappa_eigenvalues_w_per_mk
        Its eigenvalues, ascending, shape (3,).
    kappa_rta_max_w_per_mk
        The largest of them: κ along the best direction.
    """

    temperature_k: float
    kappa_rta_w_per_mk: np.ndarray | None = None
    kappa_eigenvalues_w_per_mk: np.ndarray | None = None
    kappa_rta_max_w_per_mk: float | None = None


def conductivity(crystal: Crystal, potential: Potential, settings: KappaSettings) -> KappaRecord:
    """Compute κ in the relaxation-time approximation, at the geometry as given.

    The harmonic phonons come first: an unstable crystal is refused before the many displacements of the third order.

    Parameters
    ----------
    crystal
        In any cell; κ is that of its standard primitive cell, in the frame of the cell given. It should be at the
        potential's minimum, within about 1e-4 eV/Å.
    potential
        Where the forces come from.
    settings
        Supercell, displacements, cutoff, mesh, temperature.

    Raises
    ------
    UnsupportedElementError
        When the potential does not know one of the elements.
    """
    harmonic, phonons = harmonic_phonons(crystal, potential, settings)
    known = {field.name: getattr(harmonic, field.name) for field in fields(harmonic)}
    record = KappaRecord(**known, temperature_k=settings.temperature_k)
    if phonons is None:
        return record
    try:
        record = _with_kappa(record, phonons, potential, settings)
    except TransportError as failure:
        record = replace(record, status=failure.status, reason=failure.reason)
    return replace(record, seconds=sum(record.seconds_by_part.values()))


def _with_kappa(
    record: KappaRecord, phonons: HarmonicPhonons, potential: Potential, settings: KappaSettings
) -> KappaRecord:
    assert record.mesh is not None, "a stable crystal has a mesh"
    seconds = record.seconds_by_part
    with timed(seconds, "displacements"):
        phono3py = phono3py_of(phonons.primitive.crystal, settings)
        pairs = pair_supercells(phono3py)
    with timed(seconds, "forces"):
        pair_forces = supercell_forces(potential, phono3py.supercell, pairs, "two-atom")
    with timed(seconds, "force_constants"):
        set_forces(phono3py, phonons.single_forces, pair_forces)
        constants = force_constants(phono3py)
    with timed(seconds, "collisions"):
        kappa = rta_conductivity(
            phono3py,
            constants,
            mesh=record.mesh,
            temperature_k=settings.temperature_k,
            isotope_scattering=settings.isotope_scattering,
            negligible=settings.fc3_negligible,
        )
    if not np.abs(kappa).max() < LARGEST_KAPPA_W_PER_MK:  # NaN too
        raise TransportError(
            "failed",
            f"κ of {np.abs(kappa).max():.1e} W/(m·K) means that phonons find nothing to scatter with: the potential "
            f"does not couple parts of the crystal, or the {record.mesh} mesh is too coarse",
        )
    kappa = symmetrised_tensor(phonons.primitive, kappa)
    eigenvalues = np.linalg.eigvalsh(kappa)
    return replace(
        record,
        n_displacements=record.n_displacements + len(pairs),
        kappa_rta_w_per_mk=kappa,
        kappa_eigenvalues_w_per_mk=eigenvalues,
        kappa_rta_max_w_per_mk=float(eigenvalues[-1]),
    )

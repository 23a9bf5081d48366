"""Harmonic phonons and what they say of a crystal's stability."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from phonopy import Phonopy

from kappaforge.crystal import Crystal
from kappaforge.potentials.base import Potential, require_elements
from kappaforge.transport.failure import TransportError
from kappaforge.transport.force_constants import displace_atoms, phonopy_with
from kappaforge.transport.forces import supercell_forces
from kappaforge.transport.primitive import PrimitiveCrystal, keeps_symmetry, mesh_numbers, primitive_crystal
from kappaforge.transport.settings import KappaSettings


@dataclass(frozen=True, eq=False)
class StabilityRecord:
    """The harmonic phonons of one crystal; what was not reached is None.

    Parameters
    ----------
    id
        The crystal's.
    status, reason
        ``ok``; ``unstable`` with the worst mode and its q; or ``failed``.
    crystal
        The crystal in its standard primitive cell, in the Cartesian frame it came in; where there is no space group,
        the one that came.
    potential, potential_digest
        Name and digest of the potential.
    supercell
        Repetitions of the primitive cell.
    n_displacements
        Displaced supercells, of one and of two atoms.
    n_supercell_atoms
        Atoms in each of them.
    space_group_number, symmetry_operations
        Of the primitive cell.
    mesh
        Numbers of the q mesh.
    min_frequency_thz, max_frequency_thz
        Of all modes on the mesh and at the q points the supercell holds exactly; imaginary ones count as negative.
    seconds, seconds_by_part
        Time in all and of each part: displacements, forces, force_constants, stability, collisions.
    """

    id: str
    status: str
    reason: str
    crystal: Crystal
    potential: str
    potential_digest: str
    supercell: tuple[int, int, int]
    n_displacements: int = 0
    n_supercell_atoms: int | None = None
    space_group_number: int | None = None
    symmetry_operations: int | None = None
    mesh: tuple[int, int, int] | None = None
    min_frequency_thz: float | None = None
    max_frequency_thz: float | None = None
    seconds: float = 0.0
    seconds_by_part: dict[str, float] = field(default_factory=dict)


class HarmonicPhonons(NamedTuple):
    """What the third order goes on from: the primitive crystal and the forces of its single displacements."""

    primitive: PrimitiveCrystal
    single_forces: np.ndarray
    """Shape (n_displacements, n_supercell_atoms, 3), eV/Å."""


def harmonic_stability(crystal: Crystal, potential: Potential, settings: KappaSettings) -> StabilityRecord:
    """Say whether a crystal at rest is stable against small displacements, from few displaced supercells.

    Stable means no imaginary mode at the q points that fit into the supercell, nor on the mesh κ is computed on.

    Raises
    ------
    UnsupportedElementError
        When the potential does not know one of the elements.
    """
    return harmonic_phonons(crystal, potential, settings)[0]


def harmonic_phonons(
    crystal: Crystal, potential: Potential, settings: KappaSettings
) -> tuple[StabilityRecord, HarmonicPhonons | None]:
    """Return the record of `harmonic_stability`, and of a stable crystal what the third order goes on from."""
    require_elements(potential, crystal.elements)
    seconds: dict[str, float] = {}
    record = StabilityRecord(
        crystal.id, "ok", "", crystal, potential.name, potential.digest, settings.supercell, seconds_by_part=seconds
    )
    phonons = None
    try:
        with timed(seconds, "displacements"):
            primitive = primitive_crystal(crystal, settings.symprec_ang)
            phonopy = displaced_phonopy(primitive.crystal, settings)
            displaced = phonopy.supercells_with_displacements or []
        mesh = _mesh(primitive, settings)
        record = replace(
            record,
            crystal=primitive.crystal,
            n_displacements=len(displaced),
            n_supercell_atoms=len(phonopy.supercell),
            space_group_number=primitive.space_group_number,
            symmetry_operations=len(primitive.rotations),
            mesh=mesh,
        )
        with timed(seconds, "forces"):
            forces = supercell_forces(potential, phonopy.supercell, displaced, "single-atom")
        with timed(seconds, "stability"):
            phonopy.forces = forces
            phonopy.produce_force_constants(calculate_full_force_constants=False, show_drift=False)
            phonopy.symmetrize_force_constants(level=3, show_drift=False)
            q_points, frequencies = _spectrum(phonopy, mesh, settings.supercell)
        record = replace(record, min_frequency_thz=float(frequencies.min()), max_frequency_thz=float(frequencies.max()))
        if reason := imaginary_mode(q_points, frequencies, settings):
            raise TransportError("unstable", reason)
        phonons = HarmonicPhonons(primitive, forces)
    except TransportError as failure:
        record = replace(record, status=failure.status, reason=failure.reason)
    return replace(record, seconds=sum(seconds.values())), phonons


def _mesh(primitive: PrimitiveCrystal, settings: KappaSettings) -> tuple[int, int, int]:
    if settings.mesh is None:
        return mesh_numbers(primitive, settings.mesh_length_ang)
    if not keeps_symmetry(primitive, settings.mesh):
        shown = "×".join(map(str, settings.mesh))
        raise TransportError(
            "failed",
            f"the {shown} mesh breaks the symmetry of space group {primitive.space_group_number}: "
            "give equal numbers, or a mesh length instead",
        )
    return settings.mesh


def displaced_phonopy(crystal: Crystal, settings: KappaSettings) -> Phonopy:
    """Set up phonopy with the single displacements that phono3py also starts from."""
    phonopy = phonopy_with(crystal, np.diag(settings.supercell))
    displace_atoms(phonopy, settings.displacement_ang)
    return phonopy


def _spectrum(
    phonopy: Phonopy, mesh: tuple[int, int, int], supercell: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return q points in fractional coordinates, (n, 3), Γ first, and their frequencies in THz, (n, n_bands)."""
    q_points, frequencies = [np.zeros((1, 3))], [phonopy.run_qpoints([[0, 0, 0]]).frequencies]
    for numbers in (supercell, mesh):
        # without mesh symmetry where the supercell's numbers may break it
        sampled = phonopy.run_mesh(list(numbers), is_mesh_symmetry=numbers == mesh, is_gamma_center=True)
        away = np.abs(sampled.qpoints).max(axis=1) > 1e-8
        q_points.append(sampled.qpoints[away])
        frequencies.append(sampled.frequencies[away])
    return np.concatenate(q_points), np.concatenate(frequencies)


def imaginary_mode(q_points: np.ndarray, frequencies_thz: np.ndarray, settings: KappaSettings) -> str:
    """Return the most imaginary mode in words; empty where all are real within the tolerances.

    Parameters
    ----------
    q_points
        Shape (n, 3), fractional; the first is Γ.
    frequencies_thz
        Shape (n, n_bands); imaginary ones negative. The three smallest at Γ are the acoustic ones.
    """
    allowed = np.full(frequencies_thz.shape, settings.imaginary_tolerance_thz)
    allowed[0, np.argsort(np.abs(frequencies_thz[0]), kind="stable")[:3]] = settings.acoustic_tolerance_thz
    imaginary = np.where(frequencies_thz < -allowed, frequencies_thz, 0.0)
    if not imaginary.any():
        return ""
    point, band = np.unravel_index(np.argmin(imaginary), imaginary.shape)
    inside = q_points[point] - np.ceil(q_points[point] - 0.5)  # each part above -1/2, up to 1/2
    where = ", ".join(f"{part:.3g}" for part in inside + 0.0)
    kind = "acoustic mode" if point == 0 and allowed[point, band] == settings.acoustic_tolerance_thz else "mode"
    return (
        f"imaginary {kind} {band + 1} of {-imaginary[point, band]:.3f}i THz at q = ({where}); "
        f"{np.count_nonzero(imaginary)} of {imaginary.size} modes are imaginary"
    )


@contextmanager
def timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    """Add the time spent inside to a part's."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[part] = seconds.get(part, 0.0) + time.perf_counter() - start

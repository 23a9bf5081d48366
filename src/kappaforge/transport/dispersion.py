"""Phonon dispersion along the standard path and density of states, from second-order force constants."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import ceil, isfinite

import numpy as np
from numpy.typing import ArrayLike
from phonopy.harmonic.dynmat_to_fc import get_commensurate_points
from phonopy.phonon.mesh import MeshGRGridFallbackWarning
from phonopy.phonon.spectrum import TetrahedronDOSAccumulator
from seekpath import get_path_orig_cell
from seekpath.hpkot import EdgeCaseWarning, SymmetryDetectionError

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.transport.failure import TransportError
from kappaforge.transport.force_constants import SYMPREC
from kappaforge.transport.orders import SecondOrder
from kappaforge.transport.settings import KappaSettings
from kappaforge.transport.stability import imaginary_mode

GREEK = {"GAMMA": "Γ", "DELTA": "Δ", "LAMBDA": "Λ", "SIGMA": "Σ"}
"""Letters of points that seekpath spells out."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ZonePath:
    """A path through the Brillouin zone along lines of high symmetry.

    Parameters
    ----------
    q_points
        Fractional coordinates in the reciprocal of the cell, shape (n, 3).
    distances_per_ang
        Length of the path up to each point, shape (n,), Å⁻¹ without 2π. Jumps have no length.
    segments
        The parts without a jump: rows from the first number up to but without the second, shape (n_segments, 2).
    labels
        Names of the special points, such as Γ, X or H1, in the order of the path. The ends of a jump have one each.
    label_rows
        The row of each, shape (n_labels,).
    """

    q_points: np.ndarray
    distances_per_ang: np.ndarray
    segments: np.ndarray
    labels: tuple[str, ...]
    label_rows: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class Dispersion(ZonePath):
    """Phonons along a path.

    Parameters
    ----------
    frequencies_thz
        Ascending at each point, imaginary ones negative; shape (n, n_bands).
    velocities_thz_ang
        Gradients of the frequencies in the Cartesian frame of the primitive cell, shape (n, n_bands, 3); 1 THz·Å is
        100 m/s. phonopy averages them over the operations that keep the point, so of degenerate modes they are the
        mean along the symmetric directions, and 0 for acoustic modes at Γ.
    """

    frequencies_thz: np.ndarray
    velocities_thz_ang: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class DensityOfStates:
    """How many modes of one primitive cell have which frequency.

    Parameters
    ----------
    frequencies_thz
        Middles of equal intervals, shape (n,).
    states_per_thz
        Modes per THz and primitive cell in each, shape (n,); times the width they sum up to three for each atom.
    mesh
        Numbers of the q mesh along its own directions, which need not be those of the primitive cell.
    q_points
        Its irreducible points, fractional, shape (n_irreducible, 3).
    mode_frequencies_thz
        The modes there, shape (n_irreducible, n_bands); imaginary ones negative.
    """

    frequencies_thz: np.ndarray
    states_per_thz: np.ndarray
    mesh: tuple[int, int, int]
    q_points: np.ndarray
    mode_frequencies_thz: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class LowestMode:
    """The lowest of many modes.

    Parameters
    ----------
    frequency_thz
        Negative for an imaginary one; about 0, at Γ, for a stable crystal.
    q_point
        Where, fractional, shape (3,).
    reason
        Why the crystal is unstable; empty where it is stable.
    """

    frequency_thz: float
    q_point: np.ndarray
    reason: str


def zone_path(crystal: Crystal, spacing_per_ang: float = 0.01) -> ZonePath:
    """Return the standard path of the crystal's type, in coordinates of the very cell it is given in.

    The convention is that of Hinuma et al., Comput. Mater. Sci. 128, 140 (10.1016/j.commatsci.2016.10.015), by their
    own program, which knows the transformation to the given cell. Of 399 crystals of all space groups, ASE put special
    points of 8 outside the Brillouin zone, M-carbon among them; pymatgen did so for 3, and its cell of 5 more could
    not be matched to the given one.

    Parameters
    ----------
    crystal
        In a primitive cell.
    spacing_per_ang
        Largest distance between neighbouring points, Å⁻¹ without 2π.

    Raises
    ------
    InputError
        For a spacing that is not positive and finite.
    TransportError
        Where spglib finds no space group.
    """
    if not (isfinite(spacing_per_ang) and spacing_per_ang > 0):
        raise InputError(f"path: expected a positive, finite spacing in Å⁻¹, got {spacing_per_ang!r}")
    given = (crystal.cell.tolist(), crystal.fractional.tolist(), crystal.numbers.tolist())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EdgeCaseWarning)  # between two types either path is right
            standard = get_path_orig_cell(given, with_time_reversal=True, recipe="hpkot", symprec=SYMPREC)
    except SymmetryDetectionError:
        reason = f"spglib finds no space group within {SYMPREC} Å: atoms may be too close"
        raise TransportError("failed", reason) from None
    coordinates = {name: np.asarray(point) for name, point in standard["point_coords"].items()}
    reciprocal = np.linalg.inv(crystal.cell).T
    rows: list[np.ndarray] = []
    distances: list[float] = []
    special: list[tuple[str, int]] = []
    starts: list[int] = []
    at, length = "", 0.0

    def go_to(point: np.ndarray, name: str = "") -> None:
        if name:
            special.append((name, len(rows)))
        rows.append(point)
        distances.append(length)

    for start, end in standard["path"]:
        if start != at:
            starts.append(len(rows))
            go_to(coordinates[start], start)
        step = coordinates[end] - coordinates[start]
        n_steps = max(1, ceil(np.linalg.norm(step @ reciprocal) / spacing_per_ang))
        for number in range(1, n_steps + 1):
            length += float(np.linalg.norm(step @ reciprocal)) / n_steps
            go_to(coordinates[start] + number / n_steps * step, end if number == n_steps else "")
        at = end
    return ZonePath(
        q_points=np.array(rows),
        distances_per_ang=np.array(distances),
        segments=np.column_stack([starts, [*starts[1:], len(rows)]]),
        labels=tuple(_in_greek(name) for name, _ in special),
        label_rows=np.array([row for _, row in special]),
    )


def _in_greek(name: str) -> str:
    """Return seekpath's name of a point as it is printed: GAMMA is Γ, SIGMA_0 Σ0."""
    letter, _, number = name.partition("_")
    return GREEK.get(letter, letter) + number


def dispersion(second: SecondOrder, spacing_per_ang: float = 0.01) -> Dispersion:
    """Return frequencies and group velocities along the standard path.

    Parameters
    ----------
    second
        Force constants; q points are fractional in the reciprocal of its primitive cell.
    spacing_per_ang
        Largest distance between neighbouring points, Å⁻¹ without 2π.

    Raises
    ------
    InputError, TransportError
        As `zone_path`.
    """
    path = zone_path(_crystal_of(second), spacing_per_ang)
    solved = second.phonopy.run_qpoints(path.q_points, with_group_velocities=True)
    return Dispersion(
        **vars(path), frequencies_thz=solved.frequencies, velocities_thz_ang=np.array(solved.group_velocities)
    )


def frequencies_at(second: SecondOrder, q_points: ArrayLike) -> np.ndarray:
    """Return the frequencies at any q points, such as those of another model's path.

    Parameters
    ----------
    q_points
        Fractional in the reciprocal of the primitive cell, shape (n, 3).

    Returns
    -------
    np.ndarray
        Shape (n, n_bands), THz, ascending at each point; imaginary ones negative.
    """
    return np.array(second.phonopy.run_qpoints(np.asarray(q_points, dtype=float)).frequencies)


def density_of_states(second: SecondOrder, mesh_length_ang: float = 60.0, n_frequencies: int = 400) -> DensityOfStates:
    """Return the density of states by the linear tetrahedron method.

    Each value is the number of states in an interval over its width, so that none is lost at an edge or a flat band.

    Parameters
    ----------
    mesh_length_ang
        The mesh has this times the length of each reciprocal vector (without 2π) points along it, rounded; where the
        symmetry forbids such a mesh, phonopy takes a generalized one of the conventional cell.
    n_frequencies
        How many intervals there are between the lowest frequency, or 0, and the highest; one more on either side is
        empty.

    Raises
    ------
    InputError
        For a length or a number that is not positive.
    """
    if not (isfinite(mesh_length_ang) and mesh_length_ang > 0):
        raise InputError(f"density of states: expected a positive, finite mesh length in Å, got {mesh_length_ang!r}")
    if n_frequencies < 1:
        raise InputError(f"density of states: expected at least one interval of frequencies, got {n_frequencies!r}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MeshGRGridFallbackWarning)  # the generalized grid is what is wanted
        mesh = second.phonopy.run_mesh(
            mesh_length_ang, is_time_reversal=True, is_mesh_symmetry=True, is_gamma_center=True
        )
    modes = np.array(mesh.frequencies)
    lowest = min(0.0, float(modes.min()))
    width = max(float(modes.max()) - lowest, 1e-3) / n_frequencies
    edges = lowest + width * np.arange(-1, n_frequencies + 2)
    counted = TetrahedronDOSAccumulator(
        modes,
        mesh.bz_grid,
        ir_grid_points=mesh.ir_grid_points,
        ir_grid_weights=mesh.weights,
        ir_grid_map=mesh.grid_mapping_table,
        sampling_points=edges.tolist(),
        lang="Rust",
    ).result.cumulative[0, :, 0]
    along_a, along_b, along_c = (int(number) for number in mesh.mesh_numbers)
    return DensityOfStates(
        frequencies_thz=(edges[:-1] + edges[1:]) / 2,
        states_per_thz=np.diff(counted) / width,
        mesh=(along_a, along_b, along_c),
        q_points=np.array(mesh.qpoints),
        mode_frequencies_thz=modes,
    )


def lowest_mode(
    second: SecondOrder, q_points: np.ndarray, frequencies_thz: np.ndarray, settings: KappaSettings
) -> LowestMode:
    """Find the lowest mode at Γ, at the q points that the supercell holds exactly, and at those given.

    Parameters
    ----------
    q_points, frequencies_thz
        Of a path or a mesh, shapes (n, 3) and (n, n_bands).
    settings
        How far modes may be imaginary.
    """
    held = np.concatenate([np.zeros((1, 3)), get_commensurate_points(second.choice.matrix.T)])
    away = [np.abs(points - np.rint(points)).max(axis=1) > 1e-8 for points in (held, q_points)]
    away[0][0] = True  # Γ once, and first
    everywhere = np.concatenate([held[away[0]], q_points[away[1]]])
    frequencies = np.concatenate([frequencies_at(second, held[away[0]]), frequencies_thz[away[1]]])
    point = int(np.argmin(frequencies.min(axis=1)))
    inside = everywhere[point] - np.ceil(everywhere[point] - 0.5 - 1e-9)  # each part above -1/2, up to 1/2
    return LowestMode(
        frequency_thz=float(frequencies[point].min()),
        q_point=inside + 0.0,
        reason=imaginary_mode(everywhere, frequencies, settings),
    )


def _crystal_of(second: SecondOrder) -> Crystal:
    return Crystal(second.primitive.cell, second.primitive.positions, second.primitive.numbers)

"""How fine the q meshes are, and what κ would be on an infinitely fine one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from kappaforge.transport.failure import TransportError
from kappaforge.transport.primitive import PrimitiveCrystal
from kappaforge.transport.record import Mesh
from kappaforge.transport.settings import KappaSettings

FINER = 1.5
"""How much finer the second mesh is, about: the numbers of both are odd."""

LEAST = 3
"""Numbers below leave out all waves along a direction. Two points of three are neighbours and, where a mirror turns one
into the other, have the same frequencies: much is on shell or off by chance (docs/method/kappa.md)."""

SMALL_CELL = 4
"""Atoms up to which the mesh is as dense as asked for."""


def paper_mesh(primitive: PrimitiveCrystal, settings: KappaSettings) -> Mesh:
    """Return the smallest mesh numbers mᵢ with mᵢ |aᵢ| > length (paper, "ETC protocol") that the symmetry allows.

    Where lattice vectors of different lengths are mixed by the symmetry, as in face-centred orthorhombic crystals, the
    three numbers are all the largest.
    """
    if settings.mesh is not None:
        return _checked(primitive, settings.mesh)
    lengths = np.linalg.norm(primitive.crystal.cell, axis=1)
    # a length that misses the next whole number by round-off only would split equal vectors
    return _allowed(primitive, np.floor(settings.paper.mesh_length_ang / lengths + 1e-9).astype(int) + 1)


def converged_meshes(primitive: PrimitiveCrystal, settings: KappaSettings) -> tuple[Mesh, ...]:
    """Return the meshes, coarse to fine, whose numbers follow the lengths of the reciprocal lattice vectors.

    Lengths of lattice vectors in their place, as in the paper, give skewed cells too few points. The numbers are odd:
    even ones put points on boundaries of the zone where bands of opposite velocities are degenerate, as everywhere on
    the top of lonsdaleite's, and κ falls short along that direction.
    """
    if settings.mesh is not None:
        return (_checked(primitive, settings.mesh),)
    # the time goes with the square of both, points and bands: denser meshes than this are for few crystals
    length_ang = settings.mesh_length_ang * min(1.0, SMALL_CELL / len(primitive.crystal)) ** (1 / 3)
    coarse = _allowed(primitive, _odd(length_ang * reciprocal_lengths(primitive)))
    if not settings.extrapolate:
        return (coarse,)
    return coarse, _mesh(np.maximum(_odd(FINER * np.array(coarse)), np.array(coarse) + 2))


def reciprocal_lengths(primitive: PrimitiveCrystal) -> np.ndarray:
    """Return the lengths of the reciprocal lattice vectors without 2π, Å⁻¹, shape (3,)."""
    lengths: np.ndarray = np.linalg.norm(np.linalg.inv(primitive.crystal.cell), axis=0)
    return lengths


def step_beyond(tensors: tuple[np.ndarray, np.ndarray], meshes: Sequence[Mesh]) -> np.ndarray:
    """Return how far κ still goes beyond the finer mesh, if it is linear in the distance of its points.

    Long waves are what a mesh leaves out, and those between Γ and the first points carry heat in proportion to that
    distance, as their lifetimes grow with the square of the wavelength.

    Parameters
    ----------
    tensors
        κ on the coarse and on the fine mesh, shape (3, 3).
    meshes
        Their numbers.
    """
    ratio = float(np.prod(meshes[1]) / np.prod(meshes[0])) ** (1 / 3)
    step: np.ndarray = (tensors[1] - tensors[0]) / (ratio - 1)
    return step


def extrapolated(tensors: tuple[np.ndarray, np.ndarray], meshes: Sequence[Mesh]) -> np.ndarray:
    """Return what κ goes to on an infinitely fine mesh, of what `step_beyond` takes.

    Long waves only add to κ. Where it falls from mesh to mesh the coarser one has it too high, for the few points that
    it has, and along such a direction the finer one is taken as it is.
    """
    step = step_beyond(tensors, meshes)
    rises, directions = np.linalg.eigh((step + step.T) / 2)
    return tensors[1] + (directions * np.maximum(rises, 0.0)) @ directions.T


def keeps_symmetry(primitive: PrimitiveCrystal, mesh: ArrayLike) -> bool:
    """Return whether every operation turns every q point of the mesh into another one."""
    numbers = np.asarray(mesh, dtype=float)
    # operation R takes q = (n₁/m₁, …) to Rᵀq, so mᵢ Rⱼᵢ / mⱼ must be whole
    turned = primitive.rotations.transpose(0, 2, 1) * numbers[:, None] / numbers
    return bool(np.abs(turned - np.rint(turned)).max() < 1e-9)


def _allowed(primitive: PrimitiveCrystal, numbers: np.ndarray) -> Mesh:
    return _mesh(numbers if keeps_symmetry(primitive, numbers) else np.full(3, numbers.max()))


def _checked(primitive: PrimitiveCrystal, mesh: Mesh) -> Mesh:
    if not keeps_symmetry(primitive, mesh):
        shown = "×".join(map(str, mesh))
        raise TransportError(
            "failed",
            f"the {shown} mesh breaks the symmetry of space group {primitive.space_group_number}: "
            "give equal numbers, or a mesh length instead",
        )
    return mesh


def _odd(numbers: np.ndarray) -> np.ndarray:
    """Return the nearest odd numbers; the smaller of two that are equally near."""
    # a number that misses half way by round-off only would split equal vectors
    halves: np.ndarray = np.ceil((numbers - 2) / 2 - 1e-9).astype(int)
    return np.maximum(2 * halves + 1, LEAST)


def _mesh(numbers: np.ndarray) -> Mesh:
    first, second, third = (int(number) for number in numbers)
    return first, second, third

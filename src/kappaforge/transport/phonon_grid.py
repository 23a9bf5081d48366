"""The phonons of a crystal on a grid of q points, and how its symmetry maps the points onto each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from phono3py.phonon3.triplets import get_triplets_at_q
from phonopy import Phonopy
from phonopy.phonon.degeneracy import get_degenerate_ids
from phonopy.phonon.grid import BZGrid, get_grid_points_by_rotations, get_ir_grid_points
from phonopy.physical_units import get_physical_units

LOWEST_THZ = 1e-4
"""Modes below it, the acoustic ones at Γ, neither scatter nor conduct."""

DEGENERATE_THZ = 1e-4
"""Modes of a point that are no farther apart are degenerate: which of their combinations are solved is chance."""


class Triplets(NamedTuple):
    """Pairs of points that make up a triplet with a given one.

    ==========  ======  ==========================================================
    field       shape   content
    ==========  ======  ==========================================================
    second      (n,)    q', an index of `PhononGrid.points`
    third       (n,)    q''
    weights     (n,)    how many pairs each stands for
    in_zone     (n, 3)  all three points as phonopy counts them in the first zone
    ==========  ======  ==========================================================
    """

    second: np.ndarray
    third: np.ndarray
    weights: np.ndarray
    in_zone: np.ndarray


@dataclass(frozen=True, eq=False)
class PhononGrid:
    """Phonons on the n points of a grid, of which the irreducible ones stand for all.

    Parameters
    ----------
    points
        Fractional coordinates, shape (n, 3).
    frequencies_thz
        Shape (n, n_bands); 0 where they are below `LOWEST_THZ`.
    eigenvectors
        Of the dynamical matrices as phonopy defines them, one column for each band; shape (n, n_bands, n_bands).
    velocities_thz_ang
        Gradients of the frequencies, shape (n, n_bands, 3).
    irreducible
        Indices of the irreducible points, shape (n_irreducible,).
    multiplicity
        How many points each of them stands for, shape (n_irreducible,).
    source, operation
        The irreducible point (its place in `irreducible`) that each point comes from, and by which of the `rotations`;
        shape (n,).
    rotations
        Cartesian, shape (n_operations, 3, 3); with time reversal.
    averages
        For each irreducible point the average over the rotations that keep it, shape (n_irreducible, 3, 3).
    means
        For each point the mean over degenerate bands, shape (n, n_bands, n_bands).
    steps_per_ang
        Rows: the vectors between neighbouring points, shape (3, 3), Å⁻¹ without 2π.
    volume_ang3
        Of the primitive cell.
    mesh
        Numbers of points along the grid's own directions.
    place_of_point
        Place of each point in an array of that shape, shape (n,).
    bz_grid
        phonopy's own object, which finds triplets.
    """

    points: np.ndarray
    frequencies_thz: np.ndarray
    eigenvectors: np.ndarray
    velocities_thz_ang: np.ndarray
    irreducible: np.ndarray
    multiplicity: np.ndarray
    source: np.ndarray
    operation: np.ndarray
    rotations: np.ndarray
    averages: np.ndarray
    means: np.ndarray
    steps_per_ang: np.ndarray
    volume_ang3: float
    mesh: tuple[int, int, int]
    place_of_point: np.ndarray
    bz_grid: BZGrid

    def triplets(self, point: int) -> Triplets:
        """Return the pairs q' and q'' with q + q' + q'' = G, up to symmetry and exchange."""
        in_zone, weights, _, _ = get_triplets_at_q(self.bz_grid.grg2bzg[point], self.bz_grid)
        _, second, third = self.bz_grid.bzg2grg[in_zone].T
        return Triplets(second, third, weights, in_zone)

    def quanta(self, temperature_k: float) -> np.ndarray:
        """Return ħω / kT of all modes, infinite for those that neither scatter nor conduct: shape (n, n_bands)."""
        units = get_physical_units()
        quanta = self.frequencies_thz * units.THzToEv / (units.KB * temperature_k)
        return np.where(self.frequencies_thz > 0, quanta, np.inf)

    def cells(self, vectors: np.ndarray) -> np.ndarray:
        """Return where lattice vectors, shape (n, 3), lie in an array of shape `mesh`, in which they repeat: (n, 3).

        A discrete Fourier transform of that array takes a lattice vector's phase to all points.
        """
        cells: np.ndarray = vectors @ self.bz_grid.Q % self.mesh
        return cells

    def neighbours(self, steps: np.ndarray) -> np.ndarray:
        """Return where steps of grid addresses, shape (n_steps, 3), lead to from each point: (n, n_steps), int32."""
        addresses = self.bz_grid.addresses[self.bz_grid.grg2bzg]
        reached = (addresses[:, None] + steps) % self.mesh
        point_of_place = np.argsort(self.place_of_point).astype(np.int32)
        return point_of_place[np.ravel_multi_index(tuple(np.moveaxis(reached, -1, 0)), self.mesh)]

    def expanded(self, vectors: np.ndarray) -> np.ndarray:
        """Return vectors of all points, (n, n_bands, 3), from those of the irreducible, (n_irreducible, n_bands, 3)."""
        return np.einsum("qab,qlb->qla", self.rotations[self.operation], vectors[self.source])

    def folded(self, vectors: np.ndarray) -> np.ndarray:
        """Return the transpose of `expanded` applied to vectors of all points."""
        turned = np.einsum("qba,qlb->qla", self.rotations[self.operation], vectors)
        sums = np.zeros((len(self.irreducible), *vectors.shape[1:]))
        np.add.at(sums, self.source, turned)
        return sums

    def averaged(self, vectors: np.ndarray) -> np.ndarray:
        """Return vectors of the irreducible points averaged over degenerate bands and the rotations that keep each.

        These rotations turn degenerate modes into each other: on a boundary of the zone where bands cross, the vectors
        of both are opposite, and neither is kept alone.
        """
        return np.einsum("qab,qml,qlb->qma", self.averages, self.means[self.irreducible], vectors, optimize=True)


def phonon_grid(phonopy: Phonopy, mesh: tuple[int, int, int]) -> PhononGrid:
    """Solve the dynamical matrices on a Γ-centred grid.

    Velocities are solved at the irreducible points and turned to the others, so that they obey the crystal's symmetry
    in degenerate modes too.

    Parameters
    ----------
    phonopy
        With force constants.
    mesh
        Numbers of points along the primitive cell's reciprocal vectors; they must keep its symmetry.
    """
    grid = BZGrid(
        list(mesh),
        lattice=phonopy.primitive.cell,
        symmetry_dataset=phonopy.primitive_symmetry.dataset,
        is_time_reversal=True,
        use_grg=False,
        store_dense_gp_map=True,
        lang="Rust",
    )
    addresses = grid.addresses[grid.grg2bzg]
    points = addresses @ grid.QDinv.T
    first, second, third = (int(number) for number in grid.D_diag)
    numbers = (first, second, third)
    irreducible, multiplicity, _ = get_ir_grid_points(grid)
    turned = [grid.bzg2grg[get_grid_points_by_rotations(grid.grg2bzg[point], grid)] for point in irreducible]
    source = np.zeros(len(points), dtype=np.int64)
    operation = np.zeros(len(points), dtype=np.int64)
    for place in range(len(irreducible)):
        source[turned[place]] = place
        operation[turned[place]] = np.arange(len(grid.rotations_cartesian))
    averages = [
        grid.rotations_cartesian[to == point].mean(axis=0) for point, to in zip(irreducible, turned, strict=True)
    ]
    solved = phonopy.run_qpoints(points, with_eigenvectors=True)
    frequencies = np.where(solved.frequencies > LOWEST_THZ, solved.frequencies, 0.0)
    at_irreducible = np.array(phonopy.run_qpoints(points[irreducible], with_group_velocities=True).group_velocities)
    velocities = np.einsum("qab,qlb->qla", grid.rotations_cartesian[operation], at_irreducible[source])
    sets = get_degenerate_ids(frequencies, cutoff=DEGENERATE_THZ)
    same = sets[:, :, None] == sets[:, None, :]
    return PhononGrid(
        points=points,
        frequencies_thz=frequencies,
        eigenvectors=np.array(solved.eigenvectors),
        velocities_thz_ang=velocities,
        irreducible=irreducible,
        multiplicity=multiplicity,
        source=source,
        operation=operation,
        rotations=grid.rotations_cartesian,
        averages=np.array(averages),
        means=same / same.sum(axis=2, keepdims=True),
        steps_per_ang=grid.microzone_lattice.T,
        volume_ang3=float(phonopy.primitive.volume),
        mesh=numbers,
        place_of_point=np.ravel_multi_index(tuple((addresses % numbers).T), numbers),
        bz_grid=grid,
    )

"""Three-phonon interaction strengths by Fourier transforms.

phono3py transforms the third-order force constants anew for every triplet of q points. With q + q' + q'' a reciprocal
lattice vector, the two lattice sums share one phase,

    Φ(q, q') = Σ_S exp(2πi q'·S) Σ_R'' exp(-2πi q·R'') Φ(0, R'' + S, R''),

so that for a fixed q the inner sum is done once, and the outer one is one fast Fourier transform for all q'. The
strengths are those of Phys. Rev. B 91, 094306 (eq. 10, 11; 10.1103/PhysRevB.91.094306).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
from phonopy.structure.atoms import PhonopyAtoms
from phonopy.structure.cells import Primitive
from scipy.sparse import csr_matrix

from kappaforge.transport.phonon_grid import PhononGrid, Triplets

Precision = Literal["single", "double"]
TYPES = {"single": (torch.float32, torch.complex64), "double": (torch.float64, torch.complex128)}

CHUNK_BYTES = 2**27
"""Largest intermediate array, about; longer ones are cut."""


class LatticeTerms(NamedTuple):
    """Third-order force constants by lattice vectors, one row for each different pair of them and three atoms.

    =========  ==============  ====================================================================================
    field      shape           content
    =========  ==============  ====================================================================================
    tensors    (n, 27)         Φ of atoms i in the home cell, j in cell R', k in cell R'', eV/Å³
    seconds    (n, 3)          R'', lattice vectors of the primitive cell
    slots      (n,)            row of (S, i, j, k) among all, S = R' - R'' counting as in `shifts`
    shifts     (n_shifts, 3)   the different S
    =========  ==============  ====================================================================================
    """

    tensors: np.ndarray
    seconds: np.ndarray
    slots: np.ndarray
    shifts: np.ndarray


def lattice_terms(fc3: np.ndarray, used: np.ndarray, primitive: Primitive) -> LatticeTerms:
    """Sort third-order force constants by lattice vectors.

    An atom of the supercell that is equally far from the first in several images is shared out among them. Which images
    these are depends on the atom that one looks from, so the three views are averaged, as phono3py does with
    ``make_r0_average``.

    Parameters
    ----------
    fc3
        Shape (n_primitive, n_supercell, n_supercell, 3, 3, 3), eV/Å³.
    used
        Which triplets of atoms count, shape (n_primitive, n_supercell, n_supercell).
    primitive
        With the shortest vectors to all atoms of the supercell.
    """
    n_atoms = len(primitive)
    image_atom, image_cell, image_share, starts = _images(primitive)
    rows = []
    for first in range(n_atoms):
        second, third = np.nonzero(used[first])
        at, to = starts[first, second], starts[first, third]
        n_second, n_third = starts[first, second + 1] - at, starts[first, third + 1] - to
        counts = n_second * n_third
        triplet = np.repeat(np.arange(len(second)), counts)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        images = at[triplet] + within // n_third[triplet], to[triplet] + within % n_third[triplet]
        tensors = fc3[first, second, third].reshape(-1, 27)[triplet]
        tensors = tensors * (image_share[images[0]] * image_share[images[1]] / 3)[:, None]
        cells = image_cell[images[0]], image_cell[images[1]]
        atoms = np.full(len(triplet), first), image_atom[images[0]], image_atom[images[1]]
        rows.append((atoms, cells, tensors))
    home, near, far = (np.concatenate([row[0][place] for row in rows]) for place in range(3))
    to_near, to_far = (np.concatenate([row[1][place] for row in rows]) for place in range(2))
    tensors = np.concatenate([row[2] for row in rows])
    cube = tensors.reshape(-1, 3, 3, 3)
    views = (
        # atoms i, j, k; S = R' - R''; R''; and Φ in that order of its atoms
        ((home, near, far), to_near - to_far, to_far, tensors),
        ((near, home, far), -to_far, to_far - to_near, cube.transpose(0, 2, 1, 3).reshape(-1, 27)),
        ((far, near, home), to_near, -to_far, cube.transpose(0, 3, 2, 1).reshape(-1, 27)),
    )
    sites = np.concatenate([np.stack(view[0], axis=1) for view in views])
    shifts, of_shift = _different(np.concatenate([view[1] for view in views]))
    seconds, of_second = _different(np.concatenate([view[2] for view in views]))
    slots = of_shift * n_atoms**3 + sites @ np.array([n_atoms**2, n_atoms, 1])
    keys, of_key = np.unique(slots * len(seconds) + of_second, return_inverse=True)
    every = np.concatenate([view[3] for view in views])
    summed = csr_matrix((np.ones(len(every)), (of_key, np.arange(len(every)))), shape=(len(keys), len(every))) @ every
    return LatticeTerms(summed, seconds[keys % len(seconds)], keys // len(seconds), shifts)


def _different(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the different rows of whole numbers, shape (n, 3), and which of them each row is."""
    low = vectors.min(axis=0)
    shape = vectors.max(axis=0) - low + 1
    places, of_row = np.unique(np.ravel_multi_index(tuple((vectors - low).T), shape), return_inverse=True)
    return np.stack(np.unravel_index(places, shape), axis=1) + low, of_row


def _images(primitive: Primitive) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """List the nearest images of the supercell's atoms around each atom of the primitive cell.

    Returns their atoms in the primitive cell, lattice vectors and shares, and where those of each pair start, shape
    (n_primitive, n_supercell + 1).
    """
    vectors, multiplicity = primitive.get_smallest_vectors()
    positions = primitive.scaled_positions
    of_supercell = np.array([primitive.p2p_map[atom] for atom in primitive.s2p_map])
    atoms: list[np.ndarray] = []
    cells, shares = [], []
    n_images = 0
    starts = np.zeros((len(primitive), len(of_supercell) + 1), dtype=np.int64)
    for first in range(len(primitive)):
        counts, addresses = multiplicity[:, first, 0], multiplicity[:, first, 1]
        starts[first] = n_images + np.concatenate([[0], np.cumsum(counts)])
        n_images += int(counts.sum())
        atom = np.repeat(of_supercell, counts)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        reached = vectors[np.repeat(addresses, counts) + within] - (positions[atom] - positions[first])
        atoms.append(atom)
        cells.append(np.rint(reached).astype(np.int64))
        shares.append(np.repeat(1 / counts, counts))
    return np.concatenate(atoms), np.concatenate(cells), np.concatenate(shares), starts


class ThreePhonon:
    """Interaction strengths |Φ|² of one crystal on one grid.

    Parameters
    ----------
    terms
        The force constants.
    grid
        The phonons.
    primitive
        The cell of the force constants, with its atoms' positions and masses; phonopy may have put an atom into another
        cell for the second order, which does not matter to the phonons.
    device
        Where torch computes.
    precision
        Of the sums: "single" takes three quarters of the time of "double".
    """

    def __init__(
        self,
        terms: LatticeTerms,
        grid: PhononGrid,
        primitive: PhonopyAtoms,
        device: str = "cpu",
        precision: Precision = "single",
    ) -> None:
        self.device = torch.device(device)
        self.real, self.complex = TYPES[precision]
        self.grid, self.primitive = grid, primitive
        self.n_atoms = len(primitive)
        # phonopy's eigenvectors carry the phase of the lattice vector alone, which at its atoms is exp(2πi q·x) of ours
        phases = np.repeat(np.exp(2j * np.pi * grid.points @ primitive.scaled_positions.T), 3, axis=1)
        legs = grid.eigenvectors * (phases / np.sqrt(np.repeat(primitive.masses, 3)))[:, :, None]
        self.legs = torch.from_numpy(legs).to(self.device, self.complex)
        self.seconds, of_second = _different(terms.seconds)
        # S along each axis of the grid, where it only counts up to the number of points
        self.box, waves = [], []
        cell = np.zeros(len(terms.shifts), dtype=np.int64)
        for number, along in zip(grid.mesh, grid.cells(terms.shifts).T, strict=True):
            values, of_value = np.unique(along, return_inverse=True)
            self.box.append(len(values))
            waves.append(np.exp(2j * np.pi * np.outer(np.arange(number), values) / number))
            cell = cell * len(values) + of_value
        self.waves = [torch.from_numpy(each).to(self.device, self.complex) for each in waves]
        # rows (atom i and its axis, S, atom j and axis, atom k and axis), one column for each R''
        shift, *atoms = np.unravel_index(terms.slots, (len(terms.shifts), *(self.n_atoms,) * 3))
        axes = np.unravel_index(np.arange(27), (3, 3, 3))
        first, second, third = (3 * atom[:, None] + axis for atom, axis in zip(atoms, axes, strict=True))
        size, n_cells = 3 * self.n_atoms, int(np.prod(self.box))
        rows = ((first * n_cells + cell[shift][:, None]) * size + second) * size + third
        shape = (size**3 * n_cells, len(self.seconds))
        columns = np.repeat(of_second, 27)
        matrix = csr_matrix((terms.tensors.ravel(), (rows.ravel(), columns)), shape=shape)
        matrix.eliminate_zeros()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that sparse tensors are in beta
            self.matrix = torch.sparse_csr_tensor(
                torch.from_numpy(matrix.indptr),
                torch.from_numpy(matrix.indices),
                torch.from_numpy(matrix.data),
                size=shape,
                device=self.device,
                dtype=self.real,
            )

    def each(self) -> Iterator[tuple[int, Triplets, torch.Tensor]]:
        """Go through the irreducible points.

        Yields
        ------
        point, triplets, strengths
            Its index, the pairs with it, and |Φ|² over the masses, not yet over the frequencies, for one band of each
            of the three points: shape (n_triplets, n_bands, n_bands, n_bands), eV² / (Å⁶ u³).
        """
        for point in self.grid.irreducible:
            triplets = self.grid.triplets(point)
            yield point, triplets, self._strengths(point, triplets)

    def _inner(self, q: np.ndarray) -> torch.Tensor:
        """Sum over R'' for one q: shape (3 n_atoms, n_cells (3 n_atoms)²), the atom in the home cell first."""
        phases = np.exp(-2j * np.pi * self.seconds @ q)
        both = torch.from_numpy(np.stack([phases.real, phases.imag], axis=1)).to(self.device, self.real)
        return torch.view_as_complex(self.matrix @ both).reshape(3 * self.n_atoms, -1)

    def _strengths(self, point: int, triplets: Triplets) -> torch.Tensor:
        size, n_points = 3 * self.n_atoms, len(self.grid.points)
        at = torch.from_numpy(self.grid.place_of_point[triplets.second]).to(self.device)
        one, two = self.legs[triplets.second].transpose(1, 2), self.legs[triplets.third]
        inner = self._inner(self.grid.points[point])
        parts = []
        step = max(1, CHUNK_BYTES // (16 * n_points * size**2))
        for start in range(0, size, step):
            leg = self.legs[point][:, start : start + step]
            bands = leg.shape[1]
            outer = leg.T @ inner
            # the Fourier transform axis by axis, as products: faster than FFTs of so few points and so many columns
            before = bands
            for wave in self.waves:
                outer = wave @ outer.reshape(before, wave.shape[1], -1)
                before *= len(wave)
            outer = outer.reshape(bands, n_points, size**2).transpose(0, 1)[at]
            outer = outer.reshape(len(at), bands * size, size) @ two
            outer = one[:, None] @ outer.reshape(len(at), bands, size, size)
            parts.append(outer.real.square() + outer.imag.square())
        return torch.cat(parts, dim=1)

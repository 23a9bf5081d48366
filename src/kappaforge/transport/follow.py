"""Imaginary modes that fit into small supercells, and the crystals they lead to."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import gcd

import numpy as np
from ase.geometry import minkowski_reduce

from kappaforge.crystal import Crystal

MOST_CELLS = 4
"""Primitive cells in the supercell of a mode that can be followed, at most."""

AMPLITUDE_ANG = 0.1
"""How far the most displaced atom goes: out of reach of the tolerance with which relaxations recognise symmetry."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ImaginaryMode:
    """A mode along which the energy of a crystal falls.

    Parameters
    ----------
    q
        Fractional, shape (3,); `n_cells` times each part is whole.
    n_cells
        Primitive cells in the smallest supercell that the mode fits into.
    band
        Which of the modes at q, from 0 up.
    frequency_thz
        Negative, as it is imaginary.
    eigenvector
        Complex and of length 1, shape (n_atoms, 3): an atom at x moves by Re[e exp(2πi q·x)] over the
        root of its mass. Of modes of the same frequency one fixed combination; the phase is fixed too.
    """

    q: np.ndarray
    n_cells: int
    band: int
    frequency_thz: float
    eigenvector: np.ndarray

    @property
    def words(self) -> str:
        """Such as ``mode 1 of 5.300i THz at q = (0.5, 0.5, 0.5)``."""
        return mode_in_words(self.band, self.frequency_thz, self.q)


def mode_in_words(band: int, frequency_thz: float, q: np.ndarray) -> str:
    """Name an imaginary mode, of `band` from 0 up, with the q that lies within the cell around Γ."""
    inside = q - np.ceil(q - 0.5)  # each part above -1/2, up to 1/2
    where = ", ".join(f"{part:.3g}" for part in inside + 0.0)
    return f"mode {band + 1} of {-frequency_thz:.3f}i THz at q = ({where})"


def small_waves(most_cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the q points that fit into supercells of few primitive cells, Γ first, one of each ± pair.

    The smallest supercell for q = k / n, with whole k and no divisor common to all of k and n, has n cells.

    Returns
    -------
    numerators, n_cells
        Whole k, shape (n_points, 3), and n of each, shape (n_points,).
    """
    waves = [
        (wave, n_cells)
        for n_cells in range(1, most_cells + 1)
        for wave in product(range(n_cells), repeat=3)
        if gcd(*wave, n_cells) == 1 and wave <= tuple(-part % n_cells for part in wave)
    ]
    numerators, n_cells = zip(*waves, strict=True)
    return np.array(numerators), np.array(n_cells)


def one_of_degenerate(eigenvectors: np.ndarray, q: np.ndarray, cell: np.ndarray, fractional: np.ndarray) -> np.ndarray:
    """Combine modes of the same frequency, whatever basis and phases the solver gave them.

    The modes are those parts that a fixed pattern has in them. It is attached to the lattice vectors, so that it turns
    with the crystal, and has no symmetry, so that the crystal is free to go wherever the modes lead.

    Parameters
    ----------
    eigenvectors
        As columns, shape (3 n_atoms, n_modes), with phases as in `ImaginaryMode`.
    q
        Fractional, shape (3,).
    cell, fractional
        The primitive cell in Å and the places of its atoms.

    Returns
    -------
    ndarray
        Shape (n_atoms, 3), of length 1.
    """
    golden = (1 + 5**0.5) / 2
    along_vectors = (golden * np.arange(1, 3 * len(fractional) + 1) % 1 - 0.5).reshape(-1, 3)
    pattern = along_vectors @ (cell / np.linalg.norm(cell, axis=1)[:, None])
    # displacements of one cell, without the phases of positions, are real at q = -q
    phases = np.repeat(np.exp(2j * np.pi * fractional @ q), 3)
    moves = phases[:, None] * eigenvectors
    combined = (moves @ (moves.conj().T @ pattern.ravel())) / phases
    return (combined / np.linalg.norm(combined)).reshape(-1, 3)


def displaced_along(crystal: Crystal, mode: ImaginaryMode, amplitude_ang: float = AMPLITUDE_ANG) -> Crystal:
    """Displace a crystal along a mode, in the smallest supercell that the mode fits into.

    Parameters
    ----------
    crystal
        In the primitive cell that the mode was found in.
    mode
        The mode.
    amplitude_ang
        Displacement of the atom that moves most, in Å.
    """
    matrix = _supercell_matrix(np.rint(mode.q * mode.n_cells).astype(int), mode.n_cells, crystal.cell)
    fractional = (crystal.fractional + _translations(matrix)[:, None]).reshape(-1, 3)
    masses = np.tile(crystal.to_ase().get_masses(), mode.n_cells)
    phases = np.exp(2j * np.pi * fractional @ mode.q)
    moves = (np.tile(mode.eigenvector, (mode.n_cells, 1)) * phases[:, None]).real / np.sqrt(masses)[:, None]
    moves *= amplitude_ang / np.linalg.norm(moves, axis=1).max()
    return crystal.moved_to(
        matrix @ crystal.cell, fractional @ crystal.cell + moves, np.tile(crystal.numbers, mode.n_cells)
    )


def _supercell_matrix(numerators: np.ndarray, n_cells: int, cell: np.ndarray) -> np.ndarray:
    """Return whole rows of the lattice of all vectors R with q·R whole, Minkowski-reduced, shape (3, 3)."""
    rows = []
    for axis in range(3):  # Hermite normal form: zeros to the left, the smallest number on the diagonal
        choices = product(*[(0,)] * axis, range(1, n_cells + 1), *[range(n_cells)] * (2 - axis))
        rows.append(next(row for row in choices if np.dot(numerators, row) % n_cells == 0))
    matrix = np.array(rows)
    _, change = minkowski_reduce(matrix @ cell)
    reduced: np.ndarray = np.rint(change @ matrix).astype(int)
    return reduced


def _translations(matrix: np.ndarray) -> np.ndarray:
    """Return one lattice vector of the primitive cell for each that the supercell holds, shape (n_cells, 3)."""
    n_cells = round(abs(np.linalg.det(matrix)))
    vectors = np.array(list(product(range(n_cells), repeat=3)))
    places = np.rint(vectors @ np.linalg.inv(matrix) * n_cells).astype(int) % n_cells
    _, first = np.unique(places, axis=0, return_index=True)
    return vectors[np.sort(first)]

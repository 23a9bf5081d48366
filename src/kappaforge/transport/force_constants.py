"""Second- and third-order force constants from displaced supercells and their forces."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from phono3py import Phono3py
from phono3py.phonon3.fc3 import get_fc3, set_permutation_symmetry_compact_fc3
from phonopy import Phonopy
from phonopy.harmonic.force_constants import symmetrize_compact_force_constants
from phonopy.structure.atoms import PhonopyAtoms
from phonopy.structure.cells import Primitive

from kappaforge.crystal import Crystal
from kappaforge.transport.settings import PaperProtocol

SYMPREC = 1e-5
"""What phonopy and phono3py find symmetry with, for cells that obey theirs exactly. phono3py also tells displacements
apart by it, as fractions of the supercell (0.03 Å of 26 Å is 1e-3), so a loose one spoils the force constants."""

SUM_RULE_ROUNDS = 30
SUM_RULE_TOLERANCE = 1e-5
"""Of the acoustic sums, relative to the largest third-order force constant."""


class ForceConstants(NamedTuple):
    """Force constants of a crystal; the first atom lies in the primitive cell, the others in the supercell.

    ==========  =============================================  ==========================
    field       shape                                          content
    ==========  =============================================  ==========================
    fc2         (n_primitive, n_supercell, 3, 3)               eV/Å²
    fc3         (n_primitive, n_supercell, n_supercell, 3, 3, 3)  eV/Å³
    known       (n_primitive, n_supercell, n_supercell)        triplets within the cutoff
    ==========  =============================================  ==========================
    """

    fc2: np.ndarray
    fc3: np.ndarray
    known: np.ndarray


def phonopy_atoms(crystal: Crystal) -> PhonopyAtoms:
    """Return the crystal as phonopy takes it."""
    return PhonopyAtoms(numbers=crystal.numbers, cell=crystal.cell, positions=crystal.positions)


def phonopy_with(crystal: Crystal, matrix: np.ndarray) -> Phonopy:
    """Set up phonopy with the crystal's own cell as the primitive one.

    Parameters
    ----------
    crystal
        In a primitive cell.
    matrix
        Integers that make the rows of the supercell's lattice vectors from those of the cell, shape (3, 3).
    """
    return Phonopy(
        phonopy_atoms(crystal),
        supercell_matrix=matrix.T,
        primitive_matrix="P",
        symprec=SYMPREC,
        is_symmetry=True,
        hermitianize_dynamical_matrix=True,
        calculator=None,
        log_level=0,
        lang="Rust",
    )


def displace_atoms(phonopy: Phonopy, displacement_ang: float) -> None:
    """Make the displacements of one atom, with which phono3py starts too."""
    phonopy.generate_displacements(distance=displacement_ang, is_plusminus="auto", is_diagonal=False, is_trigonal=False)


def solve_second_order(phonopy: Phonopy, forces_ev_per_ang: np.ndarray) -> np.ndarray:
    """Make force constants of the finite displacements that phonopy has, and leave them there too.

    Permutation symmetry and the acoustic sum rules are imposed.

    Parameters
    ----------
    forces_ev_per_ang
        In the displaced supercells, shape (n_displaced, n_supercell, 3), eV/Å.

    Returns
    -------
    ndarray
        A copy, shape (n_primitive, n_supercell, 3, 3), eV/Å².
    """
    phonopy.forces = forces_ev_per_ang
    phonopy.produce_force_constants(calculate_full_force_constants=False, show_drift=False)
    phonopy.symmetrize_force_constants(level=3, show_drift=False)
    assert phonopy.force_constants is not None, "they were just made"
    return phonopy.force_constants.copy()


def phono3py_of(crystal: Crystal, protocol: PaperProtocol) -> Phono3py:
    """Set up phono3py with the crystal's own cell as the primitive one, and its pairs of displacements."""
    phono3py = phono3py_with(crystal, np.diag(protocol.supercell))
    displace_pairs(phono3py, protocol.displacement_ang, protocol.fc3_cutoff_ang or None)
    return phono3py


def phono3py_with(crystal: Crystal, matrix: np.ndarray, second_order_matrix: np.ndarray | None = None) -> Phono3py:
    """Set up phono3py with the crystal's own cell as the primitive one.

    Parameters
    ----------
    crystal
        In a primitive cell.
    matrix
        Integers that make the rows of the supercell's lattice vectors from those of the cell, shape (3, 3).
    second_order_matrix
        The same for the supercell of second-order force constants, where it is another.
    """
    return Phono3py(
        phonopy_atoms(crystal),
        supercell_matrix=matrix.T,
        primitive_matrix="P",
        phonon_supercell_matrix=None if second_order_matrix is None else second_order_matrix.T,
        cutoff_frequency=1e-4,
        is_symmetry=True,
        is_mesh_symmetry=True,
        use_grg=False,
        make_r0_average=True,
        symprec=SYMPREC,
        calculator=None,
        log_level=0,
        lang="Rust",
    )


def displace_pairs(phono3py: Phono3py, displacement_ang: float, cutoff_ang: float | None) -> None:
    """Make the displacements of one atom and of two that are closer than the cutoff."""
    phono3py.generate_displacements(
        distance=displacement_ang,
        cutoff_pair_distance=cutoff_ang,
        is_plusminus="auto",
        is_diagonal=True,
    )


def pair_supercells(phono3py: Phono3py) -> list[PhonopyAtoms]:
    """Return the supercells with two displacements that are within the cutoff, in the order of the dataset."""
    singles = len(phono3py.dataset["first_atoms"])
    return [cell for cell in phono3py.supercells_with_displacements[singles:] if cell is not None]


def set_forces(phono3py: Phono3py, single_forces: np.ndarray, pair_forces: np.ndarray) -> None:
    """Put the forces of the single displacements and of the pairs within the cutoff into phono3py's dataset."""
    singles = phono3py.dataset["first_atoms"]
    pairs = (pair for single in singles for pair in single["second_atoms"] if pair.get("included", True))
    for entry, forces in zip(singles, single_forces, strict=True):
        entry["forces"] = forces
    for entry, forces in zip(pairs, pair_forces, strict=True):
        entry["forces"] = forces


def force_constants(phono3py: Phono3py) -> ForceConstants:
    """Solve for the force constants and impose permutation symmetry and the acoustic sum rules.

    Before the sum rules the result is that of phono3py's own solver to round-off, also with a cutoff between displaced
    atoms. That solver treats a cutoff by expanding fc3 to the whole supercell and averaging triplets in Python loops:
    5 s for 54 atoms and 35 s for 108, where `average_over_known` brings both below 1 s. The corrections of the sum
    rules stay within the cutoff, where phono3py spreads them over all triplets; that keeps fc3 sparse.

    Parameters
    ----------
    phono3py
        With displacements and forces in its dataset; those of pairs beyond the cutoff need none.
    """
    primitive = phono3py.primitive
    fc2, fc3 = get_fc3(
        phono3py.supercell,
        primitive,
        _with_placeholders(phono3py.dataset),
        phono3py.symmetry,
        is_compact_fc=True,
        pinv_solver="numpy",
        lang="Rust",
    )
    symmetrize_compact_force_constants(fc2, primitive, level=3, lang="Rust")
    near = _near_pairs(phono3py)
    n_near = near_pairs_of_triplets(primitive, near)
    average_over_known(fc3, primitive, near, n_near)
    impose_sum_rules(fc3, primitive, n_near > 0)
    return ForceConstants(fc2, fc3, n_near > 0)


def _with_placeholders(dataset: dict[str, Any]) -> dict[str, Any]:
    """Return the dataset as if without a cutoff: each atom beyond it gets one displacement, which changes no force.

    phono3py's solver needs every atom once; what it makes of these is not used.
    """
    singles = []
    for single in dataset["first_atoms"]:
        pairs, seen = [], set()
        for pair in single["second_atoms"]:
            if pair.get("included", True):
                pairs.append(pair)
            elif pair["number"] not in seen:
                seen.add(pair["number"])
                pairs.append({**pair, "forces": single["forces"]})
        singles.append({**single, "second_atoms": pairs})
    return {"natom": dataset["natom"], "first_atoms": singles}


def _near_pairs(phono3py: Phono3py) -> np.ndarray:
    """Return which atoms were displaced together with each atom of the primitive cell, (n_primitive, n_supercell)."""
    distances_ang = pair_distances(phono3py.primitive)
    cutoff = phono3py.dataset.get("cutoff_distance")
    if cutoff is None:
        return np.full(distances_ang.shape, True)
    # short of the cutoff, so that round-off never lets in a pair that was not displaced
    return distances_ang < cutoff - 1e-6


def pair_distances(primitive: Primitive) -> np.ndarray:
    """Return the distances in Å from atoms of the primitive cell to those of the supercell, the nearest images."""
    vectors, multiplicity = primitive.get_smallest_vectors()
    return np.linalg.norm(vectors[multiplicity[:, :, 1].T] @ primitive.cell, axis=2)


def near_pairs_of_triplets(primitive: Primitive, near: np.ndarray) -> np.ndarray:
    """Return how many of the pairs ij, ik and jk of each triplet are near, shape as `ForceConstants.known`.

    Parameters
    ----------
    primitive
        The primitive cell within the supercell.
    near
        Which pairs are, shape (n_primitive, n_supercell).
    """
    everywhere = np.zeros((near.shape[1], near.shape[1]), dtype=bool)
    for atom, row in zip(primitive.p2s_map, near, strict=True):
        for translation in primitive.atomic_permutations:
            everywhere[translation[atom], translation] = row
    return near[:, :, None].astype(int) + near[:, None, :] + everywhere


def average_over_known(fc3: np.ndarray, primitive: Primitive, near: np.ndarray, n_near: np.ndarray) -> None:
    """Average each triplet over those of its six permutations whose first two atoms are near, in place.

    Displacing i and j gives fc3[i, j, k] for all k, so a triplet is known from each near pair among its atoms, in both
    orders. With all others zero, phono3py's average over the six is 2 n_near / 6 of the one sought.
    """
    fc3 *= near[:, :, None, None, None, None]
    set_permutation_symmetry_compact_fc3(fc3, primitive, lang="Rust")
    fc3 *= (3 / np.maximum(n_near, 1))[..., None, None, None]


def impose_sum_rules(fc3: np.ndarray, primitive: Primitive, known: np.ndarray) -> None:
    """Make Σ_k fc3[i, j, k] = 0 by equal corrections of the known triplets, with permutation symmetry, in place."""
    n_known = np.maximum(known.sum(axis=2), 1)
    largest = np.abs(fc3).max()
    for _ in range(SUM_RULE_ROUNDS):
        drift = fc3.sum(axis=2)
        if np.abs(drift).max() <= SUM_RULE_TOLERANCE * largest:
            break
        share = drift / n_known[..., None, None, None]
        fc3 -= share[:, :, None] * known[..., None, None, None]
        set_permutation_symmetry_compact_fc3(fc3, primitive, lang="Rust")

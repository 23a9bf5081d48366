"""Bond-order potentials of Tersoff's form, evaluated for a whole batch of crystals at once."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from matscipy.calculators.manybody.explicit_forms.tersoff_brenner import (
    Brenner_PRB_42_9458_C_II,
    Tersoff_PRB_39_5566_Si_C,
    TersoffBrenner,
)
from matscipy.neighbours import neighbour_list
from matscipy.numpy_tricks import mabincount

from kappaforge.potentials.base import Batch, Prediction, require_elements

MAX_NEIGHBOURS = 60
"""Mean number within the cutoff above which a crystal counts as crushed; diamond has 4, and the triplets grow with
its square."""

_PERIODIC = np.ones(3, dtype=bool)


def tersoff() -> BondOrderPotential:
    """Return Tersoff's potential for carbon, silicon and their compounds (doi 10.1103/PhysRevB.39.5566)."""
    return BondOrderPotential("tersoff", Tersoff_PRB_39_5566_Si_C)


def brenner() -> BondOrderPotential:
    """Return Brenner's second potential for carbon (doi 10.1103/PhysRevB.42.9458).

    Its diamond vibrates at 40.1 THz at Γ (experiment 39.9, Tersoff's potential 47.0), and its forces at the minima of
    density-functional theory are half as large as Tersoff's.
    """
    return BondOrderPotential("brenner", Brenner_PRB_42_9458_C_II)


@dataclass(frozen=True, eq=False)
class BondOrderPotential:
    """A potential of matscipy's Abell–Tersoff–Brenner form.

    The energy is ½ Σ_ij F(r_ij, ξ_ij) with ξ_ij = Σ_k G(r_ij, r_ik); F, G and their derivatives are matscipy's. Its
    calculator takes one crystal at a time and builds the triplets in a Python loop; here the neighbour lists of all
    crystals are concatenated, and every sum is taken bond by bond in the same order whatever else is in the batch.

    Parameters
    ----------
    name
        The registry's name.
    parameters
        One of the parameter sets of `matscipy.calculators.manybody.explicit_forms.tersoff_brenner`.
    """

    name: str
    parameters: dict[str, Any]

    @cached_property
    def form(self) -> dict[str, Any]:
        """The functions F, G and their first derivatives, and the types of atoms and pairs they take."""
        return dict(TersoffBrenner(self.parameters))

    @cached_property
    def cutoffs(self) -> dict[tuple[str, str], float]:
        """Length in Å beyond which two elements do not bond."""
        symbols = self.parameters["el"]
        types = range(len(symbols))
        pairs = {(symbols[a], symbols[b]): self.form["pair_type"](a, b) for a in types for b in types}
        return {pair: float(self.form["cutoff"][index]) for pair, index in pairs.items()}

    @property
    def digest(self) -> str:
        """Hash of the parameters and of the versions of the packages that evaluate them."""
        content = repr((sorted(self.parameters.items()), version("matscipy"), version("numpy"), MAX_NEIGHBOURS))
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def elements(self) -> frozenset[str]:
        """Elements of the parameter set."""
        return frozenset(self.parameters["el"])

    def compute(self, batch: Batch) -> Prediction:
        """Return energies, forces and stresses; see `kappaforge.potentials.base.Potential`."""
        require_elements(self, frozenset(chemical_symbols[number] for number in np.unique(batch.numbers)))
        form, types = self.form, self.form["atom_type"](batch.numbers)
        n_atoms, n_crystals = len(batch.numbers), len(batch.counts)
        i, j, r_vec, crushed = self._bonds(batch)
        # Overlapping atoms divide by zero: their NaN stays within the sums of their own crystal.
        with np.errstate(all="ignore"), warnings.catch_warnings():
            # matscipy discards what this warning is about.
            warnings.filterwarnings("ignore", "'where' used without 'out'", UserWarning)
            r = np.linalg.norm(r_vec, axis=1)
            ij, ik = _angles(i, n_atoms)
            # Column order makes matscipy's many norms over the three components several times faster.
            rij, rik, type_i = np.asfortranarray(r_vec[ij]), np.asfortranarray(r_vec[ik]), types[i]
            type_ij = form["pair_type"](type_i, types[j])
            triplets = rij, rik, type_i[ij], type_ij[ij], type_ij[ik]

            xi = np.bincount(ij, form["G"](*triplets), minlength=len(i))
            bonds = r, xi, type_i, type_ij
            slope_xi = form["d2F"](*bonds)
            # The derivative of 2E along each bond vector, through its length and through the angles it takes part in.
            gradient = (form["d1F"](*bonds) / r)[:, None] * r_vec
            gradient += slope_xi[:, None] * mabincount(ij, form["d1G"](*triplets), len(i))
            gradient += mabincount(ik, slope_xi[ij, None] * form["d2G"](*triplets), len(i))
            bond_energies = form["F"](*bonds)

        of_bond = batch.crystal_of_atom[i]
        energies = 0.5 * np.bincount(of_bond, bond_energies, minlength=n_crystals)
        forces = 0.5 * (mabincount(i, gradient, n_atoms) - mabincount(j, gradient, n_atoms))
        virials = 0.5 * mabincount(of_bond, r_vec[:, :, None] * gradient[:, None, :], n_crystals)
        virials = 0.5 * (virials + virials.transpose(0, 2, 1))
        energies[crushed] = np.nan
        volumes = np.abs(np.linalg.det(batch.cells))
        return Prediction(energies, forces, virials / volumes[:, None, None]).with_nan_where_not_finite(batch)

    def _bonds(self, batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return the atoms i and j of every bond and its vector, shapes (n,), (n,) and (n, 3), sorted by i.

        The last array says which crystals are crushed or not finite; these get no bonds.
        """
        numbers = batch.numbers.astype(np.int32)
        found, crushed = [], np.zeros(len(batch.counts), dtype=bool)
        for index, rows in enumerate(batch.slices):
            cell, positions = batch.cells[index], batch.positions[rows]
            crushed[index] = not (np.isfinite(cell).all() and np.isfinite(positions).all())
            if crushed[index]:
                continue
            i, j, vectors = neighbour_list(
                "ijD", cutoff=self.cutoffs, positions=positions, cell=cell, pbc=_PERIODIC, numbers=numbers[rows]
            )
            crushed[index] = len(i) > MAX_NEIGHBOURS * len(positions)
            if not crushed[index]:
                found.append((i + rows.start, j + rows.start, vectors))
        if not found:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 3)), crushed
        firsts, seconds, vectors = zip(*found, strict=True)
        return np.concatenate(firsts), np.concatenate(seconds), np.concatenate(vectors), crushed


def _angles(i: np.ndarray, n_atoms: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all ordered pairs of different bonds that start at the same atom, given the sorted atoms i of the bonds.

    Not matscipy's `triplet_list`: the `first_neighbours` it needs crashes where no atom has a bond.
    """
    bonds_of = np.bincount(i, minlength=n_atoms)
    partners = bonds_of[i]
    first_of_bond = (np.cumsum(bonds_of) - bonds_of)[i]
    ij = np.repeat(np.arange(len(i)), partners)
    ik = np.arange(len(ij)) - np.repeat(np.cumsum(partners) - partners - first_of_bond, partners)
    return ij[ij != ik], ik[ij != ik]

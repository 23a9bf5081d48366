"""How far each crystal lies above the lowest of its composition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.formula import Formula

from kappaforge.crystal import Crystal


def energies_above_lowest(crystals: Sequence[Crystal], energies_ev_per_atom: Sequence[float]) -> np.ndarray:
    """Return each crystal's energy above the lowest among those of the same reduced formula, eV/atom.

    For one element, and with its ground state in the set, this is the energy above the convex hull.

    Parameters
    ----------
    crystals
        In any of their cells.
    energies_ev_per_atom
        All by the same potential, shape (n_crystals,).

    Returns
    -------
    np.ndarray
        Shape (n_crystals,), none negative.
    """
    energies = np.asarray(energies_ev_per_atom, dtype=float)
    formulas = np.array([str(Formula(crystal.formula).reduce()[0].convert("hill")) for crystal in crystals])
    above = np.empty(len(crystals))
    for formula in np.unique(formulas):
        alike = formulas == formula
        above[alike] = energies[alike] - energies[alike].min()
    return above

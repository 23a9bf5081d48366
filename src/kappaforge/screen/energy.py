"""How far each crystal lies above the lowest of its composition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.formula import Formula

from kappaforge.crystal import Crystal


def energies_above_lowest(
    crystals: Sequence[Crystal], energies_ev_per_atom: Sequence[float], known: Sequence[bool] | None = None
) -> np.ndarray:
    """Return each crystal's energy above the lowest among those of the same reduced formula, eV/atom.

    For one element, and with its ground state in the set, this is the energy above the convex hull. Potentials have
    minima that nature has not; where some crystals of a formula are known, the lowest is sought among these.

    Parameters
    ----------
    crystals
        In any of their cells.
    energies_ev_per_atom
        All by the same potential, shape (n_crystals,).
    known
        Which of them are known to exist; none unless given.

    Returns
    -------
    np.ndarray
        Shape (n_crystals,); negative for what lies below all that is known.
    """
    energies = np.asarray(energies_ev_per_atom, dtype=float)
    formulas = np.array([str(Formula(crystal.formula).reduce()[0].convert("hill")) for crystal in crystals])
    above = np.empty(len(crystals))
    for formula in np.unique(formulas):
        alike = formulas == formula
        sure = alike & np.array(known if known is not None else alike, dtype=bool)
        above[alike] = energies[alike] - energies[sure if sure.any() else alike].min()
    return above


def outside_window(
    crystals: Sequence[Crystal],
    energies_ev_per_atom: Sequence[float],
    known: Sequence[bool],
    window_ev_per_atom: float | None,
) -> dict[str, str]:
    """Return why, by id, for each crystal farther than the window from the lowest of its composition; None for none."""
    if window_ev_per_atom is None:
        return {}
    return {
        crystal.id: f"{abs(energy):.2f} eV/atom {'above' if energy > 0 else 'below'} the lowest of its "
        f"composition, up to {window_ev_per_atom:g} pass"
        for crystal, energy in zip(crystals, energies_above_lowest(crystals, energies_ev_per_atom, known), strict=True)
        if abs(energy) > window_ev_per_atom
    }

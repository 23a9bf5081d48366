"""How far crystals lie above the convex hull of what is known of their elements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition

from kappaforge.crystal import Crystal


class Hull:
    """The lower convex hull of energy over composition, by pymatgen's ``PhaseDiagram`` (doi 10.1021/cm702327g).

    Parameters
    ----------
    crystals
        In any of their cells.
    energies_ev_per_atom
        All by the same potential, shape (n_crystals,); crystals whose energy is not finite are left out.
    """

    def __init__(self, crystals: Sequence[Crystal], energies_ev_per_atom: Sequence[float]) -> None:
        lowest: dict[Composition, float] = {}
        for crystal, energy in zip(crystals, energies_ev_per_atom, strict=True):
            if np.isfinite(energy):
                composition = _composition(crystal)
                lowest[composition] = min(float(energy), lowest.get(composition, np.inf))
        self._entries = [PDEntry(known, energy * known.num_atoms) for known, energy in lowest.items()]
        self._diagrams: dict[frozenset[str], PhaseDiagram | None] = {}
        self._energies: dict[Composition, float] = {}

    def energy_ev_per_atom(self, crystal: Crystal) -> float:
        """Return the energy of the hull at a crystal's composition, eV/atom; NaN where one of its elements is missing.

        A hull has a corner at each of its elements, so that a compound has none until they are known as well.
        """
        composition = _composition(crystal)
        if composition not in self._energies:
            diagram = self._diagram(crystal.elements)
            self._energies[composition] = (
                np.nan if diagram is None else float(diagram.get_hull_energy_per_atom(composition))
            )
        return self._energies[composition]

    def above_ev_per_atom(self, crystals: Sequence[Crystal], energies_ev_per_atom: Sequence[float]) -> np.ndarray:
        """Return how far crystals lie above the hull, eV/atom, shape (n_crystals,).

        Negative for what lies below all that the hull was made of, NaN where there is no hull or no energy.
        """
        hull = [self.energy_ev_per_atom(crystal) for crystal in crystals]
        return np.asarray(energies_ev_per_atom, dtype=float) - np.array(hull, dtype=float)

    def _diagram(self, elements: frozenset[str]) -> PhaseDiagram | None:
        if elements not in self._diagrams:
            within = [entry for entry in self._entries if {str(one) for one in entry.composition} <= elements]
            pure = {str(one) for entry in within if len(entry.composition) == 1 for one in entry.composition}
            self._diagrams[elements] = PhaseDiagram(within) if pure == elements else None
        return self._diagrams[elements]


def _composition(crystal: Crystal) -> Composition:
    return Composition(crystal.formula).reduced_composition

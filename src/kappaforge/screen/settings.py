"""Settings of the screening."""

import math
from dataclasses import dataclass

from kappaforge.errors import InputError


@dataclass(frozen=True)
class ScreenSettings:
    """When two crystals are the same, and which are symmetric enough; the defaults are the paper's.

    Parameters
    ----------
    ltol
        Relative tolerance of the lattice lengths of matching crystals.
    stol
        Largest distance between matching sites, in units of (volume per atom)^(1/3).
    angle_tol_deg
        Tolerance of the lattice angles of matching crystals, in degrees.
    max_atoms
        Most atoms in the primitive cell of a crystal that passes.
    min_symmetry_operations
        Fewest symmetry operations of the primitive cell of a crystal that passes.
    symprec_ang
        How far atoms may be off their symmetric places, in Å.
    angle_tolerance_deg
        How far lattice angles may be off their symmetric values, in degrees.
    energy_window_ev_per_atom
        How far a crystal that passes may be from the lowest of the same composition, eV/atom: that of the data set, or
        of all crystals where it has none. What lies as far below is taken for an error of the potential. None for
        no limit, as in the paper.
    max_neighbours
        Most neighbours, by covalent radii, that an atom of a crystal that passes may have; 4 for carbon. Keeps out the
        too dense crystals whose energies a potential that has seen few of them gets wrong, and means nothing where
        bonds are not covalent. None for no limit, as in the paper.
    """

    ltol: float = 0.2
    stol: float = 0.3
    angle_tol_deg: float = 5.0
    max_atoms: int = 12
    min_symmetry_operations: int = 4
    symprec_ang: float = 0.1
    angle_tolerance_deg: float = 1.0
    energy_window_ev_per_atom: float | None = None
    max_neighbours: int | None = None

    def __post_init__(self) -> None:
        for name in ("ltol", "stol", "angle_tol_deg", "symprec_ang", "angle_tolerance_deg"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"screen.{name}: expected a positive number, got {value!r}")
        window = self.energy_window_ev_per_atom
        if window is not None and not (math.isfinite(window) and window > 0):
            raise InputError(f"screen.energy_window_ev_per_atom: expected a positive number, got {window!r}")
        for name in ("max_atoms", "min_symmetry_operations", "max_neighbours"):
            value = getattr(self, name)
            if name == "max_neighbours" and value is None:
                continue
            if not (isinstance(value, int) and value >= 1):
                raise InputError(f"screen.{name}: expected a whole number of 1 or more, got {value!r}")

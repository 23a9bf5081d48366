"""Settings of phonons and thermal conductivity; the defaults are the paper's protocol."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from kappaforge.errors import InputError


@dataclass(frozen=True)
class KappaSettings:
    """How κ is computed.

    Parameters
    ----------
    supercell
        Repetitions of the primitive cell in which atoms are displaced.
    displacement_ang
        Length of each displacement, in Å.
    fc3_cutoff_ang
        Two atoms are displaced together only when they are closer than this, in Å; None displaces all pairs. A triplet
        keeps its third-order force constants as long as one of its pairs is closer.
    fc3_negligible
        Third-order force constants below this fraction of the largest are skipped in the collisions.
    mesh_length_ang
        The q mesh has the smallest numbers for which each number times the length of its primitive lattice vector
        exceeds this, in Å.
    mesh
        Numbers of the q mesh in place of `mesh_length_ang`.
    temperature_k
        Temperature in K.
    isotope_scattering
        Whether phonons also scatter at the isotopes, in their natural abundance.
    symprec_ang
        Distance within which a symmetry is recognised, in Å; the crystal is then made to obey it exactly.
    acoustic_tolerance_thz
        How far the acoustic modes at Γ, which should be zero, may be imaginary, in THz.
    imaginary_tolerance_thz
        How far any other mode may be imaginary, in THz: room for round-off only.
    """

    supercell: tuple[int, int, int] = (3, 3, 3)
    displacement_ang: float = 0.03
    fc3_cutoff_ang: float | None = 3.0
    fc3_negligible: float = 1e-5
    mesh_length_ang: float = 25.0
    mesh: tuple[int, int, int] | None = None
    temperature_k: float = 300.0
    isotope_scattering: bool = False
    symprec_ang: float = 1e-3
    acoustic_tolerance_thz: float = 0.01
    imaginary_tolerance_thz: float = 1e-3

    def __post_init__(self) -> None:
        _check_three("supercell", self.supercell)
        if self.mesh is not None:
            _check_three("mesh", self.mesh)
        for name in ("displacement_ang", "mesh_length_ang", "temperature_k", "symprec_ang"):
            value = getattr(self, name)
            if not (isfinite(value) and value > 0):
                raise InputError(f"[kappa] {name}: expected a positive, finite number, got {value!r}")
        for name in ("acoustic_tolerance_thz", "imaginary_tolerance_thz"):
            value = getattr(self, name)
            if not (isfinite(value) and value >= 0):
                raise InputError(f"[kappa] {name}: expected a finite number from 0 up, got {value!r}")
        if self.fc3_cutoff_ang is not None and not (isfinite(self.fc3_cutoff_ang) and self.fc3_cutoff_ang > 0):
            raise InputError(
                f"[kappa] fc3_cutoff_ang: expected a positive, finite number, or none for all pairs, "
                f"got {self.fc3_cutoff_ang!r}"
            )
        if not 0 <= self.fc3_negligible < 1:
            raise InputError(
                f"[kappa] fc3_negligible: expected a fraction from 0 to below 1, got {self.fc3_negligible!r}"
            )


def _check_three(name: str, value: tuple[int, int, int]) -> None:
    whole = isinstance(value, tuple) and all(isinstance(number, int) and number > 0 for number in value)
    if not (whole and len(value) == 3):
        raise InputError(f"[kappa] {name}: expected three positive whole numbers, got {value!r}")

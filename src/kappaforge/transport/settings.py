"""Settings of phonons and thermal conductivity."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal, get_args

from kappaforge.errors import InputError
from kappaforge.transport.order_settings import ForceConstantSettings

Method = Literal["converged", "paper"]
"""How κ is computed: by our own force constants and kernel, or exactly by the paper's protocol through phono3py."""

Level = Literal["harmonic", "rta", "full"]
"""How far: phonons and stability; the relaxation-time approximation; the whole transport equation (LBTE)."""

Collisions = Literal["tetrahedra", "cells", "phono3py"]
"""What computes collisions: our kernel, with one of its two ways to conserve energy, or phono3py with tetrahedra."""


def _check_number(table: str, name: str, value: float, *, positive: bool) -> None:
    if not (isfinite(value) and (value > 0 or (value == 0 and not positive))):
        expected = "a positive, finite number" if positive else "a finite number from 0 up"
        raise InputError(f"[{table}] {name}: expected {expected}, got {value!r}")


def _check_three(table: str, name: str, value: Any) -> None:
    whole = isinstance(value, tuple) and all(isinstance(number, int) and number > 0 for number in value)
    if not (whole and len(value) == 3):
        raise InputError(f"[{table}] {name}: expected three positive whole numbers, got {value!r}")


@dataclass(frozen=True)
class PaperProtocol:
    """The paper's protocol (doi 10.1038/s41524-025-01592-8, "ETC protocol"), which `method` "paper" follows.

    Parameters
    ----------
    supercell
        Repetitions of the primitive cell in which atoms are displaced.
    displacement_ang
        Length of each displacement, in Å.
    fc3_cutoff_ang
        Two atoms are displaced together only when they are closer than this, in Å; 0 or None displaces all pairs. A
        triplet keeps its third-order force constants as long as one of its pairs is closer.
    fc3_negligible
        Third-order force constants below this fraction of the largest are skipped in the collisions.
    mesh_length_ang
        The q mesh has the smallest numbers for which each number times the length of its primitive lattice vector
        exceeds this, in Å.
    """

    supercell: tuple[int, int, int] = (3, 3, 3)
    displacement_ang: float = 0.03
    fc3_cutoff_ang: float | None = 3.0
    fc3_negligible: float = 1e-5
    mesh_length_ang: float = 25.0

    def __post_init__(self) -> None:
        _check_three("kappa.paper", "supercell", self.supercell)
        for name in ("displacement_ang", "mesh_length_ang"):
            _check_number("kappa.paper", name, getattr(self, name), positive=True)
        if self.fc3_cutoff_ang is not None and not (isfinite(self.fc3_cutoff_ang) and self.fc3_cutoff_ang >= 0):
            raise InputError(
                f"[kappa.paper] fc3_cutoff_ang: expected a positive, finite number, or 0 for all pairs, "
                f"got {self.fc3_cutoff_ang!r}"
            )
        if not 0 <= self.fc3_negligible < 1:
            raise InputError(
                f"[kappa.paper] fc3_negligible: expected a fraction from 0 to below 1, got {self.fc3_negligible!r}"
            )


@dataclass(frozen=True)
class KappaSettings:
    """How κ is computed.

    Parameters
    ----------
    method
        "converged" or "paper".
    level
        "harmonic", "rta" or "full"; the paper's protocol ends with "rta".
    collisions
        "tetrahedra", "cells" or "phono3py"; the paper's protocol has the last.
    mesh_length_ang
        Density of the q mesh of "converged": its numbers are the odd ones next to this times the lengths of the
        reciprocal lattice vectors (without 2π), in Å, and at least 3. Of more than four atoms in the primitive cell it
        falls with the cube root of their number, as the time would grow too fast. The paper's protocol has its own.
    extrapolate
        Whether κ is computed on a mesh about 1.5 times as fine too and extrapolated to infinitely many points.
    mesh
        Numbers of the one q mesh, in place of those rules.
    temperature_k
        Temperature in K.
    more_temperatures_k
        Others that κ is wanted at, in K.
    isotope_scattering
        Whether phonons also scatter at the isotopes, in their natural abundance.
    boundary_length_um
        Mean free path that boundaries allow, in µm; None for an infinite crystal.
    collision_memory_gib
        What collisions may use, in GiB; None for half of what is free, at most 4. Temperatures are shared out among
        rounds that fit, and a mesh of which one temperature does not fit is refused.
    device
        Where torch computes our kernel: "cpu", or a GPU such as "cuda".
    coherence
        Whether the heat that tunnels between modes is added (Wigner transport; Nat. Phys. 15, 809).
    symprec_ang
        Distance within which a symmetry is recognised, in Å; the crystal is then made to obey it exactly.
    acoustic_tolerance_thz
        How far the acoustic modes at Γ, which should be zero, may be imaginary, in THz.
    imaginary_tolerance_thz
        How far any other mode may be imaginary, in THz: room for round-off only.
    follow_imaginary
        How many times the most imaginary mode of an unstable crystal is followed to where the energy is lower; 0 for
        never. It takes a relaxation each time, so that `conductivity` alone only names the mode.
    follow_max_atoms
        Atoms in the supercell of a mode that is followed, at most; one primitive cell is always allowed.
    force_constants
        Supercells and displacements of "converged".
    paper
        Those of "paper".
    """

    method: Method = "converged"
    level: Level = "full"
    collisions: Collisions = "tetrahedra"
    mesh_length_ang: float = 14.0
    extrapolate: bool = True
    mesh: tuple[int, int, int] | None = None
    temperature_k: float = 300.0
    more_temperatures_k: tuple[float, ...] = ()
    isotope_scattering: bool = False
    boundary_length_um: float | None = None
    coherence: bool = False
    collision_memory_gib: float | None = None
    device: str = "cpu"
    symprec_ang: float = 1e-3
    acoustic_tolerance_thz: float = 0.01
    imaginary_tolerance_thz: float = 1e-3
    follow_imaginary: int = 0
    follow_max_atoms: int = 24
    force_constants: ForceConstantSettings = field(default_factory=ForceConstantSettings)
    paper: PaperProtocol = field(default_factory=PaperProtocol)

    def __post_init__(self) -> None:
        for name, known in (("method", Method), ("level", Level), ("collisions", Collisions)):
            if getattr(self, name) not in get_args(known):
                expected = ", ".join(map(repr, get_args(known)))
                raise InputError(f"[kappa] {name}: expected one of {expected}, got {getattr(self, name)!r}")
        if self.coherence and (self.method == "paper" or self.collisions == "phono3py"):
            raise InputError(
                '[kappa] coherence: only our kernel adds it; take method "converged" with collisions "tetrahedra"'
            )
        if self.mesh is not None:
            _check_three("kappa", "mesh", self.mesh)
        for name in ("mesh_length_ang", "temperature_k", "symprec_ang"):
            _check_number("kappa", name, getattr(self, name), positive=True)
        for temperature in self.more_temperatures_k:
            _check_number("kappa", "more_temperatures_k", temperature, positive=True)
        if self.collision_memory_gib is not None:
            _check_number("kappa", "collision_memory_gib", self.collision_memory_gib, positive=True)
        if self.boundary_length_um is not None:
            _check_number("kappa", "boundary_length_um", self.boundary_length_um, positive=True)
        for name in ("acoustic_tolerance_thz", "imaginary_tolerance_thz"):
            _check_number("kappa", name, getattr(self, name), positive=False)
        for name, least in (("follow_imaginary", 0), ("follow_max_atoms", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InputError(f"[kappa] {name}: expected a whole number from {least} up, got {value!r}")

    @property
    def extrapolates(self) -> bool:
        """Whether κ is computed on two meshes and extrapolated."""
        return self.method == "converged" and self.level != "harmonic" and self.mesh is None and self.extrapolate

    @property
    def temperatures_k(self) -> tuple[float, ...]:
        """All temperatures in K, the main one first, each once."""
        return tuple(dict.fromkeys((self.temperature_k, *self.more_temperatures_k)))

"""Settings of the error bar of κ, beyond what the mesh leaves."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from kappaforge.errors import InputError


@dataclass(frozen=True)
class ErrorBarSettings:
    """What is looked at for the error of a κ that matters.

    Parameters
    ----------
    committee
        Whether κ is computed by each member of the potential's committee. A potential without one has no such spread.
    cutoffs
        Whether κ is computed again with larger supercells, and with a wider cutoff of third order.
    mesh_tolerance
        Relative error of the mesh above which κ of a network is computed again on meshes 1.5 times as fine; None to
        leave it. By the default mesh it was 4 to 38 % for nine carbons above 800 W/(m·K).
    mesh_times
        How often at most. Each takes two to ten times as long as the one before.
    fit_cutoff_ang
        Within which members' third-order force constants are fitted, in Å, where that takes less time than finite
        displacements: what is wrong about it is so for all alike.
    fc3_cutoff_ang
        Within which members' finite displacements of third order are, in Å; None for that of κ itself. Carbons' nearest
        neighbours alone, 2 Å, need a third of the supercells (docs/method/kappa-error.md).
    fc3_face_distance_ang
        Least distance in members' supercells of third order, in Å, for the same reason less than κ itself wants. Those
        of second order, which decide about stability, stay as they are.
    """

    committee: bool = True
    cutoffs: bool = False
    mesh_tolerance: float | None = None
    mesh_times: int = 3
    fit_cutoff_ang: float = 4.5
    fc3_cutoff_ang: float | None = None
    fc3_face_distance_ang: float = 6.8

    def __post_init__(self) -> None:
        for name in ("committee", "cutoffs"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"[error_bar] {name}: expected true or false, got {getattr(self, name)!r}")
        if not (isinstance(self.mesh_times, int) and self.mesh_times >= 1):
            raise InputError(f"[error_bar] mesh_times: expected a whole number of 1 or more, got {self.mesh_times!r}")
        for name in ("fit_cutoff_ang", "fc3_cutoff_ang", "fc3_face_distance_ang", "mesh_tolerance"):
            value = getattr(self, name)
            if value is None and name in ("fc3_cutoff_ang", "mesh_tolerance"):
                continue
            if not (isfinite(value) and value > 0):
                raise InputError(f"[error_bar] {name}: expected a positive, finite number, got {value!r}")

"""Settings of the force constants of second and third order that have supercells of their own."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Literal, get_args

from kappaforge.errors import InputError

Distance = Literal["faces", "images"]
"""What is to be far enough: the opposite faces of the reduced supercell, or its nearest periodic images. Images are
never nearer than faces, and up to 1.22 times farther in face- or body-centred supercells."""

Way = Literal["finite", "fit"]
"""How force constants are found: "finite" displacements of one and two atoms, or a symmetry-adapted "fit" to random
displacements of all atoms."""


@dataclass(frozen=True)
class ForceConstantSettings:
    """How force constants are computed.

    Parameters
    ----------
    fc2_face_distance_ang, fc3_face_distance_ang
        Least distance in the supercells of second and of third order, in Å.
    distance_between
        What that distance is between: opposite "faces" of the supercell, or periodic "images".
    fc3_cutoff_ang
        Of finite displacements, in Å: a triplet is kept when *any* of its three pairs is closer. 0 or None displaces
        all pairs.
    fc3_fit_cutoff_ang
        Of fits, in Å: a triplet is kept when *all* of its three pairs are closer, so this has to reach farther. With
        the carbon model, fits to 5.4 Å, which 5.2 becomes there, gave the κ of finite displacements to 3 Å within 1 %
        (bct-C4, lonsdaleite), fits to 4.4-4.5 Å within 10 % from 3 to 8 times fewer supercells. Both cutoffs are put
        into a gap between shells of neighbours, the wider one just above if there is one.
    displacement_ang
        Length of finite displacements of second order, of which those of third have 5/3, and root mean square length of
        random ones, in Å.
    way
        "finite", "fit", or "auto": of third order the one that is estimated to take less time, of second order finite.
    fc2_way
        Of second order where it is another.
    oversampling
        Components of forces per free parameter of a fit. Two opposite displacements count once.
    force_ms_per_atom
        What the estimates take the potential to need, in ms. It is given rather than measured, so that the same
        crystal is computed in the same way again.
    memory_gib
        What either way may use, in GiB.
    seed
        Of random displacements.
    """

    fc2_face_distance_ang: float = 10.5
    fc3_face_distance_ang: float = 8.7
    distance_between: Distance = "faces"
    fc3_cutoff_ang: float | None = 3.0
    fc3_fit_cutoff_ang: float = 5.2
    displacement_ang: float = 0.03
    way: Literal["finite", "fit", "auto"] = "auto"
    fc2_way: Way | None = None
    oversampling: float = 4.5
    force_ms_per_atom: float = 0.5
    memory_gib: float = 4.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in (
            "fc2_face_distance_ang",
            "fc3_face_distance_ang",
            "fc3_fit_cutoff_ang",
            "displacement_ang",
            "force_ms_per_atom",
            "memory_gib",
        ):
            value = getattr(self, name)
            if not (isfinite(value) and value > 0):
                raise InputError(f"[kappa.force_constants] {name}: expected a positive, finite number, got {value!r}")
        if self.fc3_cutoff_ang is not None and not (isfinite(self.fc3_cutoff_ang) and self.fc3_cutoff_ang >= 0):
            raise InputError(
                "[kappa.force_constants] fc3_cutoff_ang: expected a positive, finite number, or 0 for all pairs, "
                f"got {self.fc3_cutoff_ang!r}"
            )
        if not (isfinite(self.oversampling) and self.oversampling >= 1):
            raise InputError(
                f"[kappa.force_constants] oversampling: expected a finite number from 1 up, got {self.oversampling!r}"
            )
        for name, known in (
            ("way", (*get_args(Way), "auto")),
            ("fc2_way", (*get_args(Way), None)),
            ("distance_between", get_args(Distance)),
        ):
            if getattr(self, name) not in known:
                expected = ", ".join(map(repr, known))
                raise InputError(
                    f"[kappa.force_constants] {name}: expected one of {expected}, got {getattr(self, name)!r}"
                )

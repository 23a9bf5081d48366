"""Settings beside those that κ was computed with, to tell how much κ owes to them."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from kappaforge.transport.fit import cutoff_in_gap
from kappaforge.transport.force_constants import pair_distances, phono3py_with
from kappaforge.transport.order_settings import ForceConstantSettings
from kappaforge.transport.primitive import PrimitiveCrystal
from kappaforge.transport.supercells import SupercellChoice, smallest_supercell

Variation = Literal["supercells", "cutoff"]
"""What is made wider: both supercells, or the cutoff of third order."""

WIDER_SUPERCELLS = 1.2
"""Times the distance that the supercells have, not that they were asked to have: with less they might stay as they are,
and twice the atoms are what the question costs."""

WIDER_CUTOFF = 4 / 3
"""Times the cutoff, 3 Å to 4 Å: twice to three times the pairs of atoms, with the next shells of neighbours among them.
"""

STRAIN = 0.015
"""Of a crystal's faces from one potential to another of the same committee."""


def wider(primitive: PrimitiveCrystal, settings: ForceConstantSettings, what: Variation) -> ForceConstantSettings:
    """Return settings of which one thing reaches farther.

    Parameters
    ----------
    primitive
        The crystal.
    settings
        Those that κ was computed with; `way` is "finite" or "fit".
    what
        "supercells" for those of both orders, "cutoff" for that of third order in the same supercell, where it holds at
        least one more shell of neighbours, if there is one.

    Raises
    ------
    TransportError
        Where no supercell can be found.
    """
    if what == "supercells":
        second, third = _choices(primitive, settings)
        return replace(
            settings,
            fc2_face_distance_ang=WIDER_SUPERCELLS * _distance(second, settings),
            fc3_face_distance_ang=WIDER_SUPERCELLS * _distance(third, settings),
        )
    name = "fc3_fit_cutoff_ang" if settings.way == "fit" else "fc3_cutoff_ang"
    given_ang = getattr(settings, name)
    if not given_ang:  # all pairs are displaced already
        return settings
    _, third = _choices(primitive, settings)
    distances_ang = pair_distances(phono3py_with(primitive.crystal, third.matrix).primitive)

    def n_pairs(cutoff_ang: float) -> int:
        return int((distances_ang < cutoff_in_gap(distances_ang, cutoff_ang)).sum())

    wanted_ang = WIDER_CUTOFF * given_ang
    while n_pairs(wanted_ang) == n_pairs(given_ang) and wanted_ang < distances_ang.max():
        wanted_ang *= WIDER_CUTOFF
    return replace(settings, **{name: wanted_ang})


def steady(primitive: PrimitiveCrystal, settings: ForceConstantSettings) -> ForceConstantSettings:
    """Return settings whose supercells stay the same while the crystal's faces move by `STRAIN` either way.

    The smallest supercell of at least some distance is another one as soon as a face falls short of it, and κ jumps by
    several per cent: between potentials that give a crystal slightly different cells, that would look as if they
    disagreed. Distances are moved into a range that one supercell has for itself, below what was asked for by as little
    as that takes.

    Raises
    ------
    TransportError
        Where no supercell can be found.
    """
    second, third = (_steady(primitive, choice, settings) for choice in _choices(primitive, settings))
    return replace(settings, fc2_face_distance_ang=second, fc3_face_distance_ang=third)


def _steady(primitive: PrimitiveCrystal, choice: SupercellChoice, settings: ForceConstantSettings) -> float:
    while True:
        distance_ang = _distance(choice, settings)
        below = smallest_supercell(primitive, (1 - 2 * STRAIN) * distance_ang, settings.distance_between)
        if below.n_atoms >= choice.n_atoms:
            return (1 - STRAIN) * distance_ang
        choice = below


def _choices(primitive: PrimitiveCrystal, settings: ForceConstantSettings) -> tuple[SupercellChoice, SupercellChoice]:
    """Return the supercells of second and of third order, as the plans choose them."""
    second, third = (
        smallest_supercell(primitive, distance_ang, settings.distance_between)
        for distance_ang in (settings.fc2_face_distance_ang, settings.fc3_face_distance_ang)
    )
    return second, third


def _distance(choice: SupercellChoice, settings: ForceConstantSettings) -> float:
    return choice.face_distance_ang if settings.distance_between == "faces" else choice.image_distance_ang

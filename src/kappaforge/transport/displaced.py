"""Displaced supercells of both orders whose forces are computed elsewhere, and the text that their plans live in."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.transport.failure import TransportError
from kappaforge.transport.order_settings import ForceConstantSettings
from kappaforge.transport.plans import Plan, SecondPlan, ThirdPlan, plan2, plan3
from kappaforge.transport.primitive import PrimitiveCrystal, primitive_crystal

DIGEST_STEP_ANG = 1e-5
"""Displacements that differ by less are the same. They are counted in steps that begin 0.29 below whole ones, so that
round-off does not take zero, other round numbers and thirds of them to the next."""


class Displaced(NamedTuple):
    """A crystal with the plans of both orders.

    ==========  ==============================================
    field       content
    ==========  ==============================================
    primitive   the crystal in its primitive cell
    settings    what the plans were made with
    second      which supercells give second-order constants
    third       which supercells give third-order constants
    ==========  ==============================================
    """

    primitive: PrimitiveCrystal
    settings: ForceConstantSettings
    second: SecondPlan
    third: ThirdPlan

    @property
    def plans(self) -> tuple[SecondPlan, ThirdPlan]:
        """Both plans."""
        return self.second, self.third


def displace(crystal: Crystal, settings: ForceConstantSettings, symprec_ang: float = 1e-3) -> Displaced:
    """Plan the displaced supercells of both orders.

    Parameters
    ----------
    crystal
        In any cell, at rest.
    settings
        Supercells, displacements, cutoffs.
    symprec_ang
        Distance within which a symmetry is recognised, in Å; the crystal is then made to obey it exactly.

    Raises
    ------
    InputError
        Where the crystal has no symmetry to be found, or the settings need more memory than they allow.
    """
    try:
        primitive = primitive_crystal(crystal, symprec_ang)
        return Displaced(primitive, settings, plan2(primitive, settings), plan3(primitive, settings))
    except TransportError as failure:
        raise InputError(f"crystal {crystal.id!r} cannot be displaced: {failure.reason}") from None


def supercell_crystals(plan: Plan, primitive: PrimitiveCrystal) -> list[Crystal]:
    """Return the displaced supercells of a plan, in its order; each has its name of `Plan.names` as id."""
    return [
        Crystal(
            cell.cell, cell.positions, cell.numbers, id=name, source="displace", parents=(primitive.crystal.digest,)
        )
        for name, cell in zip(plan.names, plan.supercells, strict=True)
    ]


def to_text(displaced: Displaced) -> str:
    """Return JSON from which `from_text` makes the same plans again; it holds no supercells but their digests."""
    crystal, primitive = displaced.primitive.crystal, displaced.primitive
    content: dict[str, Any] = {
        "written_by": {name: version(name) for name in ("kappaforge", "phonopy", "phono3py", "symfc")},
        "crystal": {
            "id": crystal.id,
            "source": crystal.source,
            "parents": crystal.parents,
            "cell": crystal.cell.tolist(),
            "positions": crystal.positions.tolist(),
            "numbers": crystal.numbers.tolist(),
        },
        "space_group_number": primitive.space_group_number,
        "rotations": primitive.rotations.tolist(),
        "settings": asdict(displaced.settings),
        "orders": {str(plan.order): _described(plan) for plan in displaced.plans},
    }
    lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def from_text(text: str) -> Displaced:
    """Make the plans again that `to_text` wrote down.

    Each order goes the way that was chosen then, whatever a cost estimate says now.

    Raises
    ------
    InputError
        For text that is not from `to_text`, or plans that come out otherwise than they were.
    """
    try:
        content: dict[str, Any] = json.loads(text)
        primitive = PrimitiveCrystal(
            Crystal(**{**content["crystal"], "parents": tuple(content["crystal"]["parents"])}),
            int(content["space_group_number"]),
            np.array(content["rotations"], dtype=np.int64),
        )
        settings = ForceConstantSettings(**content["settings"])
        orders, written_by = content["orders"], content["written_by"]
        second, third = (replace(settings, way=orders[order]["way"]) for order in ("2", "3"))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"not what this version of kappaforge displace writes ({error!r})") from None
    try:
        displaced = Displaced(primitive, settings, plan2(primitive, second), plan3(primitive, third))
    except TransportError as failure:
        raise InputError(f"the displacements cannot be made again: {failure.reason}") from None
    for plan in displaced.plans:
        if (now := _described(plan)) != (then := orders[str(plan.order)]):
            changed = next(key for key in now if now[key] != then.get(key))
            versions = ", ".join(f"{name} {number}" for name, number in written_by.items())
            raise InputError(
                f"the displacements of order {plan.order} come out otherwise than written ({changed}): use the "
                f"versions that wrote them ({versions}), or displace again"
            )
    return displaced


def _described(plan: Plan) -> dict[str, Any]:
    return {
        "way": plan.way,
        "supercell_matrix": plan.choice.matrix.tolist(),
        "n_atoms": len(plan.supercell),
        "n_supercells": len(plan.supercells),
        "digest": _digest(plan),
    }


def _digest(plan: Plan) -> str:
    """Hash of which atoms are displaced and how, the same for plans that differ by round-off."""
    content = hashlib.sha256()
    steps = np.floor(plan.moves_ang / DIGEST_STEP_ANG + 0.29)
    for numbers in (plan.choice.matrix, plan.supercell.numbers, plan.primitive.p2s_map, steps):
        content.update(np.asarray(numbers).astype("<i8").tobytes())
    return content.hexdigest()

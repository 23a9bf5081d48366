"""Phonons and lattice thermal conductivity of one crystal at rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from kappaforge.crystal import Crystal
from kappaforge.potentials.base import Potential, require_elements
from kappaforge.transport.converged import converged_steps, harmonic_steps, kappa_steps
from kappaforge.transport.failure import TransportError
from kappaforge.transport.meshes import converged_meshes
from kappaforge.transport.orders import SecondOrder, ThirdOrder
from kappaforge.transport.paper import paper_steps
from kappaforge.transport.primitive import PrimitiveCrystal, primitive_crystal, rotation_to_standard
from kappaforge.transport.record import Clock, KappaAt, KappaRecord
from kappaforge.transport.settings import KappaSettings

LARGEST_KAPPA_W_PER_MK = 1e5
"""Thirty times isotopically pure diamond at room temperature. Chains or atoms that a short-ranged potential does not
connect give 1e30: without third-order force constants between them lifetimes are infinite."""


def conductivity(
    crystal: Crystal, potential: Potential, settings: KappaSettings, modes_folder: Path | None = None
) -> KappaRecord:
    """Compute phonons, stability and κ at the geometry as given.

    Parameters
    ----------
    crystal
        In any cell; κ is that of its standard primitive cell, in the frame of the cell given. It should be at the
        potential's minimum, within about 1e-4 eV/Å.
    potential
        Where the forces come from.
    settings
        Method, meshes, temperatures.
    modes_folder
        Where our kernel writes the modes on the finest mesh, as phono3py's tools read them; None for nowhere.

    Returns
    -------
    KappaRecord
        Of status ``ok``, or ``unstable`` or ``failed`` with the reason, and with what was known by then.

    Raises
    ------
    UnsupportedElementError
        When the potential does not know one of the elements.
    """
    require_elements(potential, crystal.elements)
    record = KappaRecord(
        id=crystal.id,
        crystal=crystal,
        potential=potential.name,
        potential_digest=potential.digest,
        method=settings.method,
        level="rta" if (settings.method, settings.level) == ("paper", "full") else settings.level,
    )

    def steps(record: KappaRecord, clock: Clock) -> Iterator[KappaRecord]:
        with clock.part("displacements"):
            primitive = primitive_crystal(crystal, settings.symprec_ang)
        record = _in_primitive(record, primitive, settings)
        yield record
        if settings.method == "paper":
            yield from paper_steps(record, primitive, potential, settings, clock)
        else:
            yield from converged_steps(record, primitive, potential, settings, clock, modes_folder)

    return _ended(record, steps)


def conductivity_of_orders(
    primitive: PrimitiveCrystal,
    second: SecondOrder,
    third: ThirdOrder,
    settings: KappaSettings,
    *,
    source: str,
    modes_folder: Path | None = None,
) -> KappaRecord:
    """Compute stability and κ from force constants that are there already, such as those of forces from DFT.

    Parameters
    ----------
    primitive, second, third
        The crystal and its force constants.
    settings
        Meshes, temperatures; `method` and `force_constants` have no meaning here.
    source
        What the record names in place of a potential.
    modes_folder
        As in `conductivity`.
    """
    record = KappaRecord(
        id=primitive.crystal.id,
        crystal=primitive.crystal,
        potential=source,
        potential_digest="",
        method="converged",
        level=settings.level,
    )

    def steps(record: KappaRecord, clock: Clock) -> Iterator[KappaRecord]:
        record = replace(_in_primitive(record, primitive, settings), meshes=converged_meshes(primitive, settings))
        yield record
        for order in (second, third):
            clock.add(order.seconds_by_part)
        for known in harmonic_steps(record, second, settings, clock):
            record = known
            yield record
        if settings.level != "harmonic":
            yield from kappa_steps(record, primitive, second, third, settings, clock, modes_folder)

    return _ended(record, steps)


def harmonic_stability(crystal: Crystal, potential: Potential, settings: KappaSettings) -> KappaRecord:
    """Say whether a crystal at rest is stable against small displacements, from few displaced supercells.

    Stable means no imaginary mode at the q points that fit into the supercell, nor on the mesh κ is computed on.

    Raises
    ------
    UnsupportedElementError
        When the potential does not know one of the elements.
    """
    return conductivity(crystal, potential, replace(settings, level="harmonic"))


def _in_primitive(record: KappaRecord, primitive: PrimitiveCrystal, settings: KappaSettings) -> KappaRecord:
    return replace(
        record,
        crystal=primitive.crystal,
        space_group_number=primitive.space_group_number,
        symmetry_operations=len(primitive.rotations),
        rotation_to_standard=rotation_to_standard(primitive, settings.symprec_ang),
    )


def _ended(record: KappaRecord, steps: Callable[[KappaRecord, Clock], Iterator[KappaRecord]]) -> KappaRecord:
    """Go through the steps as far as the crystal allows, and return what is known by then."""
    clock = Clock()
    try:
        for known in steps(record, clock):
            record = known
        for solution in record.solutions:
            _check(solution, record)
    except TransportError as failure:
        record = replace(record, status=failure.status, reason=failure.reason, solutions=())
    return replace(
        record,
        seconds=sum(clock.seconds.values()),
        seconds_by_part=clock.seconds,
        peak_gib_by_part=clock.peak_gib,
    )


def _check(solution: KappaAt, record: KappaRecord) -> None:
    largest = np.abs(solution.kappa_w_per_mk).max()
    if not largest < LARGEST_KAPPA_W_PER_MK:  # NaN too
        raise TransportError(
            "failed",
            f"κ of {largest:.1e} W/(m·K) means that phonons find nothing to scatter with: the potential "
            f"does not couple parts of the crystal, or the {record.mesh} mesh is too coarse",
        )

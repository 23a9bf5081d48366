"""The phonons of one crystal at a potential's own minimum, and what another potential says of the same."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np

from kappaforge.campaign.minimum import tight_minimum
from kappaforge.crystal import Crystal
from kappaforge.errors import KappaforgeError
from kappaforge.potentials.base import Potential, require_elements
from kappaforge.relax.settings import RelaxSettings
from kappaforge.screen.settings import ScreenSettings
from kappaforge.screen.symmetry import SymmetryRecord, symmetry
from kappaforge.transport.dispersion import (
    DensityOfStates,
    Dispersion,
    density_of_states,
    dispersion,
    frequencies_at,
    lowest_mode,
)
from kappaforge.transport.failure import TransportError
from kappaforge.transport.order_settings import ForceConstantSettings
from kappaforge.transport.orders import SecondOrder, order2
from kappaforge.transport.primitive import PrimitiveCrystal, primitive_crystal
from kappaforge.transport.settings import KappaSettings


@dataclass(frozen=True)
class PhononSettings:
    """How phonons are computed and sampled.

    Parameters
    ----------
    force_constants
        Of second order.
    path_spacing_per_ang
        Largest distance between neighbouring points of the path, Å⁻¹ without 2π.
    mesh_length_ang
        Of the mesh of the density of states, as `kappaforge.transport.dispersion.density_of_states` takes it, Å.
    stability
        Which modes may be imaginary and how far, and within what distance a symmetry is recognised.
    """

    force_constants: ForceConstantSettings = field(default_factory=ForceConstantSettings)
    path_spacing_per_ang: float = 0.01
    mesh_length_ang: float = 60.0
    stability: KappaSettings = field(default_factory=KappaSettings)


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison:
    """What another potential says of the same modes, at its own minimum of the same crystal.

    Parameters
    ----------
    potential
        Its name.
    status, reason
        ``ok`` or ``unstable``, or why there are no frequencies.
    frequencies_thz
        At the q points of the first one's path, shape (n, n_bands); None where there are none.
    density
        Its density of states; None where there is none.
    min_frequency_thz
        Its lowest mode.
    """

    potential: str
    status: str
    reason: str
    frequencies_thz: np.ndarray | None = None
    density: DensityOfStates | None = None
    min_frequency_thz: float | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class PhononsRecord:
    """The harmonic phonons of one crystal; what was not reached is None.

    Parameters
    ----------
    id
        The crystal's.
    status, reason
        ``ok``; ``unstable`` with the worst mode, and all phonons; or why there are none: ``unconverged``,
        ``broken_symmetry`` or ``failed``.
    crystal
        In its primitive cell, whose reciprocal q points refer to; where there is none, as last relaxed.
    symmetry
        Of the crystal as last relaxed.
    potential, potential_digest
        Name and digest; where forces were computed elsewhere, what they are and no digest.
    supercell
        Integers that make the rows of the supercell from those of the primitive cell, shape (3, 3).
    n_supercell_atoms
        Atoms in it.
    dispersion, density
        Along the standard path, and of all modes.
    min_frequency_thz, min_q_point
        The lowest of all modes on the path, on the mesh and where the supercell is exact, and where it is.
    max_frequency_thz
        The highest of them.
    comparison
        With another potential, where one was asked for.
    seconds
        Time in all.
    """

    id: str
    status: str
    reason: str
    crystal: Crystal
    symmetry: SymmetryRecord
    potential: str
    potential_digest: str
    supercell: np.ndarray | None = None
    n_supercell_atoms: int | None = None
    dispersion: Dispersion | None = None
    density: DensityOfStates | None = None
    min_frequency_thz: float | None = None
    min_q_point: np.ndarray | None = None
    max_frequency_thz: float | None = None
    comparison: Comparison | None = None
    seconds: float = 0.0


def phonons_of(
    crystal: Crystal,
    potential: Potential,
    relax_settings: RelaxSettings,
    settings: PhononSettings,
    symmetry_settings: ScreenSettings,
    *,
    relaxed: bool = True,
    compared_to: Potential | None = None,
) -> PhononsRecord:
    """Compute dispersion and density of states of a crystal at the potential's own minimum.

    Parameters
    ----------
    crystal
        Any cell of it.
    relaxed
        Whether to relax it first, tightly and with its space group kept.
    compared_to
        Another potential, which relaxes the same crystal for itself and gives its frequencies at the same fractional
        q points.

    Raises
    ------
    UnsupportedElementError
        When a potential does not know one of the elements.
    """
    for each in (potential, compared_to):
        if each is not None:
            require_elements(each, crystal.elements)
    start = time.perf_counter()
    arguments = (relax_settings, settings, symmetry_settings)
    record, _, change = _phonons(crystal, potential, *arguments, relaxed=relaxed)
    if compared_to is not None and record.dispersion is not None:
        other = _phonons(crystal, compared_to, *arguments, relaxed=relaxed)
        record = replace(record, comparison=_compared(record.dispersion, change, compared_to.name, other))
    return replace(record, seconds=time.perf_counter() - start)


def phonons_of_forces(
    primitive: PrimitiveCrystal,
    second: SecondOrder,
    source: str,
    relax_settings: RelaxSettings,
    settings: PhononSettings,
    symmetry_settings: ScreenSettings,
    *,
    compared_to: Potential | None = None,
) -> PhononsRecord:
    """Compute dispersion and density of states of a crystal whose forces were computed elsewhere.

    Parameters
    ----------
    primitive, second
        The crystal at rest and its force constants.
    source
        What stands in the place of the potential.
    compared_to
        A potential, which relaxes the crystal for itself and gives its frequencies at the same fractional q points.
    """
    if compared_to is not None:
        require_elements(compared_to, primitive.crystal.elements)
    start = time.perf_counter()
    record = PhononsRecord(
        id=primitive.crystal.id,
        status="ok",
        reason="",
        crystal=primitive.crystal,
        symmetry=symmetry(primitive.crystal, symmetry_settings),
        potential=source,
        potential_digest="",
    )
    record = _sampled(record, second, settings)
    if compared_to is not None and record.dispersion is not None:
        other = _phonons(primitive.crystal, compared_to, relax_settings, settings, symmetry_settings, relaxed=True)
        record = replace(record, comparison=_compared(record.dispersion, np.eye(3), compared_to.name, other))
    return replace(record, seconds=time.perf_counter() - start)


def _compared(
    along: Dispersion, change: np.ndarray, name: str, other: tuple[PhononsRecord, SecondOrder | None, np.ndarray]
) -> Comparison:
    """Return what `_phonons` found for another potential at the q points of a path."""
    record, second, other_change = other
    comparison = Comparison(potential=name, status=record.status, reason=record.reason)
    if second is None:
        return comparison
    frequencies = frequencies_of_other(along, change, second, other_change)
    if frequencies is None:
        reason = "its relaxed crystal has another primitive cell, so that modes cannot be compared"
        return replace(comparison, status="failed", reason=reason)
    return replace(
        comparison,
        frequencies_thz=frequencies,
        density=record.density,
        min_frequency_thz=record.min_frequency_thz,
    )


def _phonons(
    crystal: Crystal,
    potential: Potential,
    relax_settings: RelaxSettings,
    settings: PhononSettings,
    symmetry_settings: ScreenSettings,
    *,
    relaxed: bool,
) -> tuple[PhononsRecord, SecondOrder | None, np.ndarray]:
    """Return the record, and where there are phonons their force constants.

    The third are the integers that make the rows of the cell as given from those of the primitive one.
    """
    minimum = tight_minimum(crystal, potential, relax_settings, symmetry_settings, relaxed=relaxed)
    record = PhononsRecord(
        id=crystal.id,
        status=minimum.status,
        reason=minimum.reason,
        crystal=minimum.crystal,
        symmetry=minimum.symmetry,
        potential=potential.name,
        potential_digest=potential.digest,
    )
    if minimum.status != "ok":
        return record, None, np.eye(3)
    try:
        primitive = primitive_crystal(minimum.crystal, settings.stability.symprec_ang)
        change = np.rint(minimum.crystal.cell @ np.linalg.inv(primitive.crystal.cell))
        second = order2(primitive, potential, settings.force_constants)
        return _sampled(replace(record, crystal=primitive.crystal), second, settings), second, change
    except TransportError as failure:
        return replace(record, status=failure.status, reason=failure.reason), None, np.eye(3)
    except (KappaforgeError, OSError):  # of what the user gave, or of the machine
        raise
    except Exception as error:
        # one crystal on which a library gives up must not end the others
        reason = f"{type(error).__name__} in the phonon calculation: {error}"
        return replace(record, status="failed", reason=reason), None, np.eye(3)


def _sampled(record: PhononsRecord, second: SecondOrder, settings: PhononSettings) -> PhononsRecord:
    """Add to a record what the force constants give."""
    along = dispersion(second, settings.path_spacing_per_ang)
    density = density_of_states(second, settings.mesh_length_ang)
    q_points = np.concatenate([along.q_points, density.q_points])
    frequencies = np.concatenate([along.frequencies_thz, density.mode_frequencies_thz])
    lowest = lowest_mode(second, q_points, frequencies, settings.stability)
    return replace(
        record,
        status="unstable" if lowest.reason else "ok",
        reason=lowest.reason,
        supercell=second.choice.matrix,
        n_supercell_atoms=second.choice.n_atoms,
        dispersion=along,
        density=density,
        min_frequency_thz=lowest.frequency_thz,
        min_q_point=lowest.q_point,
        max_frequency_thz=float(frequencies.max()),
    )


def frequencies_of_other(
    along: Dispersion, change: np.ndarray, other: SecondOrder, other_change: np.ndarray
) -> np.ndarray | None:
    """Return another potential's frequencies at the q points of a path.

    Each potential's relaxed crystal has a standard cell of its own, and the two may differ by more than strain: by the
    order of their axes, for example. Both came from the same given cell, in which q points mean the same.

    Parameters
    ----------
    along
        The path, in coordinates of the first one's cell.
    change, other_change
        Integers that make the rows of the given cell from those of the primitive cells, shape (3, 3).
    other
        The other's force constants.

    Returns
    -------
    np.ndarray or None
        Shape (n, n_bands), THz. None where the two primitive cells do not span the same lattice.
    """
    between = np.linalg.inv(other_change) @ change  # q in the other's cell is between @ q
    whole = np.rint(between)
    if np.abs(between - whole).max() > 1e-6 or abs(round(np.linalg.det(whole))) != 1:
        return None
    return frequencies_at(other, along.q_points @ whole.T)

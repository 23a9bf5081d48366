"""Result rows of single steps, for ``--json``."""

from __future__ import annotations

from typing import Any

from kappaforge.campaign.candidate import CandidateRecord, candidate_columns
from kappaforge.campaign.error_bar import ErrorBar, error_columns
from kappaforge.crystal import Crystal
from kappaforge.label.base import Label
from kappaforge.relax.relaxer import RelaxRecord
from kappaforge.screen.settings import ScreenSettings
from kappaforge.screen.symmetry import SymmetryRecord, symmetry
from kappaforge.store.row import Row


def row_of_crystal(crystal: Crystal, record: SymmetryRecord | None = None, **known: Any) -> Row:
    """Return the row of a crystal of which nothing but its structure is known."""
    record = record or symmetry(crystal, ScreenSettings())
    return Row(
        id=crystal.id,
        source=crystal.source,
        formula=crystal.formula,
        n_atoms=record.n_atoms,
        space_group_number=record.space_group_number,
        symmetry_operations=record.symmetry_operations,
        density_g_per_cm3=crystal.density_g_per_cm3,
        **known,
    )


def row_of_relaxation(record: RelaxRecord, potential: str) -> Row:
    """Return the row of a relaxed crystal."""
    return row_of_crystal(
        record.crystal,
        energy_ev_per_atom=record.energy_ev_per_atom,
        status=record.status,
        reason=record.reason,
        potential=potential,
        seconds=record.seconds,
    )


def label_content(label: Label) -> dict[str, Any]:
    """Return the columns of a labelled crystal and what no row has a place for: all that the engine said of it."""
    energy = None if label.energy_ev is None else label.energy_ev / len(label.crystal)
    row = row_of_crystal(
        label.crystal, energy_ev_per_atom=energy, status=label.status, reason=label.reason, seconds=label.seconds
    )
    return row.to_dict() | {
        "engine": label.engine,
        "energy_ev": label.energy_ev,
        "forces_ev_per_ang": label.forces_ev_per_ang,
        "stress_ev_per_ang3": label.stress_ev_per_ang3,
    }


def row_of_candidate(record: CandidateRecord, bar: ErrorBar | None = None, **known: Any) -> Row:
    """Return the row of a crystal that was taken to κ, with its error bar and what else is known of it."""
    columns = candidate_columns(record) | error_columns(bar) | known
    return Row(id=record.id, source=record.crystal.source, **columns)

"""The crystals of a run as a database for others: ASE's, and structures of OPTIMADE."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase.db import connect
from ase.db.core import reserved_keys
from pymatgen.io.optimade import OptimadeStructureAdapter

from kappaforge.crystal import Crystal
from kappaforge.files import replacing
from kappaforge.store.row import Row

PREFIX = "_kappaforge_"
"""OPTIMADE keeps names without a prefix to itself."""

API_VERSION = "1.2.0"


def write_ase_db(path: Path, rows: Sequence[Row], crystals: Sequence[Crystal]) -> Path:
    """Write an SQLite database of ASE, one of its rows for each crystal, in the same order.

    The columns that ASE can select by are its key-value pairs, the id under ``crystal_id``; its ``data`` hold all of
    them, the κ tensors among them, and the crystal's parents.
    """
    with replacing(path) as temporary, connect(temporary, type="db", append=False, use_lock_file=False) as database:
        for row, crystal in zip(rows, crystals, strict=True):
            known = _known(row)
            pairs = {"crystal_id" if key == "id" else key: value for key, value in known.items()}
            chosen = {key: value for key, value in pairs.items() if _selectable(key, value)}
            data = {**known, "parents": list(crystal.parents)}
            database.write(crystal.to_ase(), key_value_pairs=chosen, data=data)
    return path


def optimade_json(rows: Sequence[Row], crystals: Sequence[Crystal]) -> str:
    """Return the crystals as the answer of an OPTIMADE server to ``/structures``, columns with `PREFIX`.

    Structures are as pymatgen writes them; https://www.optimade.org/specification says what the fields mean.
    """
    structures = []
    for row, crystal in zip(rows, crystals, strict=True):
        entry = OptimadeStructureAdapter.get_optimade_structure(crystal.to_pymatgen())
        own = {PREFIX + key: value for key, value in _known(row).items() if key != "id"}
        attributes = {**entry["attributes"], **own}  # type: ignore[dict-item]
        attributes["species"] = sorted(attributes["species"], key=lambda species: species["name"])  # made from a set
        structures.append({"id": row.id, "type": "structures", "attributes": attributes})
    meta = {
        "api_version": API_VERSION,
        "query": {"representation": "/structures"},
        "more_data_available": False,
        "data_returned": len(structures),
    }
    return json.dumps({"data": structures, "meta": meta}, allow_nan=False, indent=1) + "\n"


def _known(row: Row) -> dict[str, Any]:
    return {key: value for key, value in row.to_dict().items() if value is not None and value != ""}


def _selectable(key: str, value: Any) -> bool:
    """Whether ASE takes it: it keeps some names to itself, and wants no text that looks like a number."""
    if key in reserved_keys or not isinstance(value, str | int | float | bool):
        return False
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return value not in ("True", "False")
        return False
    return True

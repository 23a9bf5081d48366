"""The data and the script of the explorer: chemiscope's map with a 3D viewer of each crystal linked to it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib import metadata, resources
from typing import Any

import chemiscope
import numpy as np
from ase import Atoms

from kappaforge.crystal import Crystal
from kappaforge.report.structures import conventional
from kappaforge.store.row import Row

MAP_X, MAP_Y, KAPPA = "t-SNE 1", "t-SNE 2", "κ max"
DENSITY, N_ATOMS = "density", "atoms in the cell"
SUPERCELL = [2, 2, 2]
EYE = np.array([0.25, 0.12, 1.0])
"""Look along c, a little from the side, so that atoms do not hide each other."""


def explorer_data(rows: Sequence[Row], crystals: Sequence[Crystal], name: str) -> dict[str, Any]:
    """Return what chemiscope draws, as plain values ready for JSON.

    Numbers that are not known are None (the page's script turns them into NaN, which chemiscope draws in grey or not
    at all) and properties that no crystal has are left out.

    Parameters
    ----------
    rows, crystals
        In the same order; at least one. They are drawn one upon the other, and the last is shown first.
    name
        Of the campaign.
    """
    numeric: dict[str, tuple[Sequence[float | None], str, str]] = {
        MAP_X: ([row.map_x for row in rows], "arb. units", "map of the averaged SOAP descriptors"),
        MAP_Y: ([row.map_y for row in rows], "arb. units", "map of the averaged SOAP descriptors"),
        KAPPA: ([row.kappa_rta_max_w_per_mk for row in rows], "W m⁻¹ K⁻¹", "largest eigenvalue of the κ(RTA) tensor"),
        DENSITY: ([crystal.density_g_per_cm3 for crystal in crystals], "g cm⁻³", "mass density"),
        "energy": ([row.energy_ev_per_atom for row in rows], "eV per atom", "potential energy"),
        "space group": ([row.space_group_number for row in rows], "", "number in the International Tables"),
        N_ATOMS: ([len(crystal) for crystal in crystals], "", "of the cell as stored"),
    }
    properties: dict[str, Any] = {
        label: {"target": "structure", "values": values, "units": units, "description": description}
        for label, (numbers, units, description) in numeric.items()
        if np.isfinite(values := _floats(numbers)).any()
    }
    for label, texts in {
        "status": [row.status for row in rows],
        "role": [row.role or "candidate" for row in rows],
    }.items():
        properties[label] = {"target": "structure", "values": texts}
    structures = [conventional(crystal) for crystal in crystals]
    data = chemiscope.create_input(
        structures=structures,
        metadata={"name": name},
        properties=properties,
        settings=_settings(properties, structures),
    )
    return _without_nan(data)


def _settings(properties: dict[str, Any], structures: Sequence[Atoms]) -> dict[str, Any]:
    """Open on the map coloured by κ; on κ or density while there is no map."""
    on_map = MAP_X in properties and MAP_Y in properties
    x = MAP_X if on_map else DENSITY
    y = MAP_Y if on_map else next(label for label in (KAPPA, "energy", N_ATOMS) if label in properties)
    colour: dict[str, Any] = {"property": next(label for label in (KAPPA, "energy", DENSITY) if label in properties)}
    if colour["property"] == KAPPA:
        colour |= {"min": 0.0, "max": float(np.nanmax(properties[KAPPA]["values"]))}
    return {
        "target": "structure",
        "map": {
            "x": {"property": x},
            "y": {"property": y},
            "color": {**colour, "palette": "viridis"},
            "symbol": "role",
            "size": {"factor": 40},
        },
        "structure": [{"unitCell": True, "supercell": SUPERCELL, "axes": "abc", "camera": _camera(structures[-1])}],
        "pinned": [len(structures) - 1],
    }


def _camera(atoms: Atoms) -> dict[str, Any]:
    """A view that holds the crystal shown first; without one chemiscope fits a single cell into the window.

    3Dmol, which draws, moves the crystal's centre to the origin and shifts it by ``zoom`` towards a camera that stands
    150 Å away and sees 20 degrees to each side. It fits all further crystals by itself and keeps the direction.
    """
    positions = atoms.repeat(SUPERCELL).positions
    centre = (positions.min(axis=0) + positions.max(axis=0)) / 2
    diameter = 2 * np.linalg.norm(positions - centre, axis=1).max() + 2
    zoom = max(1.0, 150 - diameter / 2 / np.tan(np.radians(20)))
    eye = -centre + zoom * EYE / np.linalg.norm(EYE)
    return {"center": _xyz(-centre), "eye": _xyz(eye), "up": _xyz(np.array([0.0, 1.0, 0.0])), "zoom": float(zoom)}


def _xyz(vector: np.ndarray) -> dict[str, float]:
    return {axis: float(value) for axis, value in zip("xyz", vector, strict=True)}


def _floats(numbers: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if number is None else number for number in numbers], dtype=float)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def json_for_script(data: Any) -> str:
    """Return JSON that can stand inside a ``<script>`` element: nothing in it can close the element."""
    return json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def chemiscope_script() -> str:
    """Return chemiscope's own script from its wheel, escaped to stand inside a ``<script>`` element."""
    script = resources.files("chemiscope").joinpath("sphinx/static/chemiscope.min.js").read_text(encoding="utf-8")
    # Both sequences occur only inside strings and regular expressions, where \x3c means the same as <.
    return re.sub(r"<(?=/script|!--)", r"\\x3c", script, flags=re.IGNORECASE)


def chemiscope_licence() -> str:
    """Return the version and the licence that chemiscope's script must carry wherever it goes."""
    distribution = metadata.distribution("chemiscope")
    text = distribution.read_text("licenses/LICENSE") or distribution.read_text("LICENSE") or "BSD-3-Clause"
    return f"chemiscope {distribution.version}\n\n{text.strip()}"

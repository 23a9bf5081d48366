"""The five crystals of the paper's Table 1 by a potential, by the paper's protocol and by the default method."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import spglib

from kappaforge.campaign.candidate import kappa_of
from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.errors import InputError
from kappaforge.potentials.base import Potential
from kappaforge.relax.settings import RelaxSettings
from kappaforge.screen.settings import ScreenSettings
from kappaforge.transport.settings import KappaSettings

SYMPREC_ANG = 1e-3


@dataclass(frozen=True)
class Published:
    """What a table says of a crystal: lattice constants of the standard cell in Å, κ in W/(m·K)."""

    name: str
    lengths_ang: tuple[float, float, float]
    kappa_paper: float
    kappa_reported: str


PAPER = (
    Published("diamond", (3.5687, 3.5687, 3.5687), 2573, "2000-3500 (experiment)"),
    Published("lonsdaleite", (2.5067, 2.5067, 4.1899), 1785, "1687 (BTE)"),
    Published("bct-C4", (4.3625, 4.3625, 2.4971), 1672, "1411 (BTE)"),
    Published("Z-carbon", (4.25, 8.7326, 2.5074), 1412, "1262 (BTE)"),
    Published("AA-T12", (3.5069, 3.5069, 6.2608), 852, "1049 (BTE)"),
)
"""Table 1 of doi 10.1038/s41524-025-01592-8, and the values it cites as reported before."""


def read_published(path: Path | None) -> tuple[Published, ...]:
    """Return the table of a csv file, cheapest crystals first; the paper's own where there is none.

    Raises
    ------
    InputError
        Where the file cannot be read or lacks a column.
    """
    if path is None:
        return PAPER
    try:
        with path.open(newline="") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: int(row["atoms_primitive"]))
        return tuple(
            Published(
                row["name"],
                (float(row["a_ang"]), float(row["b_ang"]), float(row["c_ang"])),
                float(row["kappa_paper_w_per_mk"]),
                row["kappa_reported_w_per_mk"],
            )
            for row in rows
        )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is not readable as Table 1: {error!r}") from None


def crystal_by_name(name: str) -> Crystal:
    """Return a known carbon crystal; raises `InputError` for a name that is none."""
    known = {entry.name: entry.crystal for entry in known_carbons()}
    if name not in known:
        raise InputError(f"unknown crystal {name!r} (known: {', '.join(known)})")
    return known[name]


def standard_lengths(crystal: Crystal) -> tuple[float, float, float]:
    """Return a, b, c in Å of spglib's standard conventional cell."""
    given = (crystal.cell.tolist(), crystal.fractional.tolist(), crystal.numbers.tolist())
    cell = spglib.standardize_cell(given, symprec=SYMPREC_ANG)
    lattice = crystal.cell if cell is None else cell[0]
    first, second, third = (float(sum(part**2 for part in vector) ** 0.5) for vector in lattice)
    return first, second, third


def candidate(published: Published, potential: Potential, settings: KappaSettings) -> dict[str, Any]:
    """Relax a crystal tightly and compute its κ (W/(m·K)); the paper's protocol has no LBTE and no mesh error."""
    record = kappa_of(crystal_by_name(published.name), potential, RelaxSettings(), settings, ScreenSettings())
    lengths = standard_lengths(record.crystal)
    kappa = record.kappa
    return {
        "status": record.status,
        "reason": record.reason,
        "lengths_ang": lengths,
        "lengths_off_percent": [
            100 * (ours / theirs - 1) for ours, theirs in zip(lengths, published.lengths_ang, strict=True)
        ],
        "stable": kappa is not None and kappa.status != "unstable" and kappa.min_frequency_thz is not None,
        "min_frequency_thz": kappa.min_frequency_thz if kappa else None,
        "rta_eigenvalues_w_per_mk": _eigenvalues(kappa.kappa_rta_w_per_mk if kappa else None),
        "lbte_eigenvalues_w_per_mk": _eigenvalues(kappa.kappa_lbte_w_per_mk if kappa else None),
        "mesh_error_w_per_mk": kappa.solution.mesh_error_w_per_mk if kappa and kappa.solution else None,
        "method": settings.method,
        "meshes": kappa.meshes if kappa else (),
        "n_displacements": kappa.n_displacements if kappa else None,
        "seconds": record.seconds,
        "seconds_by_part": dict(kappa.seconds_by_part) if kappa else {},
    }


def _eigenvalues(tensor: np.ndarray | None) -> list[float] | None:
    """Ascending."""
    return None if tensor is None else np.linalg.eigvalsh(tensor).tolist()

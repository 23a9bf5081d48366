"""The result rows as CSV, as JSON and as a table for the terminal."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import spglib
from rich import box
from rich.table import Table
from rich.text import Text

from kappaforge.store.row import COLUMNS, Row, ranked

NOTHING = "–"
"""What a table shows where nothing was computed."""


def kappa_eigenvalues(row: Row) -> tuple[float, float, float] | None:
    """Return the eigenvalues of the κ tensor in W/(m·K), the largest first; None where there is no κ."""
    values = row.kappa_rta_eigenvalues_w_per_mk
    return None if values is None else (values[0], values[1], values[2])


def to_csv(rows: Sequence[Row]) -> str:
    """Return the ranked rows as CSV: the columns of `store.row.COLUMNS`, tensors and flags as JSON text."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in ranked(rows):
        writer.writerow({name: _cell(value) for name, value in row.to_dict().items()})
    return buffer.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, allow_nan=False)


def to_json(rows: Sequence[Row]) -> str:
    """Return the ranked rows as a JSON list, one crystal per line."""
    return "[\n" + ",\n".join(row.to_json() for row in ranked(rows)) + "\n]\n" if rows else "[]\n"


def ranked_table(rows: Sequence[Row], limit: int | None = None) -> Table:
    """Return the best conductors as a table of about 100 columns for a rich console.

    Parameters
    ----------
    rows
        In any order; those without κ come last, with their status.
    limit
        Show at most so many; None shows all.
    """
    ordered = ranked(rows)
    shown = ordered[:limit]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    if len(shown) < len(ordered):
        table.caption = f"{len(shown)} of {len(ordered)} crystals"
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("id", max_width=24, overflow="ellipsis")
    table.add_column("formula", no_wrap=True)
    for header in ("N", "group", "ρ\ng/cm³", "E\neV/atom", "κ max\nW/(m·K)", "κ mid", "κ min"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("role", overflow="ellipsis")
    table.add_column("status", overflow="ellipsis")
    for rank, row in enumerate(shown, start=1):
        _, middle, smallest = kappa_eigenvalues(row) or (None, None, None)
        cells = [
            number(rank if row.kappa_rta_max_w_per_mk is not None else None),
            row.id,
            row.formula or NOTHING,
            number(row.n_atoms),
            number(row.space_group_number),
            number(row.density_g_per_cm3, 3),
            number(row.energy_ev_per_atom, 3),
            kappa_text(row.kappa_rta_max_w_per_mk),
            kappa_text(middle),
            kappa_text(smallest),
            row.role or NOTHING,
            row.status,
        ]
        # ids and formulas may hold brackets, which rich would take for markup
        table.add_row(*(Text(cell) for cell in cells), style="" if row.status == "ok" else "dim")
    return table


@cache
def group_symbol(number: int) -> str:
    """Return the international symbol of a space group, such as ``Fd-3m``."""
    return _symbols()[number]


@cache
def _symbols() -> dict[int, str]:
    found: dict[int, str] = {}
    for hall_number in range(1, 531):
        kind = spglib.get_spacegroup_type(hall_number)
        assert kind is not None, "all of these numbers are there"
        found.setdefault(kind.number, kind.international_short)  # the first setting is the standard one
    return found


def number(value: float | None, decimals: int = 0) -> str:
    """Return a number with fixed decimals, or a dash."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.{decimals}f}"


def kappa_text(value: float | None) -> str:
    """Return κ with the digits that mean something: whole numbers from 10 W/(m·K) on, two decimals below."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:.0f}" if value >= 10 else f"{abs(value):.2f}"  # abs: round-off may leave -0.00

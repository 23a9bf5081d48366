"""The sortable table of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

from kappaforge.report.markup import group
from kappaforge.report.tables import NOTHING, kappa_text, number
from kappaforge.store.row import Row


class Column(NamedTuple):
    """A column: its header, what it says to whoever points at it, and its cell for a row.

    Without `key` its cells are text. With one they are numbers, by which they are sorted.
    """

    header: str
    shown: Callable[[Row], str]
    key: Callable[[Row], float | None] | None = None
    hint: str = ""
    wide: bool = False


def _eigenvalue(tensor: str, place: int) -> Callable[[Row], float | None]:
    def value(row: Row) -> float | None:
        values: tuple[float, ...] | None = getattr(row, f"kappa_{tensor}_eigenvalues_w_per_mk")
        return None if values is None else values[place]

    return value


def _kappa(header: str, value: Callable[[Row], float | None], hint: str) -> Column:
    return Column(header, lambda row: kappa_text(value(row)), value, hint)


def _number(header: str, name: str, decimals: int = 0, hint: str = "") -> Column:
    return Column(header, lambda row: number(getattr(row, name), decimals), lambda row: getattr(row, name), hint)


def _text(header: str, name: str, hint: str = "") -> Column:
    return Column(header, lambda row: str(getattr(row, name)), hint=hint)


RTA, LBTE = "of the κ tensor in the relaxation-time approximation", "of the κ tensor of the whole transport equation"

COLUMNS = (
    _text("formula", "formula"),
    _text("known<br>as", "known_as", "the known carbon that is the same by StructureMatcher"),
    _number("N", "n_atoms", hint="atoms of the primitive cell"),
    Column("space<br>group", group, lambda row: row.space_group_number),
    _text("prototype", "prototype", "AFLOW's label"),
    _number("density<br>g/cm³", "density_g_per_cm3", 3),
    _number("energy<br>eV/atom", "energy_ev_per_atom", 3),
    _number("above hull<br>eV/atom", "energy_above_hull_ev_per_atom", 3),
    _kappa("κ(RTA) max<br>W/(m·K)", lambda row: row.kappa_rta_max_w_per_mk, f"largest eigenvalue {RTA}"),
    _kappa("mid", _eigenvalue("rta", 1), f"middle eigenvalue {RTA}"),
    _kappa("min", _eigenvalue("rta", 2), f"smallest eigenvalue {RTA}"),
    _kappa("κ(LBTE) max<br>W/(m·K)", lambda row: row.kappa_lbte_max_w_per_mk, f"largest eigenvalue {LBTE}"),
    Column(
        "±",
        lambda row: kappa_text(row.kappa_any_error_w_per_mk),
        lambda row: row.kappa_any_error_w_per_mk,
        "error of the largest eigenvalue, of the LBTE where that was solved: of the mesh, and of the committee, "
        "supercells and cutoff where they were looked at",
    ),
    _kappa("mid", _eigenvalue("lbte", 1), f"middle eigenvalue {LBTE}"),
    _kappa("min", _eigenvalue("lbte", 2), f"smallest eigenvalue {LBTE}"),
    _number("σ(E)<br>meV/atom", "energy_std_mev_per_atom", 1, "standard deviation of the committee's energies"),
    _number("symmetry<br>operations", "symmetry_operations"),
    _text("role", "role"),
    Column("novel", lambda row: {None: "", True: "yes", False: "no"}[row.novel]),
    _text("status", "status"),
    Column("history", lambda row: row.history, wide=True),
)
_ALWAYS = ("formula", "N", "density<br>g/cm³", "κ(RTA) max<br>W/(m·K)", "status", "history")


def ranking(rows: Sequence[Row]) -> str:
    """Return the section with the table of ranked rows; columns that say nothing of any of them are left out."""
    columns = [column for column in COLUMNS if column.header in _ALWAYS or _says(column, rows)]
    head = "".join(_header(column) for column in columns)
    body = "\n".join(_row(columns, rank, row, len(rows) - rank) for rank, row in enumerate(rows, start=1))
    return f"""<section id="table" aria-labelledby="table-title">
<h2 id="table-title">Ranking by thermal conductivity</h2>
<p class="quiet">κ max, mid and min are the eigenvalues of a tensor, the best direction first; ranks follow κ(RTA).
Click a header to sort, an id to see the crystal. <label>Show only rows with <input id="filter" type="search"
placeholder="diamond, neighbour, 227, …" size="28"></label> <span id="filter-found" aria-live="polite"></span></p>
<div class="scroll" tabindex="0" role="region" aria-labelledby="table-title">
<table id="ranking"><thead><tr>
<th scope="col" class="number" data-first="ascending" aria-sort="ascending"><button type="button">rank</button></th>
<th scope="col"><button type="button">id</button></th>{head}</tr></thead>
<tbody>
{body}
</tbody></table>
</div>
</section>
"""


def _says(column: Column, rows: Sequence[Row]) -> bool:
    if column.key is None:
        return any(column.shown(row) for row in rows)
    return any(column.key(row) is not None for row in rows)


def _header(column: Column) -> str:
    numeric = ' class="number"' if column.key else ""
    hint = f' title="{escape(column.hint)}"' if column.hint else ""
    return f'<th scope="col"{numeric}{hint}><button type="button">{column.header}</button></th>'


def _row(columns: Sequence[Column], rank: int, row: Row, place: int) -> str:
    ranked = row.kappa_rta_max_w_per_mk is not None
    shown = str(rank) if ranked else NOTHING
    cells = [
        f'<td class="number" data-key="{rank}">{shown}</td>',
        f'<th scope="row"><button type="button" data-crystal="{place}">{escape(row.id)}</button></th>',
        *(_cell(column, row) for column in columns),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _cell(column: Column, row: Row) -> str:
    text = escape(column.shown(row))
    if column.key is None:
        return f'<td class="wide">{text}</td>' if column.wide else f"<td>{text}</td>"
    value = column.key(row)
    if value is None:
        return f'<td class="number" data-key="">{text}</td>'
    key = f"{value:.7g}"
    return f'<td class="number">{text}</td>' if key == text else f'<td class="number" data-key="{key}">{text}</td>'

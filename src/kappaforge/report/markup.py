"""The ranked conductors as a table for a paper or a note: Markdown and LaTeX."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from kappaforge.report.tables import NOTHING, group_symbol, kappa_text, number
from kappaforge.store.row import Row, ranked


class Column(NamedTuple):
    """A column: its header in Markdown and in LaTeX, what it shows of a row, and whether that is a number."""

    header: str
    latex: str
    shown: Callable[[Row], str]
    numeric: bool = True


def known_name(row: Row) -> str:
    """Return the known crystal that it is, or else its prototype."""
    return row.known_as or row.prototype


def group(row: Row) -> str:
    """Return symbol and number of the space group."""
    known = row.space_group_number
    return NOTHING if known is None else f"{group_symbol(known)} ({known})"


def kappa_cells(row: Row) -> tuple[str, ...]:
    """Return the eigenvalues of κ(RTA) and of κ(LBTE), each the largest first, W/(m·K)."""
    tensors = (row.kappa_rta_eigenvalues_w_per_mk, row.kappa_lbte_eigenvalues_w_per_mk)
    return tuple(kappa_text(value) for values in tensors for value in values or (None, None, None))


def _eigenvalue(place: int) -> Callable[[Row], str]:
    return lambda row: kappa_cells(row)[place]


COLUMNS = (
    Column("id", "id", lambda row: row.id, numeric=False),
    Column("known as, or prototype", "known as, or prototype", lambda row: known_name(row) or NOTHING, numeric=False),
    Column("space group", "space group", group, numeric=False),
    Column("N", "$N$", lambda row: number(row.n_atoms)),
    Column("density (g/cm³)", r"$\rho$ (g/cm$^3$)", lambda row: number(row.density_g_per_cm3, 3)),
    Column(
        "above hull (eV/atom)",
        r"$E_\mathrm{hull}$ (eV/atom)",
        lambda row: number(row.energy_above_hull_ev_per_atom, 3),
    ),
    Column("κ(RTA) max (W/(m·K))", r"$\kappa_1^\mathrm{RTA}$", _eigenvalue(0)),
    Column("mid", r"$\kappa_2^\mathrm{RTA}$", _eigenvalue(1)),
    Column("min", r"$\kappa_3^\mathrm{RTA}$", _eigenvalue(2)),
    Column("κ(LBTE) max (W/(m·K))", r"$\kappa_1^\mathrm{LBTE}$", _eigenvalue(3)),
    Column("mid", r"$\kappa_2^\mathrm{LBTE}$", _eigenvalue(4)),
    Column("min", r"$\kappa_3^\mathrm{LBTE}$", _eigenvalue(5)),
    Column("± of the max", r"$\pm$", lambda row: kappa_text(row.kappa_any_error_w_per_mk)),
    Column("uncertainty (meV/atom)", r"$\sigma_E$ (meV/atom)", lambda row: number(row.energy_std_mev_per_atom, 1)),
    Column("status", "status", lambda row: row.status, numeric=False),
    Column("novel", "novel", lambda row: {None: NOTHING, True: "yes", False: "no"}[row.novel], numeric=False),
    Column("history", "history", lambda row: row.history, numeric=False),
)


def conductors(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that belong into these tables, ranked: crystals that were taken to κ."""
    return [row for row in ranked(rows) if row.stage == "kappa" or row.kappa_rta_max_w_per_mk is not None]


def to_markdown(rows: Sequence[Row]) -> str:
    """Return the crystals that were taken to κ, the best first, as a table of Markdown (GitHub's)."""
    lines = [
        "| # | " + " | ".join(column.header for column in COLUMNS) + " |",
        "|---:|" + "|".join("---:" if column.numeric else "---" for column in COLUMNS) + "|",
    ]
    for rank, row in enumerate(conductors(rows), start=1):
        cells = [_rank(rank, row), *(_markdown(column.shown(row)) for column in COLUMNS)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def to_latex(rows: Sequence[Row]) -> str:
    """Return the same as a ``longtable`` of LaTeX with the rules of ``booktabs``."""
    places = "r" + "".join("r" if column.numeric else "l" for column in COLUMNS[:-1]) + "p{6cm}"
    head = " & ".join([r"\#", *(column.latex for column in COLUMNS)]) + r" \\"
    lines = [
        r"% needs \usepackage{booktabs,longtable} and, for other letters than English ones, XeLaTeX or LuaLaTeX",
        r"% kappa in W/(m K): eigenvalues in the relaxation-time approximation and of the whole transport equation",
        rf"\begin{{longtable}}{{{places}}}",
        r"\toprule",
        head,
        r"\midrule",
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
    ]
    for rank, row in enumerate(conductors(rows), start=1):
        cells = [_latex(_rank(rank, row)), *(_latex(column.shown(row)) for column in COLUMNS)]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\end{longtable}"]) + "\n"


def _rank(rank: int, row: Row) -> str:
    return NOTHING if row.kappa_rta_max_w_per_mk is None else str(rank)


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", " ".join(text.split()))


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "→": r"$\rightarrow$",
    "κ": r"$\kappa$",
    "−": "$-$",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "Å": r"\AA{}",
    "Γ": r"$\Gamma$",
    "–": "--",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
} | {sign: "\\" + sign for sign in "&%$#_{}"}


def _latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in " ".join(text.split()))

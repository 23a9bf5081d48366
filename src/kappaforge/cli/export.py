"""``kappaforge export``: the crystals of a run in the formats of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kappaforge.cli.machine import show_json
from kappaforge.cli.options import AsOneJson, RunPath, choices
from kappaforge.cli.terminal import show_paths
from kappaforge.errors import InputError, suggestion

FILES = {
    "extxyz": "crystals.extxyz",
    "cif": "cif",
    "csv": "crystals.csv",
    "ase.db": "crystals.db",
    "optimade": "optimade.json",
}
"""Each format's file, or folder of files, in RUN/export where no other is given."""


def export(
    path: RunPath,
    format: Annotated[
        str,
        typer.Option(
            "--format", "-f", autocompletion=choices(*FILES), help="extxyz, cif, csv, ase.db or optimade (JSON)."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write here: a file, or for CIF a folder.")
    ] = None,
    above: Annotated[
        float | None, typer.Option(help="Only crystals whose κ, RTA or LBTE, is at least this somewhere, W/(m·K).")
    ] = None,
    as_json: AsOneJson = False,
) -> None:
    """Write the crystals of a run as they stand, each with what is known of it."""
    if format not in FILES:
        raise InputError(f"--format: unknown {format!r}{suggestion(format, FILES)}")
    from kappaforge.dataset.writers import write
    from kappaforge.files import write_text
    from kappaforge.report.databases import optimade_json, write_ase_db
    from kappaforge.report.tables import to_csv
    from kappaforge.store.published import read_published

    published = read_published(path)
    wanted = [
        (row, crystal)
        for row, crystal in zip(published.rows, published.crystals, strict=True)
        if above is None or max(row.kappa_rta_max_w_per_mk or 0.0, row.kappa_lbte_max_w_per_mk or 0.0) >= above
    ]
    if above is not None and not wanted:
        raise InputError(f"--above: κ of no crystal is {above:g} W/(m·K) or more; give a lower one")
    rows, crystals = [row for row, _ in wanted], [crystal for _, crystal in wanted]
    target = output or path / "export" / FILES[format]
    try:
        if format == "extxyz":
            columns = [{key: value for key, value in row.to_dict().items() if key not in _NAMES} for row in rows]
            write(crystals, target, "extxyz", columns=columns)
        elif format == "cif":
            write(crystals, target, "cif")
        elif format == "csv":
            write_text(target, to_csv(rows))
        elif format == "ase.db":
            write_ase_db(target, rows, crystals)
        else:
            write_text(target, optimade_json(rows, crystals))
    except (FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise InputError(f"{target}: cannot be written ({error.strerror})") from None
    if as_json:
        show_json([{"format": format, "crystals": len(rows), "written": {target.name: target}}])
    else:
        show_paths({f"{len(rows)} crystals": target})


_NAMES = ("id", "source")
"""Columns that extended XYZ has of the crystal itself."""

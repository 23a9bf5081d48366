"""``kappaforge screen``: keep the unique, novel, symmetric crystals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kappaforge.cli.files import read_crystals, write_crystals
from kappaforge.cli.machine import show_json
from kappaforge.cli.options import AsJson, InputPaths, OutputPath
from kappaforge.cli.terminal import out


def screen(
    paths: InputPaths,
    output: OutputPath = None,
    reference: Annotated[
        list[Path] | None, typer.Option("--reference", "-r", help="Crystals that count as known; may be repeated.")
    ] = None,
    max_atoms: Annotated[int, typer.Option(help="Most atoms in the primitive cell.")] = 12,
    min_operations: Annotated[int, typer.Option(help="Fewest symmetry operations.")] = 4,
    max_neighbours: Annotated[
        int | None, typer.Option(help="Most neighbours of an atom, by covalent radii; no limit where not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Keep the unique, novel and symmetric crystals, in their order; the others are named with the reason."""
    from rich.table import Table

    from kappaforge.cli.rows import row_of_crystal
    from kappaforge.screen.settings import ScreenSettings
    from kappaforge.screen.sift import sift

    settings = ScreenSettings(
        max_atoms=max_atoms, min_symmetry_operations=min_operations, max_neighbours=max_neighbours
    )
    crystals = read_crystals(paths)
    known = read_crystals(reference) if reference else []
    sifted = sift(crystals, known, settings)
    kept = [each.crystal for each in sifted if each.passes]
    rows = [row_of_crystal(each.crystal, each.symmetry, reason=each.reason, novel=each.novel) for each in sifted]
    if output is not None and kept:
        write_crystals(kept, output)
    if as_json:
        show_json(rows)
        return
    table = Table("id", "formula", "N", "space group", "operations", "left because")
    for row in rows:
        table.add_row(
            row.id, row.formula, str(row.n_atoms), str(row.space_group_number), str(row.symmetry_operations), row.reason
        )
    out.print(table)
    out.print(f"{len(kept)} of {len(crystals)} kept" + (f", in {output}" if output and kept else ""))

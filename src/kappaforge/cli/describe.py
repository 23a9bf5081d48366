"""``kappaforge describe``: turn crystals into SOAP vectors and places on a map."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from kappaforge.cli.files import read_crystals
from kappaforge.cli.machine import show_json
from kappaforge.cli.options import AsJson, InputPaths, Seed
from kappaforge.cli.terminal import out


def describe(
    paths: InputPaths,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write an HDF5 file with ids, features and map here.")
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Describe crystals by averaged SOAP vectors and map them to the plane by t-SNE."""
    import numpy as np
    from rich.table import Table

    from kappaforge.cli.rows import row_of_crystal
    from kappaforge.describe.map import tsne_map
    from kappaforge.describe.settings import DescribeSettings
    from kappaforge.describe.soap import average_soap
    from kappaforge.store.files import write_arrays

    crystals = read_crystals(paths)
    settings = DescribeSettings()
    features = average_soap(crystals, settings)
    places = tsne_map(features, settings, seed)
    if output is not None:
        ids = np.array([crystal.id.encode() for crystal in crystals])
        write_arrays(output, {"ids": ids, "features": features, "map": places})
    if as_json:
        rows = [row_of_crystal(crystal) for crystal in crystals]
        show_json(replace(row, map_x=float(x), map_y=float(y)) for row, (x, y) in zip(rows, places, strict=True))
        return
    table = Table("id", "formula", "map x", "map y")
    for crystal, (x, y) in zip(crystals, places, strict=True):
        table.add_row(crystal.id, crystal.formula, f"{x:.3f}", f"{y:.3f}")
    out.print(table)
    out.print(f"{features.shape[1]} features of {len(crystals)} crystals" + (f" in {output}" if output else ""))

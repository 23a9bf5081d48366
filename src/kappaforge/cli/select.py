"""``kappaforge select``: choose few of many."""

from __future__ import annotations

from typing import Annotated

import typer

from kappaforge.cli.files import read_crystals, write_crystals
from kappaforge.cli.machine import show_json
from kappaforge.cli.options import AsJson, InputPaths, OutputPath
from kappaforge.cli.terminal import out
from kappaforge.errors import InputError, suggestion


def select(
    paths: InputPaths,
    output: OutputPath = None,
    n: Annotated[int, typer.Option("-n", min=0, help="Farthest points to pick.")] = 50,
    near: Annotated[
        list[str] | None, typer.Option("--near", help="Pick the neighbours of this id instead; may be repeated.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Neighbours of each --near.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Pick the farthest points among crystals by their SOAP vectors, or the nearest neighbours of some."""
    from kappaforge.cli.rows import row_of_crystal
    from kappaforge.describe.settings import DescribeSettings
    from kappaforge.describe.soap import average_soap
    from kappaforge.select.farthest import farthest_points
    from kappaforge.select.neighbours import nearest_neighbours

    crystals = read_crystals(paths)
    features = average_soap(crystals, DescribeSettings())
    if near:
        index_of = {crystal.id: index for index, crystal in enumerate(crystals)}
        for name in near:
            if name not in index_of:
                raise InputError(f"--near: there is no crystal {name!r}{suggestion(name, index_of)}")
        nearest = nearest_neighbours(features, [index_of[name] for name in near], k)
        picks = list(dict.fromkeys(int(index) for index in nearest.ravel() if index >= 0))
    else:
        picks = farthest_points(features, n).tolist()
    chosen = [crystals[index] for index in picks]
    if output is not None and chosen:
        write_crystals(chosen, output)
    role = "neighbour" if near else "benchmark"
    if as_json:
        show_json(row_of_crystal(crystal, role=role) for crystal in chosen)
        return
    for rank, crystal in enumerate(chosen, 1):
        out.print(f"{rank:4d}  {crystal.id}  {crystal.formula}", highlight=False)
    if output is not None and chosen:
        out.print(f"in {output}", highlight=False, soft_wrap=True)

"""``kappaforge generate``: propose crystals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kappaforge.cli.files import spread, write_crystals
from kappaforge.cli.machine import show_json
from kappaforge.cli.options import AsJson, Seed, Workers, complete_generator
from kappaforge.cli.terminal import err, out
from kappaforge.errors import InputError
from kappaforge.generate.settings import GenerateSettings


def generate(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Write the crystals here: .extxyz, or a folder of CIFs.")
    ],
    n: Annotated[int, typer.Option("-n", min=1, help="Number of proposals.")] = 100,
    seed: Seed = 0,
    elements: Annotated[str, typer.Option("--elements", help="Symbols, with commas between: C or B,N.")] = "C",
    generator: Annotated[
        str,
        typer.Option(
            "--generator", "-g", autocompletion=complete_generator, help="flow, random, or the file of a trained one."
        ),
    ] = "flow",
    min_atoms: Annotated[int, typer.Option(min=1, help="Fewest atoms in the primitive cell.")] = 2,
    max_atoms: Annotated[int, typer.Option(min=1, help="Most atoms in the primitive cell.")] = 12,
    space_groups: Annotated[
        str, typer.Option(help="Numbers of space groups, with commas between; empty for all.")
    ] = "",
    min_operations: Annotated[
        int, typer.Option(min=1, help="Fewest operations of the point group (learned generators).")
    ] = 4,
    enumerated: Annotated[
        float, typer.Option(min=0, max=1, help="Share of sites from tables, not from data (learned generators).")
    ] = GenerateSettings.enumerated,
    steps: Annotated[int, typer.Option(min=0, help="Predictions per crystal; 0 for the generator's own number.")] = 0,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Propose crystals; number i of a seed is the same crystal whatever n is."""
    from kappaforge.campaign import tasks
    from kappaforge.cli.rows import row_of_crystal
    from kappaforge.generate import registry

    settings = GenerateSettings(
        generator=generator,
        n=n,
        elements=tuple(symbol.strip() for symbol in elements.split(",")),
        min_atoms=min_atoms,
        max_atoms=max_atoms,
        space_groups=_numbers(space_groups),
        min_operations=min_operations,
        enumerated=enumerated,
        steps=steps,
    )
    size = registry.load(generator, settings).batch
    batches = [(settings, seed, first, min(size, n - first)) for first in range(0, n, size)]
    results = spread("generate", tasks.generate, batches, workers, quiet=as_json)
    proposals = [proposal for batch in results for proposal in batch]
    crystals = [proposal.crystal for proposal in proposals if proposal.crystal is not None]
    for proposal in proposals:
        if proposal.crystal is None:
            err.print(f"{proposal.id}: {proposal.reason}", highlight=False)
    if not crystals:
        raise InputError(f"none of {n} proposals became a crystal; widen --min-atoms/--max-atoms or raise -n")
    write_crystals(crystals, output)
    if as_json:
        show_json(row_of_crystal(crystal) for crystal in crystals)
    else:
        out.print(f"{len(crystals)} crystals of {n} proposals in {output}", highlight=False, soft_wrap=True)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise InputError(f"--space-groups: expected numbers with commas between, got {text!r}") from None

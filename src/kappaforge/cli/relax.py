"""``kappaforge relax``: bring crystals to the nearest minimum of a potential."""

from __future__ import annotations

from typing import Annotated

import typer

from kappaforge.cli.files import read_crystals, spread, write_crystals
from kappaforge.cli.machine import show_json
from kappaforge.cli.options import AsJson, InputPaths, OutputPath, PotentialName, Workers, choices
from kappaforge.cli.terminal import out
from kappaforge.potentials.settings import DEFAULT

BATCH = 16


def relax(
    paths: InputPaths,
    output: OutputPath = None,
    potential: PotentialName = DEFAULT,
    fmax: Annotated[float, typer.Option("--fmax", help="Largest force left, eV/Å.")] = 1e-3,
    max_steps: Annotated[int, typer.Option("--max-steps", help="Give up after so many steps.")] = 1000,
    pressure: Annotated[float, typer.Option("--pressure", help="External pressure, GPa.")] = 0.0,
    minimiser: Annotated[
        str,
        typer.Option(
            "--minimiser", autocompletion=choices("lbfgs", "fire", "fire-lbfgs"), help="lbfgs, fire or fire-lbfgs."
        ),
    ] = "lbfgs",
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Relax cell and positions; crystals that fail are reported and not written."""
    from rich.table import Table

    from kappaforge.campaign import tasks
    from kappaforge.campaign.memo import chunks
    from kappaforge.cli.rows import row_of_relaxation
    from kappaforge.potentials.base import require_elements
    from kappaforge.potentials.registry import load
    from kappaforge.relax.settings import RelaxSettings

    crystals = read_crystals(paths)
    require_elements(load(potential), frozenset().union(*(crystal.elements for crystal in crystals)))
    settings = RelaxSettings(fmax_ev_per_ang=fmax, max_steps=max_steps, pressure_gpa=pressure, minimiser=minimiser)
    batches = [(batch, potential, settings) for batch in chunks(crystals, BATCH)]
    results = spread("relax", tasks.relax_batch, batches, workers, quiet=as_json)
    records = [record for batch in results for record in batch]
    relaxed = [record.crystal for record in records if record.status == "ok"]
    if output is not None and relaxed:
        write_crystals(relaxed, output)
    if as_json:
        show_json(row_of_relaxation(record, potential) for record in records)
        return
    table = Table("id", "formula", "E (eV/atom)", "fmax (eV/Å)", "stress (GPa)", "steps", "status", "reason")
    for record in records:
        table.add_row(
            record.id,
            record.crystal.formula,
            f"{record.energy_ev_per_atom:.4f}",
            f"{record.fmax_ev_per_ang:.1e}",
            f"{record.stress_max_gpa:.1e}",
            str(record.steps),
            record.status,
            record.reason,
        )
    out.print(table)
    out.print(f"{len(relaxed)} of {len(records)} relaxed" + (f", in {output}" if output and relaxed else ""))

"""``kappaforge ladder``: κ of many crystals, each computed only as far as it may matter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kappaforge.cli.files import read_crystals
from kappaforge.cli.options import AsJson, InputPaths, PotentialName, Workers
from kappaforge.cli.terminal import Bars, out, show_json
from kappaforge.potentials.settings import DEFAULT


def ladder(
    paths: InputPaths,
    run: Annotated[Path, typer.Option(help="Folder that keeps every finished crystal; made where missing.")],
    potential: PotentialName = DEFAULT,
    limit: Annotated[float, typer.Option(help="κ of interest, W/(m·K).")] = 800.0,
    sigmas: Annotated[float, typer.Option(help="Error allowed where a crystal is left behind.")] = 2.0,
    calibration: Annotated[int, typer.Option(help="Crystals that climb at any rate, low and high.")] = 8,
    temperature: Annotated[float, typer.Option("--temperature", "-T", help="Temperature, K.")] = 300.0,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Compute κ of many crystals at the least cost: phonons of all, RTA of some, the whole equation of few.

    A crystal is left behind only when its κ is expected below the limit within the error allowed, and its row says so.
    """
    from rich.table import Table

    from kappaforge.campaign.ladder import LadderSettings, climb
    from kappaforge.campaign.memo import Memo
    from kappaforge.cli.rows import row_of_candidate
    from kappaforge.engine.settings import EngineSettings
    from kappaforge.potentials.base import require_elements
    from kappaforge.potentials.registry import load
    from kappaforge.relax.settings import RelaxSettings
    from kappaforge.screen.settings import ScreenSettings
    from kappaforge.store.run_folder import RunFolder
    from kappaforge.transport.settings import KappaSettings

    crystals = read_crystals(paths)
    loaded = load(potential)
    require_elements(loaded, frozenset().union(*(crystal.elements for crystal in crystals)))
    run.mkdir(parents=True, exist_ok=True)
    engine = EngineSettings(workers=workers)
    with RunFolder.open(run, write=True) as folder, Bars(quiet=as_json) as bars, Memo(folder, engine, bars) as memo:
        climbed = climb(
            memo,
            crystals,
            potential,
            loaded.digest,
            LadderSettings(limit, sigmas, calibration),
            relax=RelaxSettings(),
            kappa=KappaSettings(temperature_k=temperature),
            screen=ScreenSettings(),
        )
    if as_json:
        show_json(row_of_candidate(rung.record, reason=rung.reason, stage=rung.level) for rung in climbed.rungs)
        return
    table = Table("id", "atoms", "space group", "reached", "κ(RTA)", "κ(LBTE)", "± mesh", "why no further", box=None)
    ranked = sorted(climbed.rungs, key=lambda rung: -(rung.record.kappa_max_w_per_mk or rung.expected_w_per_mk or 0))
    for rung in ranked:
        row = row_of_candidate(rung.record)
        numbers = (row.kappa_rta_max_w_per_mk, row.kappa_lbte_max_w_per_mk, row.kappa_mesh_error_w_per_mk)
        shown = ["" if number is None else f"{number:.0f}" for number in numbers]
        table.add_row(row.id, str(row.n_atoms), str(row.space_group_number), rung.level, *shown, rung.reason)
    out.print(table)
    for name, line in (("RTA from phonons", climbed.from_harmonic), ("LBTE from RTA", climbed.from_rta)):
        if line is not None:
            out.print(
                f"{name}: within a factor of {line.factor:.2f} ({sigmas:g} standard deviations, {line.n} crystals)",
                highlight=False,
            )

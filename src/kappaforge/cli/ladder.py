"""``kappaforge ladder``: κ of many crystals, each computed only as far as it may matter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kappaforge.cli.files import memory, read_crystals
from kappaforge.cli.machine import show_json
from kappaforge.cli.members import members_of
from kappaforge.cli.options import AsJson, InputPaths, PotentialName, Workers
from kappaforge.cli.terminal import out
from kappaforge.potentials.settings import DEFAULT

if TYPE_CHECKING:
    from kappaforge.store.row import Row


def ladder(
    paths: InputPaths,
    run: Annotated[Path, typer.Option(help="Folder that keeps every finished crystal; made where missing.")],
    potential: PotentialName = DEFAULT,
    limit: Annotated[float, typer.Option(help="κ of interest, W/(m·K).")] = 800.0,
    sigmas: Annotated[float, typer.Option(help="Error allowed where a crystal is left behind.")] = 2.0,
    calibration: Annotated[int, typer.Option(help="Crystals that climb at any rate, low and high.")] = 8,
    temperature: Annotated[float, typer.Option("--temperature", "-T", help="Temperature, K.")] = 300.0,
    committee: Annotated[
        bool, typer.Option(help="For κ at the limit and above: its spread among the potential's committee.")
    ] = True,
    cutoffs: Annotated[
        bool, typer.Option("--cutoffs", help="For them too: κ with larger supercells and a wider cutoff.")
    ] = False,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Compute κ of many crystals at the least cost: phonons of all, RTA of some, the whole equation of few.

    A crystal is left behind only when its κ is expected below the limit within the error allowed, and its row says so.
    """
    from rich.table import Table

    from kappaforge.campaign.ladder import LadderSettings, climb
    from kappaforge.cli.rows import row_of_candidate
    from kappaforge.potentials.base import require_elements
    from kappaforge.potentials.registry import load
    from kappaforge.relax.settings import RelaxSettings
    from kappaforge.screen.settings import ScreenSettings
    from kappaforge.transport.error_settings import ErrorBarSettings
    from kappaforge.transport.settings import KappaSettings

    crystals = read_crystals(paths)
    loaded = load(potential)
    require_elements(loaded, frozenset().union(*(crystal.elements for crystal in crystals)))
    with memory(run, workers, quiet=as_json) as memo:
        climbed = climb(
            memo,
            crystals,
            potential,
            loaded.digest,
            LadderSettings(limit, sigmas, calibration),
            relax=RelaxSettings(),
            kappa=KappaSettings(temperature_k=temperature),
            screen=ScreenSettings(),
            errors=ErrorBarSettings(committee, cutoffs),
            members=members_of(potential) if committee else (),
        )
    if as_json:
        show_json(
            row_of_candidate(rung.record, rung.error_bar, reason=rung.reason, stage=rung.level)
            for rung in climbed.rungs
        )
        return
    table = Table("id", "atoms", "space group", "reached", "κ(RTA)", "κ(LBTE)", "± mesh", "± all", "spread", box=None)
    table.add_column("why no further")
    ranked = sorted(climbed.rungs, key=lambda rung: -(rung.record.kappa_max_w_per_mk or rung.expected_w_per_mk or 0))
    for rung in ranked:
        row = row_of_candidate(rung.record, rung.error_bar)
        kappas = (row.kappa_rta_max_w_per_mk, row.kappa_lbte_max_w_per_mk)
        errors = (row.kappa_mesh_error_w_per_mk, row.kappa_error_w_per_mk)
        shown = ["" if number is None else f"{number:.0f}" for number in (*kappas, *errors)]
        reason = "; ".join(filter(None, (rung.reason, row.kappa_error_notes)))
        where = (row.id, str(row.n_atoms), str(row.space_group_number), rung.level)
        table.add_row(*where, *shown, _spread(row), reason)
    out.print(table)
    for name, line in (("RTA from phonons", climbed.from_harmonic), ("LBTE from RTA", climbed.from_rta)):
        if line is not None:
            out.print(
                f"{name}: within a factor of {line.factor:.2f} ({sigmas:g} standard deviations, {line.n} crystals)",
                highlight=False,
            )


def _spread(row: Row) -> str:
    """Return the committee's spread, and of how many members where not all are in it."""
    if row.kappa_committee_members is None:
        return ""
    stable, members = row.kappa_committee_stable, row.kappa_committee_members
    spread = "–" if row.kappa_committee_spread is None else f"{row.kappa_committee_spread:.1%}"
    return spread if stable == members else f"{spread} ({stable} of {members})"

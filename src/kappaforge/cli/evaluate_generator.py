"""``kappaforge evaluate-generator``: what a generator's crystals are worth, before and after relaxation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kappaforge.cli.files import memory, read_crystals
from kappaforge.cli.machine import show_json
from kappaforge.cli.options import AsOneJson, PotentialName, Seed, Workers, complete_generator
from kappaforge.cli.terminal import out, show_table
from kappaforge.potentials.settings import DEFAULT

if TYPE_CHECKING:
    from rich.table import Table

    from kappaforge.campaign.evaluate_generator import Evaluation
    from kappaforge.campaign.evaluation import GrowthPoint, Yield
    from kappaforge.campaign.evaluation_raw import RawMetrics

NONE = "–"
ROWS_OF_GROWTH = 10


def evaluate_generator(
    generator: Annotated[
        str,
        typer.Argument(
            metavar="GENERATOR", autocompletion=complete_generator, help="A name, or the file of a trained one."
        ),
    ],
    run: Annotated[Path, typer.Option("--run", help="Folder that keeps what was computed; the same again goes on.")],
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="Training crystals: what is not novel; may be repeated. Else the known carbons."),
    ] = None,
    test: Annotated[
        list[Path] | None,
        typer.Option("--test", help="Crystals the generator has not seen, for coverage, METRe and the like."),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Proposals of the generator.")] = 1000,
    controls: Annotated[
        int, typer.Option("--controls", min=0, help="Proposals of each control: random, perturbed training crystals.")
    ] = 200,
    potential: PotentialName = DEFAULT,
    elements: Annotated[str, typer.Option("--elements", help="Symbols, with commas between: C or B,N.")] = "C",
    min_atoms: Annotated[int, typer.Option(min=1, help="Fewest atoms in the primitive cell.")] = 2,
    max_atoms: Annotated[int, typer.Option(min=1, help="Most atoms in the primitive cell.")] = 12,
    steps: Annotated[int, typer.Option(min=0, help="Predictions per crystal; 0 for the generator's own number.")] = 0,
    seed: Seed = 0,
    workers: Workers = 0,
    as_json: AsOneJson = False,
) -> None:
    """Judge a generator: validity, coverage and matches of its raw crystals; the yield of distinct, symmetric ones.

    The yield is counted after relaxation, per 1,000 proposals and per CPU-hour, beside controls that need no training.
    """
    from kappaforge.campaign.evaluate_generator import evaluate_generator as evaluate
    from kappaforge.campaign.evaluation import EvaluationSettings
    from kappaforge.generate.settings import GenerateSettings
    from kappaforge.potentials.registry import load

    settings = GenerateSettings(
        generator=generator,
        elements=tuple(symbol.strip() for symbol in elements.split(",")),
        min_atoms=min_atoms,
        max_atoms=max_atoms,
        steps=steps,
    )
    training, unseen = read_crystals(data or []), read_crystals(test or [])
    with memory(run, workers, quiet=as_json) as memo:
        evaluation = evaluate(
            memo,
            settings,
            load(potential),
            n=n,
            n_controls=controls,
            data=training,
            test=unseen,
            evaluation=EvaluationSettings(seed=seed),
        )
    if as_json:
        show_json([evaluation.to_json()])
    else:
        _show(evaluation)


def _show(evaluation: Evaluation) -> None:
    from kappaforge.generate.metrics.published import NOT_COMPARABLE

    show_table(_chemistry_table(evaluation))
    if any(metrics.coverage for metrics in evaluation.raw.values()) and evaluation.elements == ("C",):
        show_table(_published_table(evaluation))
        for line in NOT_COMPARABLE:
            out.print(f"- {line}", highlight=False)
    if evaluation.note:
        out.print(f"- {evaluation.note}", highlight=False)
    show_table(_yield_table(evaluation))
    show_table(_growth_table(evaluation.yields[0]))
    for each in evaluation.yields:
        found = ", ".join(f"{name} ({first})" for name, first in each.known) or "none"
        out.print(f"Known crystals from {each.name}: {found}", highlight=False)
        out.print(f"  not: {', '.join(each.missing) or 'none'}", highlight=False)


def _chemistry_table(evaluation: Evaluation) -> Table:
    from rich.table import Table

    title = "Before relaxation, % of the proposals"
    table = Table("source", "n", "valid", "apart", "3-4 neighbours", "METRe (%)", "cRMSE", "CPU-s each", title=title)
    for name, raw in evaluation.raw.items():
        table.add_row(
            name,
            str(raw.n),
            _percent(raw.structurally_valid),
            _percent(raw.apart),
            _percent(raw.coordinated),
            _percent(raw.metre.rate if raw.metre else None),
            _number(raw.metre.corrected_rmse if raw.metre else None),
            f"{raw.cpu_seconds_per_crystal:.3g}",
        )
    return table


def _published_table(evaluation: Evaluation) -> Table:
    from rich.table import Column, Table

    from kappaforge.generate.metrics.published import CARBON_24

    headers = ("match (%)", "RMSE", "valid (%)", "COV-R (%)", "COV-P (%)", "W(ρ)", "W(E)")
    title = "Carbon-24 by CDVAE's metrics; W are Wasserstein distances to the test set in g/cm³ and eV/atom"
    table = Table(Column("model", no_wrap=True), *headers, Column("source", no_wrap=True), title=title)
    for name, raw in evaluation.raw.items():
        table.add_row(name, *_cdvae_cells(raw), "this run")
    for model in CARBON_24:
        figures = (
            (model.match_rate_percent, 2),
            (model.rmse, 4),
            (model.valid_percent, 1),
            (model.cov_recall_percent, 2),
            (model.cov_precision_percent, 2),
            (model.density_wasserstein_g_per_cm3, 4),
            (model.energy_wasserstein_ev_per_atom, 4),
        )
        table.add_row(model.model, *(_number(value, digits) for value, digits in figures), model.source.split(",")[0])
    return table


def _cdvae_cells(raw: RawMetrics) -> list[str]:
    return [
        _percent(raw.reconstruction.rate if raw.reconstruction else None),
        _number(raw.reconstruction.rmse if raw.reconstruction else None),
        _percent(raw.structurally_valid),
        _percent(raw.coverage.recall if raw.coverage else None),
        _percent(raw.coverage.precision if raw.coverage else None),
        _number(raw.density_wasserstein_g_per_cm3),
        _number(raw.energy_wasserstein_ev_per_atom),
    ]


def _yield_table(evaluation: Evaluation) -> Table:
    from rich.table import Table

    rows = {
        "proposals": lambda each: each.generated,
        "converged": lambda each: each.converged,
        "distinct": lambda each: each.distinct,
        "  not in the data": lambda each: each.distinct_novel,
        "distinct and symmetric": lambda each: each.distinct_symmetric,
        "  and not in the data": lambda each: each.distinct_symmetric_novel,
        "  more than 0.1 eV/atom below the ground state: false": lambda each: each.distinct_symmetric_false,
        "  up to 0.5 eV/atom above it: low": lambda each: each.distinct_symmetric_low,
        "    per 1,000 proposals": lambda each: f"{each.per_thousand(each.distinct_symmetric_low):.0f}",
        "    per CPU-hour": lambda each: f"{each.per_cpu_hour(each.distinct_symmetric_low):.0f}",
        "CPU-s of generation, each": lambda each: f"{each.cpu_seconds_generate / each.generated:.3g}",
        "CPU-s of relaxation, each": lambda each: f"{each.cpu_seconds_relax / each.generated:.3g}",
    }
    table = Table("", *(each.name for each in evaluation.yields), title=f"After relaxation with {evaluation.potential}")
    for name, value in rows.items():
        table.add_row(name, *(str(value(each)) for each in evaluation.yields))
    return table


def _growth_table(each: Yield) -> Table:
    from rich.table import Table

    table = Table(
        "proposals", "distinct", "and symmetric", "and low", title=f"Growth with the proposals of {each.name}"
    )
    for point in _thinned(each.curve):
        counts = (point.generated, point.distinct, point.distinct_symmetric, point.distinct_symmetric_low)
        table.add_row(*map(str, counts))
    return table


def _thinned(curve: Sequence[GrowthPoint]) -> list[GrowthPoint]:
    """Return about ten points of the curve, the last among them."""
    step = max(1, len(curve) // ROWS_OF_GROWTH)
    return list(curve[::-1][::step][::-1])


def _percent(fraction: float | None) -> str:
    return NONE if fraction is None else f"{100 * fraction:.1f}"


def _number(value: float | None, digits: int = 4) -> str:
    return NONE if value is None else f"{value:.{digits}f}"

"""``kappaforge report``: tables, figures and the offline page of a run as it stands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kappaforge.cli.machine import show_json
from kappaforge.cli.options import AsJson, RunPath
from kappaforge.cli.terminal import out, show_paths, show_table

if TYPE_CHECKING:
    from kappaforge.store.published import Published


def report(
    path: RunPath,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write into this folder; RUN/report unless given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write tables, figures and the offline page of a run, also while it is going on."""
    from kappaforge.store.published import read_published

    show_report(read_published(path), path, output, as_json=as_json)


def show_report(published: Published, path: Path, output: Path | None = None, *, as_json: bool) -> None:
    """Write the report of a run, and print its rows, or the ranked κ and the paths of the files."""
    from kappaforge.report.tables import ranked_table
    from kappaforge.report.write import write_report
    from kappaforge.store.evidence import read_evidence
    from kappaforge.store.row import ranked

    evidence, distillation = read_evidence(path)
    paths = write_report(published, output or path / "report", evidence, distillation)
    if as_json:
        show_json(ranked(published.rows))
        return
    reached = [row for row in published.rows if row.stage == "kappa"]
    if reached:
        show_table(ranked_table(reached))
    others = len(published.rows) - len(reached)
    out.print(
        f"{len(reached)} crystals taken to κ; {others} others, each with its reason, in the table", highlight=False
    )
    show_paths(paths)

"""``kappaforge report``: tables, figures and the offline page of a run as it stands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kappaforge.cli.machine import show_json
from kappaforge.cli.options import AsJson, RunPath
from kappaforge.cli.terminal import out, show_paths, show_table
from kappaforge.errors import InputError

if TYPE_CHECKING:
    from kappaforge.store.published import Published


def report(
    path: RunPath,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder to write; else RUN/report.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write tables, figures and the offline page of a run, also while it is going on."""
    show_report(read_published(path), output or path / "report", as_json=as_json)


def read_published(path: Path) -> Published:
    """Return what a run has to show; raises `InputError` where that is nothing yet."""
    from kappaforge.campaign.campaign import PUBLISHED
    from kappaforge.store.run_folder import RunFolder

    with RunFolder.open(path) as folder:
        try:
            published: Published = folder.recall(PUBLISHED)
        except KeyError:
            raise InputError(f"{path} has nothing to report yet; go on with: kappaforge run {path}") from None
    return published


def show_report(published: Published, folder: Path, *, as_json: bool) -> None:
    """Write the report of a run into a folder, and print its rows, or the ranked κ and the paths of the files."""
    from kappaforge.report.tables import ranked_table
    from kappaforge.report.write import write_report
    from kappaforge.store.row import ranked

    paths = write_report(published, folder)
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

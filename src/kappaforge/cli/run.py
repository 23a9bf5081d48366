"""``kappaforge run`` and ``resume``: do whatever of a campaign has not been done, then report."""

from __future__ import annotations

from typing import Annotated

import typer

from kappaforge.cli.dry_run import foresee
from kappaforge.cli.options import AsJson, RunPath
from kappaforge.cli.report import show_report
from kappaforge.cli.terminal import Bars
from kappaforge.errors import InputError


def run(
    path: RunPath,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the settings, say what each step would cost, and do nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a campaign, or go on with it; ends with the ranked κ table and the paths of the report."""
    from kappaforge.campaign.campaign import Campaign
    from kappaforge.config import load_campaign
    from kappaforge.store.run_folder import CAMPAIGN_FILE, RunFolder

    settings = load_campaign(path / CAMPAIGN_FILE)
    if dry_run:
        foresee(settings, path, as_json=as_json)
        return
    with RunFolder.open(path, write=True) as folder, Bars(quiet=as_json) as bars:
        published = Campaign(settings, folder, bars).run()
    show_report(published, path, as_json=as_json)


def resume(path: RunPath, as_json: AsJson = False) -> None:
    """Go on with a campaign that was interrupted: like run, but only where there is something to go on with."""
    from kappaforge.store.run_folder import DATABASE

    if not (path / DATABASE).exists():
        raise InputError(f"there is nothing to resume in {path}; start it with: kappaforge run {path}")
    run(path, as_json=as_json)

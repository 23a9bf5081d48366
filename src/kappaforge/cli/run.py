"""``kappaforge run`` and ``resume``: do whatever of a campaign has not been done, then report."""

from __future__ import annotations

from kappaforge.cli.options import AsJson, RunPath
from kappaforge.cli.terminal import Bars, show_json, show_paths, show_table
from kappaforge.errors import InputError


def run(path: RunPath, as_json: AsJson = False) -> None:
    """Run a campaign, or go on with it; ends with the ranked κ table and the paths of the report."""
    from kappaforge.campaign.campaign import Campaign
    from kappaforge.config import load_campaign
    from kappaforge.report.tables import ranked_table
    from kappaforge.report.write import write_report
    from kappaforge.store.row import ranked
    from kappaforge.store.run_folder import CAMPAIGN_FILE, RunFolder

    settings = load_campaign(path / CAMPAIGN_FILE)
    with RunFolder.open(path, write=True) as folder, Bars(quiet=as_json) as bars:
        published = Campaign(settings, folder, bars).run()
    paths = write_report(published, path / "report")
    if as_json:
        show_json(ranked(published.rows))
        return
    show_table(ranked_table(published.rows))
    show_paths(paths)


def resume(path: RunPath, as_json: AsJson = False) -> None:
    """Go on with a campaign that was interrupted: like run, but only where there is something to go on with."""
    from kappaforge.store.run_folder import DATABASE

    if not (path / DATABASE).exists():
        raise InputError(f"there is nothing to resume in {path}; start it with: kappaforge run {path}")
    run(path, as_json)

"""``kappaforge report``: tables, figures and the offline page of a run as it stands."""

from __future__ import annotations

from kappaforge.cli.options import AsJson, RunPath
from kappaforge.cli.terminal import show_json, show_paths, show_table
from kappaforge.errors import InputError


def report(path: RunPath, as_json: AsJson = False) -> None:
    """Write tables, figures and the offline page of a run, also while it is going on."""
    from kappaforge.campaign.campaign import PUBLISHED
    from kappaforge.report.tables import ranked_table
    from kappaforge.report.write import write_report
    from kappaforge.store.row import ranked
    from kappaforge.store.run_folder import RunFolder

    with RunFolder.open(path) as folder:
        try:
            published = folder.recall(PUBLISHED)
        except KeyError:
            raise InputError(f"{path} has nothing to report yet; go on with: kappaforge run {path}") from None
    paths = write_report(published, path / "report")
    if as_json:
        show_json(ranked(published.rows))
        return
    show_table(ranked_table(published.rows))
    show_paths(paths)

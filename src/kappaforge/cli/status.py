"""``kappaforge status``: how far a campaign is."""

from __future__ import annotations

import json

from kappaforge.cli.options import AsJson, RunPath
from kappaforge.cli.terminal import out


def status(path: RunPath, as_json: AsJson = False) -> None:
    """Show the tasks done of each step, the crystals that came through and why the others left."""
    from rich.table import Table

    from kappaforge.campaign.campaign import PUBLISHED
    from kappaforge.store.run_folder import RunFolder

    with RunFolder.open(path) as folder:
        progress = folder.progress()
        seconds = folder.seconds_by_step()
        try:
            published = folder.recall(PUBLISHED)
        except KeyError:
            published = None
    counts = published.counts if published else {}
    discards = published.discards if published else {}
    if as_json:
        steps = [{"step": step, "done": done, "total": total} for step, done, total in progress]
        print(json.dumps({"steps": steps, "seconds": seconds, "crystals": counts, "discards": discards}))
        return
    table = Table("step", "tasks", "task time (s)", title=f"{path}")
    for step, done, total in progress:
        table.add_row(step, f"{done} of {total}", f"{seconds.get(step, 0.0):.1f}")
    out.print(table)
    crystals = Table("after", "crystals", "left here because of")
    for step, count in counts.items():
        reasons = "; ".join(f"{reason}: {n}" for reason, n in discards.get(step, {}).items())
        crystals.add_row(step, str(count), reasons)
    out.print(crystals)

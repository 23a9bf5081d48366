"""``kappaforge run --dry-run``: what a campaign would cost, with nothing computed and nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kappaforge.cli.machine import show_json
from kappaforge.cli.terminal import duration, out

if TYPE_CHECKING:
    from kappaforge.campaign.estimate import Cost, Estimate
    from kappaforge.config import CampaignSettings


def foresee(settings: CampaignSettings, path: Path, *, as_json: bool) -> None:
    """Print the estimate of a campaign, or of what is left of it."""
    from kappaforge.campaign.estimate import estimate
    from kappaforge.store.run_folder import DATABASE, RunFolder

    database = path / DATABASE
    if database.exists() and database.stat().st_size:
        with RunFolder.open(path) as folder:
            found = estimate(settings, folder)
    else:
        found = estimate(settings)
    if as_json:
        show_json([_content(found)])
    else:
        _show(found, path)


def _content(found: Estimate) -> dict[str, object]:
    steps = [vars(cost) | {"left": cost.left, "seconds": cost.seconds} for cost in found.costs]
    return {
        "steps": steps,
        "seconds": found.seconds,
        "wall_s": found.wall_s,
        "workers": found.workers,
        "unknown": found.unknown,
        "reference": found.reference.about,
    }


def _show(found: Estimate, path: Path) -> None:
    from rich.table import Table

    from kappaforge.campaign.estimate import REFERENCE

    table = Table("step", title=f"{path}: what is left to do")
    for header in ("left", "of about", "", "s each", "rate of", "workers' time"):
        table.add_column(header, justify="left" if header in ("", "rate of") else "right", no_wrap=True)
    for cost in found.costs:
        each = "" if cost.seconds_each is None else f"{cost.seconds_each:.3g}"
        table.add_row(cost.step, str(cost.left), str(cost.total), cost.unit, each, cost.source, _spent(cost))
    out.print(table)
    if not any(cost.left for cost in found.costs):
        _say(f"nothing is left to do; see: kappaforge report {path}")
        return
    workers = ", ".join(f"{n} {pool}" for pool, n in sorted(found.workers.items()))
    _say(
        f"about {duration(found.seconds)} of workers' time, {duration(found.wall_s)} with as many as there are "
        f"({workers}); nothing was computed or written"
    )
    if found.unknown:
        names = ", ".join(found.unknown)
        _say(f"not in it, as nobody has measured them: {names}; once some of their tasks are done, ask again")
    about = found.reference.about
    if any(cost.source == REFERENCE and cost.left for cost in found.costs):
        _say(
            f"reference: {about['machine']}, {about['date']}, kappaforge {about['kappaforge']}, beside "
            f"{about['beside']}; counts after the screening and κ of large crystals may be off by a factor of two or "
            "three, and the run's own rates take over as its tasks are done"
        )


def _say(words: str) -> None:
    out.print(words, highlight=False, soft_wrap=True)


def _spent(cost: Cost) -> str:
    return "?" if cost.seconds is None else duration(cost.seconds) if cost.left else ""

"""``kappaforge status``: how far a campaign is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kappaforge.cli.machine import show_json
from kappaforge.cli.options import AsOneJson, RunPath
from kappaforge.cli.terminal import duration, out

if TYPE_CHECKING:
    from kappaforge.store.driver import Driver
    from kappaforge.store.run_folder import StepProgress


def status(path: RunPath, as_json: AsOneJson = False) -> None:
    """Show who drives the run, the tasks of each step, rate and remaining time, and why crystals left."""
    from rich.table import Table

    from kappaforge.store.driver import driver_of
    from kappaforge.store.published import PUBLISHED
    from kappaforge.store.run_folder import RunFolder

    with RunFolder.open(path) as folder:
        progress = folder.progress()
        seconds = folder.seconds_by_step()
        try:
            published = folder.recall(PUBLISHED)
        except KeyError:
            published = None
    driver = driver_of(path)
    counts = published.counts if published else {}
    discards = published.discards if published else {}
    if as_json:
        steps = [_plain(step) for step in progress]
        who = None if driver is None else {"pid": driver.pid, "host": driver.host, "alive": driver.alive}
        show_json([{"driver": who, "steps": steps, "seconds": seconds, "crystals": counts, "discards": discards}])
        return
    out.print(_driven(driver, progress), highlight=False)
    running = driver is not None and driver.alive is not False
    table = Table("step", "tasks", "crystals so far", "task time (s)", "tasks/min", "remaining", title=f"{path}")
    for step in progress:
        rate, remaining = step.tasks_per_s, step.remaining_s
        table.add_row(
            step.step,
            f"{step.done} of {step.total}",
            _counted(step.outcomes),
            f"{seconds.get(step.step, 0.0):.1f}",
            f"{rate * 60:.3g}" if rate else "",
            duration(remaining) if running and remaining else "",
        )
    out.print(table)
    crystals = Table("after", "crystals", "left here because of")
    for name, count in counts.items():
        crystals.add_row(name, str(count), _counted(discards.get(name, {})))
    out.print(crystals)


def _plain(step: StepProgress) -> dict[str, Any]:
    return {
        "step": step.step,
        "done": step.done,
        "total": step.total,
        "outcomes": dict(step.outcomes),
        "tasks_per_s": step.tasks_per_s,
        "remaining_s": step.remaining_s,
    }


def _driven(driver: Driver | None, progress: list[StepProgress]) -> str:
    """Say whether somebody is at work; the last sign of it is that of the last task that was finished."""
    last = max((step.updated_at for step in progress), default=0.0)
    ago = f", the last task was finished {duration(time.time() - last)} ago" if last else ""
    if driver is None:
        return f"not running{ago}"
    if driver.alive is None:
        return f"driven by {driver}, which cannot be seen from here{ago}"
    return f"driven by {driver}{ago}" if driver.alive else f"its driver, {driver}, was killed{ago}"


def _counted(numbers: Mapping[str, int]) -> str:
    return "; ".join(f"{reason}: {n}" for reason, n in numbers.items())

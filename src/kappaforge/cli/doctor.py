"""``kappaforge doctor``: what is installed, whether it works, and what to install for what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import typer

from kappaforge import __version__
from kappaforge.cli.ending import DONE, FAILED
from kappaforge.cli.machine import show_json
from kappaforge.cli.options import AsOneJson
from kappaforge.cli.terminal import out

if TYPE_CHECKING:
    from kappaforge.cli.checks import Check


def doctor(as_json: AsOneJson = False) -> None:
    """Look at packages, models and their cards, labeling engines, batch systems, threads and GPU.

    Says what to do for what is missing. The exit code is 1 where something is broken that kappaforge cannot do without.
    """
    from kappaforge.cli.checks import BROKEN, all_checks

    checks = list(all_checks())
    broken = any(each.status == BROKEN for each in checks)
    if as_json:
        show_json([{"kappaforge": __version__, "ok": not broken, "checks": [vars(each) for each in checks]}])
    else:
        _show(checks)
    raise typer.Exit(FAILED if broken else DONE)


def _show(checks: Sequence[Check]) -> None:
    from rich.table import Table

    from kappaforge.cli.checks import BROKEN, OK

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_row("kappaforge", __version__)
    for group, found in groupby(checks, key=lambda each: each.group):
        members = list(found)
        table.add_row()
        if group == "packages" or group.startswith("extra "):  # many, and each is but a version
            good = ", ".join(f"{each.name} {each.detail}" for each in members if each.status == OK)
            table.add_row(group, good)
            members = [each for each in members if each.status != OK]
        else:
            table.add_row(group)
        for each in members:
            table.add_row(f"  {each.name}", each.detail if each.status == OK else f"{each.status}: {each.detail}")
            for key, value in each.known.get("card", {}).items():
                table.add_row("", f"{key}: {' '.join(str(value).split())}")
    lacking = [each for each in checks if each.status != OK]
    if lacking:
        table.add_row()
        table.add_row("to have what is missing")
    for each in lacking:
        table.add_row(f"  {each.name}", each.remedy)
    out.print(table, highlight=False)
    broken = [each.name for each in lacking if each.status == BROKEN]
    verdict = f"broken: {', '.join(broken)}" if broken else "everything that kappaforge cannot do without is here"
    out.print(f"\n{verdict}", highlight=False)

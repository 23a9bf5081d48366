"""``kappaforge init``: make a run folder with a campaign's settings to edit."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from kappaforge.cli.machine import show_json
from kappaforge.cli.options import AsOneJson, choices
from kappaforge.cli.terminal import out
from kappaforge.errors import InputError, suggestion


def init(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="The folder to make.")],
    template: Annotated[
        str,
        typer.Option(
            "--template", "-t", autocompletion=choices("carbon", "demo"), help="carbon (the paper's steps) or demo."
        ),
    ] = "carbon",
    keep: Annotated[bool, typer.Option("--keep", help="Leave settings that are there already as they are.")] = False,
    as_json: AsOneJson = False,
) -> None:
    """Make a run folder with a commented campaign.toml."""
    templates = {item.name.removesuffix(".toml"): item for item in (files("kappaforge.cli") / "templates").iterdir()}
    if template not in templates:
        raise InputError(f"--template: there is no {template!r}{suggestion(template, templates)}")
    target = path / "campaign.toml"
    if target.exists():
        if not keep:
            raise InputError(f"{target} exists already; edit it, give another folder, or keep it with --keep")
        if as_json:
            show_json([{"template": None, "written": {}}])
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
        target.write_text(templates[template].read_text(encoding="utf-8"), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror}") from None
    if as_json:
        show_json([{"template": template, "written": {target.name: target}}])
        return
    out.print(f"settings in {target}; start with: kappaforge run {path}", highlight=False, soft_wrap=True)

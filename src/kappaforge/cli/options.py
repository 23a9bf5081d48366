"""Arguments and options that several sub-commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from kappaforge.cli.machine import keep_stdout


def choices(*names: str) -> Callable[[str], list[str]]:
    """Return what completes one of these names in a shell; where none fits, the shell goes on to files."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return complete


def complete_potential(incomplete: str) -> list[str]:
    """Complete the name of a registered potential."""
    from kappaforge.potentials.registry import available

    return choices(*available(), "ase:")(incomplete)


def complete_generator(incomplete: str) -> list[str]:
    """Complete the name of a registered generator."""
    from kappaforge.generate.registry import available

    return choices(*available())(incomplete)


complete_labeler = choices("gpaw", "espresso", "ase:")

RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="The run folder.")]
INPUT_PATHS = typer.Argument(
    metavar="FILES...", help="CIF, POSCAR, extXYZ, .res or CDVAE csv files, or folders of them."
)
InputPaths = Annotated[list[Path], INPUT_PATHS]
OutputPath = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write the crystals here: .extxyz, or a folder of CIFs.")
]
PotentialName = Annotated[
    str,
    typer.Option(
        "--potential",
        "-p",
        autocompletion=complete_potential,
        help="carbon, brenner, tersoff, 7net-0, a .safetensors file, or ase:module.path:factory (ASE).",
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", callback=keep_stdout, help="Print one JSON object per crystal and nothing else.")
]
AsOneJson = Annotated[
    bool, typer.Option("--json", callback=keep_stdout, help="Print one JSON object and nothing else.")
]
Workers = Annotated[int, typer.Option("--workers", "-w", min=0, help="Worker processes; 0 for one per core.")]
Seed = Annotated[int, typer.Option("--seed", "-s", min=0, help="Seed of everything random.")]

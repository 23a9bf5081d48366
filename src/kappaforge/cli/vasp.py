"""``kappaforge vasp write`` and ``kappaforge vasp read``: labels from a VASP that runs elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kappaforge.cli.files import read_crystals
from kappaforge.cli.label import hand_over
from kappaforge.cli.machine import show_json
from kappaforge.cli.options import AsJson, InputPaths
from kappaforge.cli.terminal import out

app = typer.Typer(
    help="Label with VASP where it is licensed: write its inputs, read its results.", no_args_is_help=True
)


@app.command()
def write(
    paths: InputPaths,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for one folder of inputs per crystal.")],
    vdw: Annotated[
        str, typer.Option("--vdw", help="Van-der-Waals functional by pymatgen's name; '' for PBE.")
    ] = "optB88",
    cutoff: Annotated[float, typer.Option("--cutoff", help="Plane-wave cutoff, eV.")] = 600.0,
    kspacing: Annotated[float, typer.Option("--kspacing", help="Largest distance of k points, Å⁻¹ with 2π.")] = 0.15,
    as_json: AsJson = False,
) -> None:
    """Write INCAR, POSCAR and POTCAR.spec for each crystal; add your POTCARs and run VASP in each folder."""
    from kappaforge.cli.rows import row_of_crystal
    from kappaforge.label.settings import VaspSettings
    from kappaforge.label.vasp import write_vasp_inputs

    settings = VaspSettings(vdw=vdw, cutoff_ev=cutoff, kspacing_per_ang=kspacing)
    crystals = read_crystals(paths)
    runs = write_vasp_inputs(crystals, output, settings)
    if as_json:
        rows = [row_of_crystal(crystal).to_dict() for crystal in crystals]
        show_json(row | {"written": {"inputs": folder}} for row, folder in zip(rows, runs, strict=True))
        return
    out.print(f"inputs of {len(runs)} crystals in {output}", highlight=False, soft_wrap=True)


@app.command()
def read(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What kappaforge vasp write wrote, after VASP ran.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the labelled crystals here (extXYZ).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read energies, forces and stresses from the vasprun.xml in each folder."""
    from kappaforge.label.vasp import read_vasp_labels

    hand_over(read_vasp_labels(folder), output, as_json=as_json)

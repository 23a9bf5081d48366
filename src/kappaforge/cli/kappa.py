"""``kappaforge kappa``: the lattice thermal conductivity of the crystals in some files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from kappaforge.cli.files import read_crystals, spread, write_crystals
from kappaforge.cli.options import AsJson, InputPaths, OutputPath, PotentialName, Workers
from kappaforge.cli.terminal import out, show_json
from kappaforge.errors import InputError
from kappaforge.potentials.settings import DEFAULT

if TYPE_CHECKING:
    from kappaforge.campaign.candidate import CandidateRecord


def kappa(
    paths: InputPaths,
    output: OutputPath = None,
    potential: PotentialName = DEFAULT,
    supercell: Annotated[str, typer.Option(help="Supercell of the primitive cell: 3, or 3x3x2.")] = "3x3x3",
    cutoff: Annotated[float, typer.Option(help="Pair cutoff of the third-order displacements, Å; 0 for none.")] = 3.0,
    mesh: Annotated[str, typer.Option(help="Mesh of q points, such as 11x11x11, in place of --mesh-length.")] = "",
    mesh_length: Annotated[float, typer.Option(help="Mesh numbers are the smallest with m·|a| above this, Å.")] = 25.0,
    temperature: Annotated[float, typer.Option("--temperature", "-T", help="Temperature, K.")] = 300.0,
    relax: Annotated[bool, typer.Option("--relax/--no-relax", help="Relax cell and positions first.")] = True,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Compute κ of crystals: relax tightly, check stability, third-order force constants, RTA.

    The tensor is in the Cartesian frame of the file, in W/(m·K). A crystal with imaginary modes gets no κ.
    """
    from kappaforge.campaign import tasks
    from kappaforge.cli.rows import row_of_candidate
    from kappaforge.potentials.base import require_elements
    from kappaforge.potentials.registry import load
    from kappaforge.relax.settings import RelaxSettings
    from kappaforge.screen.settings import ScreenSettings
    from kappaforge.transport.settings import KappaSettings

    crystals = read_crystals(paths)
    require_elements(load(potential), frozenset().union(*(crystal.elements for crystal in crystals)))
    settings = KappaSettings(
        supercell=_three(supercell, "--supercell"),
        fc3_cutoff_ang=cutoff or None,
        mesh=_three(mesh, "--mesh") if mesh else None,
        mesh_length_ang=mesh_length,
        temperature_k=temperature,
    )
    arguments = [(crystal, potential, RelaxSettings(), settings, ScreenSettings(), relax) for crystal in crystals]
    records = spread("kappa", tasks.compute_kappa, arguments, workers, quiet=as_json)
    if output is not None:
        write_crystals([record.crystal for record in records], output)
    if as_json:
        show_json(row_of_candidate(record) for record in records)
        return
    for record in records:
        _show(record)


def _three(text: str, option: str) -> tuple[int, int, int]:
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3 or not re.fullmatch(r"[\dx×, ]+", text) or min(numbers) < 1:
        raise InputError(f"{option}: expected one or three positive numbers such as 3 or 3x3x2, got {text!r}")
    return numbers[0], numbers[1], numbers[2]


def _show(record: CandidateRecord) -> None:
    symmetry = record.symmetry
    out.print(
        f"{record.id}  {record.crystal.formula}, space group {symmetry.space_group_symbol} "
        f"({symmetry.space_group_number}), {symmetry.n_atoms} atoms in the primitive cell",
        highlight=False,
    )
    kappa = record.kappa
    if kappa is None or kappa.kappa_rta_w_per_mk is None or kappa.mesh is None:
        out.print(f"  no κ: {record.status}: {record.reason}\n", highlight=False, soft_wrap=True)
        return
    rows = ["  ".join(f"{value:10.2f}" for value in row) for row in kappa.kappa_rta_w_per_mk]
    facts = {
        f"κ(RTA, {kappa.temperature_k:g} K)": rows[0],
        "W/(m·K)": rows[1],
        "": rows[2],
        "largest eigenvalue": f"{kappa.kappa_rta_max_w_per_mk:.2f} W/(m·K)",
        "mesh": "×".join(map(str, kappa.mesh)),
        "supercell": f"{'×'.join(map(str, kappa.supercell))} of the primitive cell, {kappa.n_supercell_atoms} atoms",
        "displacements": str(kappa.n_displacements),
        "frequencies": f"{kappa.min_frequency_thz:.3f} to {kappa.max_frequency_thz:.2f} THz",
        "potential": record.potential,
    }
    if record.relaxation is not None:
        facts["energy"] = f"{record.relaxation.energy_ev_per_atom:.4f} eV/atom after {record.relaxation.steps} steps"
    parts = {"relax": record.relaxation.seconds if record.relaxation else 0.0, **kappa.seconds_by_part}
    facts["time"] = f"{record.seconds:.1f} s: " + ", ".join(f"{part} {seconds:.1f}" for part, seconds in parts.items())
    for name, fact in facts.items():
        out.print(f"  {name:<20} {fact}", highlight=False, soft_wrap=True)
    out.print()

"""``kappaforge kappa``: the lattice thermal conductivity of the crystals in some files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kappaforge.cli.files import read_crystals, task_runner, write_crystals
from kappaforge.cli.kappa_text import kappa_details, show_candidate
from kappaforge.cli.machine import keep_stdout, show_json, show_text
from kappaforge.cli.members import members_of
from kappaforge.cli.options import INPUT_PATHS, AsJson, OutputPath, PotentialName, Workers, choices
from kappaforge.errors import InputError, KappaforgeError
from kappaforge.files import file_stem
from kappaforge.potentials.settings import DEFAULT

if TYPE_CHECKING:
    from kappaforge.campaign.candidate import CandidateRecord
    from kappaforge.campaign.error_bar import ErrorBar
    from kappaforge.transport.settings import KappaSettings

Cutoff = Annotated[
    float | None,
    typer.Option(help="Displace two atoms together only when closer than this, Å; 0 for all. \\[default: 3]"),
]
MeshLength = Annotated[
    float | None,
    typer.Option(
        help="Mesh numbers are the odd ones next to this times the reciprocal vectors, Å; of the paper's method the "
        "smallest with m·|a| above it. \\[default: 14, paper: 25]"
    ),
]


def kappa(
    paths: Annotated[list[Path] | None, INPUT_PATHS] = None,
    output: OutputPath = None,
    potential: PotentialName = DEFAULT,
    method: Annotated[
        str,
        typer.Option(
            autocompletion=choices("converged", "paper"), help="converged, or paper for exactly the paper's protocol."
        ),
    ] = "converged",
    level: Annotated[
        str,
        typer.Option(
            autocompletion=choices("harmonic", "rta", "full"),
            help="harmonic, rta, or full for the whole transport equation.",
        ),
    ] = "full",
    temperature: Annotated[
        list[float] | None, typer.Option("--temperature", "-T", help="Temperature, K; again for more. \\[default: 300]")
    ] = None,
    isotopes: Annotated[bool, typer.Option(help="Scattering at natural isotopes.")] = False,
    boundary: Annotated[float | None, typer.Option(help="Mean free path that boundaries allow, µm.")] = None,
    coherence: Annotated[bool, typer.Option(help="Add what tunnels between modes (Wigner transport).")] = False,
    mesh: Annotated[str, typer.Option(help="The one mesh of q points, such as 11x11x11; nothing extrapolated.")] = "",
    mesh_length: MeshLength = None,
    extrapolate: Annotated[bool, typer.Option(help="Take a finer mesh too and extrapolate.")] = True,
    collisions: Annotated[
        str,
        typer.Option(
            autocompletion=choices("tetrahedra", "cells", "phono3py"),
            help="tetrahedra or cells (our kernel), or phono3py.",
        ),
    ] = "tetrahedra",
    way: Annotated[
        str,
        typer.Option(
            autocompletion=choices("finite", "fit", "auto"),
            help="Force constants by finite displacements, a fit, or auto.",
        ),
    ] = "auto",
    fc2_distance: Annotated[float, typer.Option(help="Faces of the second-order supercell, Å apart.")] = 10.5,
    fc3_distance: Annotated[float, typer.Option(help="Faces of the third-order supercell, Å apart.")] = 8.7,
    cutoff: Cutoff = None,
    supercell: Annotated[str, typer.Option(help="Of the paper's method: 3, or 3x3x2 primitive cells.")] = "",
    follow: Annotated[int, typer.Option(help="How often to follow an imaginary mode to a lower energy.")] = 0,
    relax: Annotated[bool, typer.Option("--relax/--no-relax", help="Relax cell and positions first.")] = True,
    forces: Annotated[
        Path | None,
        typer.Option(help="Folder of kappaforge displace with the forces in it, in place of FILES and a potential."),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Folder that keeps every finished crystal, to go on from.")] = None,
    modes: Annotated[
        Path | None, typer.Option(help="Write κ mode by mode here, ID/kappa-m*.hdf5 as phono3py does, and draw it.")
    ] = None,
    committee: Annotated[
        bool, typer.Option("--committee", help="κ by each member of the potential's committee too, for its error.")
    ] = False,
    cutoffs: Annotated[
        bool, typer.Option("--cutoffs", help="κ with larger supercells and a wider cutoff too, for its error.")
    ] = False,
    workers: Workers = 0,
    as_json: AsJson = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", callback=keep_stdout, help="Print a table of comma-separated values.")
    ] = False,
) -> None:
    """Compute κ of crystals: relax tightly, check stability, third-order force constants, transport equation.

    Tensors are in the Cartesian frame of the file, in W/(m·K). A crystal with imaginary modes gets no κ.
    """
    from kappaforge.campaign import tasks
    from kappaforge.campaign.error_bar import error_bars
    from kappaforge.cli.rows import row_of_candidate
    from kappaforge.potentials.base import require_elements
    from kappaforge.potentials.registry import load
    from kappaforge.relax.settings import RelaxSettings
    from kappaforge.report.tables import to_csv
    from kappaforge.screen.settings import ScreenSettings
    from kappaforge.transport.error_settings import ErrorBarSettings
    from kappaforge.transport.order_settings import ForceConstantSettings
    from kappaforge.transport.settings import KappaSettings

    if method == "paper" and (
        collisions != "tetrahedra" or way != "auto" or fc2_distance != 10.5 or fc3_distance != 8.7
    ):
        raise InputError(
            "--method paper: its supercells and collisions are fixed; leave --collisions, --way, --fc2-distance and "
            "--fc3-distance out"
        )
    if as_json and as_csv:
        raise InputError("--json and --csv: give one of them")
    if supercell and method != "paper":
        raise InputError("--supercell: only the paper's method has one; give --fc2-distance and --fc3-distance instead")
    temperatures = temperature or [300.0]
    settings = KappaSettings(
        method=method,  # type: ignore[arg-type]  # checked there
        level=level,  # type: ignore[arg-type]
        collisions=collisions,  # type: ignore[arg-type]
        extrapolate=extrapolate,
        mesh=_three(mesh, "--mesh") if mesh else None,
        temperature_k=temperatures[0],
        more_temperatures_k=tuple(temperatures[1:]),
        isotope_scattering=isotopes,
        boundary_length_um=boundary,
        coherence=coherence,
        follow_imaginary=follow,
        force_constants=ForceConstantSettings(
            way=way,  # type: ignore[arg-type]
            fc2_face_distance_ang=fc2_distance,
            fc3_face_distance_ang=fc3_distance,
        ),
    )
    settings = _with_lengths(settings, cutoff, mesh_length, supercell)
    if modes is not None:
        if method == "paper" or collisions == "phono3py" or level == "harmonic" or run is not None:
            raise InputError("--modes: only our kernel has them, and not with --run, which computes nothing twice")
        modes.mkdir(parents=True, exist_ok=True)
    if bool(paths) == (forces is not None):
        raise InputError("kappa: give FILES of crystals, or --forces FOLDER of kappaforge displace")
    if follow and (forces is not None or not relax):
        raise InputError("--follow: relaxes what an imaginary mode leads to, which --forces and --no-relax rule out")
    if (committee or cutoffs) and (forces is not None or level == "harmonic"):
        raise InputError(
            "--committee, --cutoffs: ask how sure κ of a potential is: not with --forces or level harmonic"
        )
    if cutoffs and method == "paper":
        raise InputError("--cutoffs: the paper's protocol fixes supercell and cutoff; leave one of the two out")
    quiet = as_json or as_csv
    bars: Sequence[ErrorBar | None] = ()
    if forces is not None:
        records = [_from_forces(forces, settings, modes)]
    else:
        crystals = read_crystals(paths or [])
        loaded = load(potential)
        require_elements(loaded, frozenset().union(*(crystal.elements for crystal in crystals)))
        folders = [modes and modes / file_stem(crystal.id) for crystal in crystals]
        arguments = [
            (crystal, potential, RelaxSettings(), settings, ScreenSettings(), relax, folder)
            for crystal, folder in zip(crystals, folders, strict=True)
        ]
        with task_runner(run, workers, quiet=quiet) as run_tasks:
            records = run_tasks("kappa", tasks.kappa_version(settings), tasks.compute_kappa, arguments, loaded.digest)
            if committee or cutoffs:
                bars = error_bars(
                    run_tasks,
                    records,
                    potential,
                    loaded.digest,
                    members_of(potential) if committee else (),
                    ErrorBarSettings(committee, cutoffs),
                    relax=RelaxSettings(),
                    kappa=settings,
                    screen=ScreenSettings(),
                )
    bars = bars or [None] * len(records)
    if modes is not None:
        _draw_modes(modes)
    if output is not None:
        write_crystals([record.crystal for record in records], output)
    if as_json:
        show_json(
            row_of_candidate(record, bar).to_dict() | kappa_details(record, bar)
            for record, bar in zip(records, bars, strict=True)
        )
    elif as_csv:
        show_text(to_csv([row_of_candidate(record, bar) for record, bar in zip(records, bars, strict=True)]))
    else:
        for record, bar in zip(records, bars, strict=True):
            show_candidate(record, bar)


def _draw_modes(folder: Path) -> None:
    """Draw the modes beside each file of them."""
    from kappaforge.report.canvas import save
    from kappaforge.report.modes import mode_figures

    for file in sorted(folder.glob("*/kappa-m*.hdf5")):
        for name, figure in mode_figures(file).items():
            save(figure, file.with_name(name))


def _from_forces(folder: Path, settings: KappaSettings, modes: Path | None) -> CandidateRecord:
    """Compute κ from forces that were computed elsewhere."""
    from kappaforge.campaign.candidate import candidate_of
    from kappaforge.campaign.displaced import read_forces
    from kappaforge.screen.settings import ScreenSettings
    from kappaforge.transport.conductivity import conductivity_of_orders
    from kappaforge.transport.failure import TransportError

    if settings.method == "paper":
        raise InputError("--forces: displace makes supercells for the converged method; leave --method out")
    try:
        primitive, second, third = read_forces(folder)
    except TransportError as failure:
        raise KappaforgeError(f"{folder}: {failure.status}: {failure.reason}") from None
    modes_folder = modes and modes / file_stem(primitive.crystal.id)
    kappa = conductivity_of_orders(
        primitive, second, third, settings, source=f"forces in {folder}", modes_folder=modes_folder
    )
    return candidate_of(kappa, ScreenSettings())


def _with_lengths(
    settings: KappaSettings, cutoff: float | None, mesh_length: float | None, supercell: str
) -> KappaSettings:
    """Put the lengths into the method's own settings, which have defaults of their own."""
    paper: dict[str, Any] = {}
    if settings.method != "paper":
        if cutoff is not None:
            constants = replace(settings.force_constants, fc3_cutoff_ang=cutoff or None)
            settings = replace(settings, force_constants=constants)
        return settings if mesh_length is None else replace(settings, mesh_length_ang=mesh_length)
    if cutoff is not None:
        paper["fc3_cutoff_ang"] = cutoff or None
    if mesh_length is not None:
        paper["mesh_length_ang"] = mesh_length
    if supercell:
        paper["supercell"] = _three(supercell, "--supercell")
    return replace(settings, paper=replace(settings.paper, **paper))


def _three(text: str, option: str) -> tuple[int, int, int]:
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3 or not re.fullmatch(r"[\dx×, ]+", text) or min(numbers) < 1:
        raise InputError(f"{option}: expected one or three positive numbers such as 3 or 3x3x2, got {text!r}")
    return numbers[0], numbers[1], numbers[2]

"""``kappaforge displace``: the displaced supercells of a crystal, for forces from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kappaforge.cli.files import read_crystals
from kappaforge.cli.machine import show_json
from kappaforge.cli.options import AsOneJson, PotentialName, Seed, choices
from kappaforge.cli.terminal import out
from kappaforge.errors import InputError, KappaforgeError
from kappaforge.potentials.settings import DEFAULT

if TYPE_CHECKING:
    from kappaforge.crystal import Crystal
    from kappaforge.transport.displaced import Displaced

DFT_MS_PER_ATOM = 1e6
"""What --way auto takes forces to cost, so that fewer supercells always win."""


def displace(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="One crystal: CIF, POSCAR, extXYZ or .res.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write; new or empty.")],
    format: Annotated[
        str,
        typer.Option(
            "--format",
            autocompletion=choices("extxyz", "vasp"),
            help="extxyz, or vasp for a folder of inputs per supercell too.",
        ),
    ] = "extxyz",
    way: Annotated[
        str,
        typer.Option(
            "--way",
            autocompletion=choices("finite", "fit", "auto"),
            help="finite displacements, fit to random ones, or auto: fewer supercells.",
        ),
    ] = "auto",
    fc2_distance: Annotated[
        float, typer.Option("--fc2-distance", help="Least distance between faces of the second order's supercell, Å.")
    ] = 10.5,
    fc3_distance: Annotated[
        float, typer.Option("--fc3-distance", help="Least distance between faces of the third order's supercell, Å.")
    ] = 8.7,
    fc3_cutoff: Annotated[
        float, typer.Option("--fc3-cutoff", help="finite: displace pairs closer than this, Å; 0 for all.")
    ] = 3.0,
    fit_cutoff: Annotated[
        float, typer.Option("--fit-cutoff", help="fit: triplets whose pairs are all closer than this, Å.")
    ] = 5.2,
    displacement: Annotated[float, typer.Option("--displacement", help="Length of displacements, Å.")] = 0.03,
    oversampling: Annotated[
        float, typer.Option("--oversampling", help="fit: components of forces per free parameter.")
    ] = 4.5,
    seed: Seed = 0,
    relax: Annotated[
        bool, typer.Option("--relax", help="Relax with --potential first; else the crystal is taken as given.")
    ] = False,
    potential: PotentialName = DEFAULT,
    vdw: Annotated[
        str, typer.Option("--vdw", help="vasp: van-der-Waals functional by pymatgen's name; '' for PBE.")
    ] = "optB88",
    cutoff: Annotated[float, typer.Option("--cutoff", help="vasp: plane-wave cutoff, eV.")] = 600.0,
    kspacing: Annotated[
        float, typer.Option("--kspacing", help="vasp: largest distance of k points, Å⁻¹ with 2π.")
    ] = 0.15,
    as_json: AsOneJson = False,
) -> None:
    """Write the displaced supercells whose forces give κ, to compute them with DFT.

    Compute the forces without moving atoms, by kappaforge label on the two .extxyz files, by VASP in the folders under
    vasp/, or by anything that writes extXYZ with forces into the folder. kappaforge kappa --forces FOLDER goes on from
    there. The crystal should be at the minimum of whatever computes the forces.
    """
    from kappaforge.campaign.displaced import PHONON_ENERGY_CONVERGENCE_EV, VASP, write_displaced
    from kappaforge.label.settings import VaspSettings
    from kappaforge.transport.order_settings import ForceConstantSettings

    crystals = read_crystals([path])
    if len(crystals) != 1:
        raise InputError(f"{path} holds {len(crystals)} crystals: give a file of one, and a folder for each")
    settings = ForceConstantSettings(
        fc2_face_distance_ang=fc2_distance,
        fc3_face_distance_ang=fc3_distance,
        fc3_cutoff_ang=fc3_cutoff or None,
        fc3_fit_cutoff_ang=fit_cutoff,
        displacement_ang=displacement,
        way=way,  # type: ignore[arg-type]  # the settings check it
        oversampling=oversampling,
        force_ms_per_atom=DFT_MS_PER_ATOM,
        seed=seed,
    )
    displaced = write_displaced(
        _relaxed(crystals[0], potential) if relax else crystals[0],
        output,
        settings,
        format=format,  # type: ignore[arg-type]  # as well
        vasp=VaspSettings(
            vdw=vdw,
            cutoff_ev=cutoff,
            kspacing_per_ang=kspacing,
            energy_convergence_ev=PHONON_ENERGY_CONVERGENCE_EV,
        ),
    )
    crystal = displaced.primitive.crystal
    if as_json:
        show_json([_content(displaced, output, format)])
        return
    out.print(f"{crystal.id}  {crystal.formula}, space group {displaced.primitive.space_group_number}", highlight=False)
    for plan in displaced.plans:
        out.print(
            f"  order {plan.order}: {len(plan.supercells)} supercells of {len(plan.supercell)} atoms ({plan.way})",
            highlight=False,
        )
    folders = f" and folders in {output / VASP}" if format == "vasp" else ""
    out.print(
        f"in {output}: supercells-order2.extxyz, supercells-order3.extxyz{folders}\n"
        f"then: kappaforge label {output}/supercells-*.extxyz --run RUN -o {output}/forces.extxyz (or VASP), "
        f"and kappaforge kappa --forces {output}",
        highlight=False,
        soft_wrap=True,
    )


def _content(displaced: Displaced, folder: Path, format: str) -> dict[str, Any]:
    from kappaforge.campaign.displaced import PLAN, VASP

    names = [PLAN, *(f"supercells-order{plan.order}.extxyz" for plan in displaced.plans)]
    names += [VASP] if format == "vasp" else []
    plans = [
        {"order": plan.order, "supercells": len(plan.supercells), "atoms": len(plan.supercell), "way": plan.way}
        for plan in displaced.plans
    ]
    return {
        "id": displaced.primitive.crystal.id,
        "formula": displaced.primitive.crystal.formula,
        "status": "ok",
        "reason": "",
        "space_group_number": displaced.primitive.space_group_number,
        "plans": plans,
        "written": {name: folder / name for name in names},
    }


def _relaxed(crystal: Crystal, potential: str) -> Crystal:
    from kappaforge.campaign.minimum import relax_one
    from kappaforge.potentials.base import require_elements
    from kappaforge.potentials.registry import load
    from kappaforge.relax.settings import RelaxSettings

    loaded = load(potential)
    require_elements(loaded, crystal.elements)
    record = relax_one(crystal, loaded, RelaxSettings().tightened())
    if record.status != "ok":
        raise KappaforgeError(f"crystal {crystal.id!r} did not relax with {potential!r}: {record.reason}")
    return record.crystal

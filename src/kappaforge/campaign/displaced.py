"""Folders of displaced supercells: written for an engine elsewhere, and read back with its forces."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from kappaforge.crystal import Crystal
from kappaforge.dataset.formats import known_format
from kappaforge.errors import InputError, suggestion
from kappaforge.extxyz import exact_extxyz, read_frames
from kappaforge.files import write_text
from kappaforge.label.base import one_line
from kappaforge.label.settings import VaspSettings
from kappaforge.label.vasp import read_vasp_labels, write_vasp_inputs
from kappaforge.transport.displaced import Displaced, displace, from_text, supercell_crystals, to_text
from kappaforge.transport.matching import GivenForces, matched_forces
from kappaforge.transport.order_settings import ForceConstantSettings
from kappaforge.transport.orders import SecondOrder, ThirdOrder, solve2, solve3
from kappaforge.transport.plans import Plan
from kappaforge.transport.primitive import PrimitiveCrystal

PLAN = "displaced.json"
VASP = "vasp"

Format = Literal["extxyz", "vasp"]
"""Both have the supercells as extended XYZ, "vasp" also a folder of inputs for each."""

PHONON_ENERGY_CONVERGENCE_EV = 1e-8
"""EDIFF of displaced supercells: third-order force constants are second differences of forces."""


def write_displaced(
    crystal: Crystal,
    folder: Path,
    settings: ForceConstantSettings,
    *,
    format: Format = "extxyz",
    vasp: VaspSettings | None = None,
) -> Displaced:
    """Write the displaced supercells of a crystal, for `read_forces` to go on from.

    Parameters
    ----------
    crystal
        At rest, in any cell.
    folder
        Gets ``supercells-order2.extxyz`` and ``supercells-order3.extxyz``, one frame for each supercell; with format
        "vasp" also ``vasp/order2-0001`` and so on with VASP's inputs; at last ``displaced.json``.
    settings
        Supercells, displacements, cutoffs. The way "auto" weighs the forces at `force_ms_per_atom`.
    format
        "extxyz" or "vasp".
    vasp
        Settings of VASP; None for the defaults, with energies converged to 1e-8 eV.

    Raises
    ------
    InputError
        For a folder that is not empty, an unknown format, or a crystal that cannot be displaced.
    """
    if format not in get_args(Format):
        raise InputError(f"format: unknown {format!r}{suggestion(format, get_args(Format))}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and may hold forces; choose another folder, or remove it")
    displaced = displace(crystal, settings)
    crystals = [supercell_crystals(plan, displaced.primitive) for plan in displaced.plans]
    if format == "vasp":
        settings_of_vasp = vasp or VaspSettings(energy_convergence_ev=PHONON_ENERGY_CONVERGENCE_EV)
        write_vasp_inputs([each for order in crystals for each in order], folder / VASP, settings_of_vasp)
    try:
        for plan, supercells in zip(displaced.plans, crystals, strict=True):
            write_text(folder / f"supercells-order{plan.order}.extxyz", _text(supercells))
        write_text(folder / PLAN, to_text(displaced))
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror or error})") from None
    return displaced


def read_forces(folder: Path) -> tuple[PrimitiveCrystal, SecondOrder, ThirdOrder]:
    """Make force constants of the forces in a folder that `write_displaced` wrote.

    Forces are taken from all extended XYZ files in it (those of ``kappaforge label``, or of any program that writes
    forces where ASE looks for them), and from the vasprun.xml in the folders of inputs of any of its folders. They are
    told by where the atoms are, so names, order and periodic images do not matter.

    Raises
    ------
    InputError
        For a folder without displacements, or with displacements that cannot be made again; for a supercell without
        forces, with atoms that were moved, or with forces that are not finite.
    TransportError
        Where the forces give no force constants.
    """
    displaced = _read_plan(folder)
    second, third = _forces_of(folder, displaced.plans)
    return displaced.primitive, solve2(displaced.second, second), solve3(displaced.third, third)


def read_second_order(folder: Path) -> tuple[Displaced, SecondOrder]:
    """Return the plans and make force constants of second order like `read_forces`; only that order needs forces."""
    displaced = _read_plan(folder)
    (second,) = _forces_of(folder, [displaced.second])
    return displaced, solve2(displaced.second, second)


def _forces_of(folder: Path, plans: Sequence[Plan]) -> list[np.ndarray]:
    given = [each for path in _extxyz_files(folder) for each in _read_extxyz(path)]
    missing_because: dict[str, str] = {}
    for inputs in sorted({path.parent.parent for path in folder.glob("*/*/POSCAR")}):
        for label in read_vasp_labels(inputs):
            if label.forces_ev_per_ang is None:
                missing_because[label.id] = label.reason
            else:
                where = str(inputs / label.id)
                given.append(GivenForces(label.crystal, label.forces_ev_per_ang, where, label.engine))
    if not given and not missing_because:
        files = " and ".join(f"supercells-order{plan.order}.extxyz" for plan in plans)
        raise InputError(
            f"{folder}: no forces in it; label its {files} and put the result there as forces.extxyz, or run VASP in "
            "its folders of inputs"
        )
    try:
        return matched_forces(plans, given, missing_because)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None


def _text(crystals: Sequence[Crystal]) -> str:
    frames = []
    for crystal in crystals:
        atoms = crystal.to_ase()
        atoms.info = {"id": crystal.id, "source": crystal.source, "parents": " ".join(crystal.parents)}
        frames.append(atoms)
    return exact_extxyz(frames)


def _read_plan(folder: Path) -> Displaced:
    path = folder / PLAN
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({one_line(error)}); give a folder of kappaforge displace") from None
    try:
        return from_text(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _extxyz_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and known_format(path) == "extxyz")


def _read_extxyz(path: Path) -> list[GivenForces]:
    """Read the frames with forces; none for one of the files that have only geometries."""
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
        frames = read_frames(text)
    except Exception as error:  # a damaged file fails in as many ways as there are places to damage it
        raise InputError(f"{path} is not readable as extended XYZ ({one_line(error)}); mend or remove it") from None
    given = []
    for number, atoms in enumerate(frames, start=1):
        forces = atoms.calc.results.get("forces") if atoms.calc is not None else None
        if forces is None:
            continue
        where = f"frame {number} of {path.name}"
        try:
            crystal = Crystal.from_ase(atoms, id=str(atoms.info.get("id", where)))
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        given.append(GivenForces(crystal, np.asarray(forces), where, str(atoms.info.get("engine", ""))))
    return given

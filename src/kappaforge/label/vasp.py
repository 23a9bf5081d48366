"""Labels by VASP, which runs elsewhere: folders of inputs to take to it, and the results read back from them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase.units import GPa
from pymatgen.io.vasp.inputs import Poscar
from pymatgen.io.vasp.outputs import Vasprun
from pymatgen.io.vasp.sets import MPStaticSet

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.label.base import Label, one_line
from kappaforge.label.settings import VaspSettings

DECIDING = (
    *("GGA", "METAGGA", "LHFCALC", "LUSE_VDW", "AGGAC", "PARAM1", "PARAM2", "ZAB_VDW", "IVDW", "LDAU", "LASPH"),
    *("ENMAX", "PREC", "LREAL", "KSPACING", "KGAMMA", "ISMEAR", "SIGMA", "ISPIN", "EDIFF"),
)
"""Parameters of a vasprun.xml that decide its numbers and do not differ from crystal to crystal."""

SAME_GEOMETRY = 1e-4
"""Largest difference between POSCAR and vasprun.xml, Å and fractional; vasprun.xml has eight decimals."""


def write_vasp_inputs(crystals: Sequence[Crystal], folder: Path, settings: VaspSettings | None = None) -> list[Path]:
    """Write one folder of inputs for each crystal, named by its id: INCAR, POSCAR and POTCAR.spec.

    They are those of pymatgen's `MPStaticSet` with the settings and without +U. K points come from KSPACING. VASP's
    licence keeps the potentials out: ``POTCAR.spec`` names those to concatenate. Before VASP 6.4.3 a van-der-Waals
    functional also needs its file ``vdw_kernel.bindat``.

    Returns
    -------
    list of Path
        The folders, in the crystals' order.

    Raises
    ------
    InputError
        For no crystals, ids that repeat or cannot name a folder, folders that exist (they may hold results), an
        unknown functional, or an element without potential.
    """
    settings = settings or VaspSettings()
    if not crystals:
        raise InputError(f"{folder}: there are no crystals to write")
    runs = [folder / _folder_name(crystal) for crystal in crystals]
    if len(set(runs)) < len(runs):
        repeated = next(run.name for run in runs if runs.count(run) > 1)
        raise InputError(f"crystal id {repeated!r} occurs more than once: results could not be told apart")
    if existing := [run for run in runs if run.exists()]:
        raise InputError(f"{existing[0]} exists and may hold results; choose another folder, or remove it")
    inputs = [_inputs(crystal, settings) for crystal in crystals]
    for run, each in zip(runs, inputs, strict=True):
        try:
            each.write_input(str(run), potcar_spec=True)
        except OSError as error:
            raise InputError(f"{run}: cannot be written ({error.strerror})") from None
    return runs


def _folder_name(crystal: Crystal) -> str:
    if crystal.id.startswith(".") or "/" in crystal.id or "\0" in crystal.id:
        raise InputError(f"crystal id {crystal.id!r} cannot name a folder; rename the crystal")
    return crystal.id


def _inputs(crystal: Crystal, settings: VaspSettings) -> MPStaticSet:
    incar = {
        "ENCUT": settings.cutoff_ev,
        "KSPACING": settings.kspacing_per_ang,
        "ISMEAR": 0,
        "SIGMA": settings.smearing_ev,
        "ISPIN": 2 if settings.spin_polarised else 1,
        "EDIFF": settings.energy_convergence_ev,
        "LDAU": False,
        "LCHARG": False,
        "LORBIT": None,
    }
    if not settings.spin_polarised:
        incar["MAGMOM"] = None
    try:
        inputs = MPStaticSet(crystal.to_pymatgen(), vdw=settings.vdw or None, user_incar_settings=incar)
        inputs.get_input_set(potcar_spec=True)
    except KeyError as error:  # an unknown functional, or an element for which the set has no potential
        raise InputError(f"VASP inputs of crystal {crystal.id!r} with vdw {settings.vdw!r}: {error.args[0]}") from None
    return inputs


def read_vasp_labels(folder: Path) -> list[Label]:
    """Read the results of folders that `write_vasp_inputs` wrote, from the vasprun.xml in each (or vasprun.xml.gz).

    The energy is that extrapolated to zero smearing, VASP's ``energy(sigma->0)``. A folder without results, with
    damaged ones, or with those of another structure is a failed label.

    Returns
    -------
    list of Label
        In the order of the folders' names.

    Raises
    ------
    InputError
        Where no sub-folder holds a POSCAR, one cannot be read, or two results have different potentials for the same
        element: their energies do not compare.
    """
    runs = sorted(path.parent for path in folder.glob("*/POSCAR"))
    if not runs:
        raise InputError(f"{folder}: no sub-folder holds a POSCAR; expected what kappaforge vasp write makes")
    potentials: dict[str, str] = {}
    labels = [_read(run, potentials) for run in runs]
    used = ", ".join(potentials[element] for element in sorted(potentials))
    return [replace(label, engine=f"{label.engine}, potentials {used}") if label.engine else label for label in labels]


def _read(run: Path, potentials: dict[str, str]) -> Label:
    """Read one folder; `potentials` by element is added to, as each result tells only those of its own elements."""
    try:
        structure = Poscar.from_file(run / "POSCAR", check_for_potcar=False).structure
        crystal = Crystal.from_pymatgen(structure, id=run.name, source="vasp")
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise InputError(f"{run / 'POSCAR'} cannot be read ({one_line(error)})") from None
    label = Label(crystal.id, crystal, engine="", status="failed")
    results = [path for path in (run / "vasprun.xml", run / "vasprun.xml.gz") if path.exists()]
    if not results:
        return replace(label, reason="no vasprun.xml: VASP has not run in this folder")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they say is checked below
            vasprun = Vasprun(results[0], parse_dos=False, parse_eigen=False, parse_potcar_file=False)
        for titel in vasprun.potcar_symbols:
            element = titel.split()[1].split("_")[0]
            if potentials.setdefault(element, titel) != titel:
                raise InputError(f"{run}: potential {titel!r} where another crystal has {potentials[element]!r}")
        return _judged(replace(label, engine=_engine(vasprun)), vasprun)
    except InputError:
        raise
    except Exception as error:  # a truncated file fails in as many ways as there are places to cut it
        return replace(label, reason=f"{results[0].name} is damaged or incomplete ({one_line(error)})")


def _judged(label: Label, vasprun: Vasprun) -> Label:
    static = len(vasprun.ionic_steps) == 1 and not vasprun.parameters.get("PSTRESS")
    if not static:
        return replace(label, reason="not a static calculation: expected NSW = 0 and no PSTRESS")
    if not _same_geometry(label.crystal, Crystal.from_pymatgen(vasprun.final_structure)):
        return replace(label, reason="vasprun.xml is of another structure than POSCAR")
    if not vasprun.converged_electronic:
        reason = f"not self-consistent after {vasprun.parameters['NELM']} iterations"
        return replace(label, status="unconverged", reason=reason)
    step = vasprun.ionic_steps[0]
    energy, forces = float(vasprun.final_energy), np.array(step["forces"], dtype=float)
    # VASP prints the pressure the crystal exerts, in kbar; dE/dε / V has the other sign.
    stress = -0.1 * GPa * np.array(step["stress"], dtype=float)
    if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(stress).all()):
        return replace(label, reason="energy, forces or stress are not finite")
    if forces.shape != (len(label.crystal), 3) or stress.shape != (3, 3):
        return replace(label, reason=f"forces of shape {forces.shape} for {len(label.crystal)} atoms")
    return replace(label, status="ok", energy_ev=energy, forces_ev_per_ang=forces, stress_ev_per_ang3=stress)


def _same_geometry(first: Crystal, second: Crystal) -> bool:
    if not np.array_equal(first.numbers, second.numbers):
        return False
    shifts = first.fractional - second.fractional
    differences = (first.cell - second.cell, shifts - np.round(shifts))
    return all(bool((np.abs(difference) < SAME_GEOMETRY).all()) for difference in differences)


def _engine(vasprun: Vasprun) -> str:
    known = {**vasprun.incar, **vasprun.parameters}
    words = [f"{name} {known[name]}" for name in DECIDING if known.get(name) is not None]
    return f"vasp {vasprun.vasp_version}, {', '.join(words)}"

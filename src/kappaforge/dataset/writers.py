"""Crystals to files that are there whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from ase.io.extxyz import escape, write_xyz
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp.inputs import Poscar

from kappaforge.crystal import Crystal
from kappaforge.dataset.entry import unique_names
from kappaforge.dataset.formats import format_of, known_format
from kappaforge.errors import InputError
from kappaforge.files import file_stem, write_text

WRITABLE = ("extxyz", "cif", "poscar")


def write(
    crystals: Sequence[Crystal],
    path: str | Path,
    format: str = "",
    *,
    columns: Sequence[Mapping[str, Any]] = (),
) -> list[Path]:
    """Write crystals to one file, or to a folder with a file for each.

    Parameters
    ----------
    crystals
        What to write.
    path
        A file, its format told by its name (``.extxyz``, ``.cif``, ``.vasp``, ``POSCAR``; also with .gz). With `format`
        given and a name that tells none, a folder of one file for each crystal, named by its id.
    format
        ``extxyz``, ``cif`` or ``poscar``.
    columns
        For each crystal, what else to say of it in extended XYZ, such as ``{"energy_ev_per_atom": -7.4}``; None is left
        out.

    Returns
    -------
    list of Path
        The files written. Extended XYZ keeps id, source, parents and columns; `kappaforge.dataset.readers.read` gives
        them back.

    Raises
    ------
    InputError
        For unknown formats, no crystals, several for one POSCAR or CIF, or a path that cannot be written.
    """
    path = Path(path)
    if not crystals:
        raise InputError(f"{path}: there are no crystals to write")
    if columns and len(columns) != len(crystals):
        raise InputError(f"columns: expected one mapping for each of {len(crystals)} crystals, got {len(columns)}")
    found = format_of(path, format)
    if found not in WRITABLE:
        raise InputError(f"{path}: cannot write {found}; choose .extxyz, .cif or .vasp")
    try:
        if found == "extxyz":
            return [write_text(path, _extxyz(crystals, columns))]
        text_of = _cif if found == "cif" else _poscar
        if path.is_dir() or not known_format(path):
            names = unique_names([file_stem(crystal.id) for crystal in crystals])
            suffix = ".cif" if found == "cif" else ".vasp"
            pairs = zip(names, crystals, strict=True)
            return [write_text(path / f"{name}{suffix}", text_of(crystal)) for name, crystal in pairs]
        if len(crystals) > 1:
            raise InputError(f"{path}: one {found} file holds one crystal, got {len(crystals)}; give a folder")
        return [write_text(path, text_of(crystals[0]))]
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None


def _extxyz(crystals: Sequence[Crystal], columns: Sequence[Mapping[str, Any]]) -> str:
    frames = []
    for index, crystal in enumerate(crystals):
        atoms = crystal.to_ase()
        names = {"id": crystal.id, "source": crystal.source, "parents": " ".join(crystal.parents)}
        extra = columns[index] if columns else {}
        atoms.info = {key: _escaped(value) for key, value in names.items() if value}
        known = {key: value for key, value in extra.items() if value is not None and value != ""}
        atoms.info |= {key: _escaped(value) if isinstance(value, str) else value for key, value in known.items()}
        frames.append(atoms)
    text = StringIO()
    write_xyz(text, frames, write_results=False)
    return text.getvalue()


def _escaped(text: str) -> str:
    """Double the backslashes where ASE puts quotes around, as it escapes nothing but quotes."""
    return text.replace("\\", "\\\\") if escape(text).startswith('"') else text


def _cif(crystal: Crystal) -> str:
    return str(CifWriter(crystal.to_pymatgen(), significant_figures=10))


def _poscar(crystal: Crystal) -> str:
    return str(Poscar(crystal.to_pymatgen(), comment=crystal.id).get_str(significant_figures=12))

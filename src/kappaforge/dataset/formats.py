"""The file formats crystals come in, told by the file's name."""

from __future__ import annotations

from pathlib import Path

from kappaforge.errors import InputError, suggestion

SUFFIXES = {
    ".cif": "cif",
    ".vasp": "poscar",
    ".poscar": "poscar",
    ".extxyz": "extxyz",
    ".xyz": "extxyz",
    ".res": "res",
    ".csv": "csv",
}
FORMATS = tuple(dict.fromkeys(SUFFIXES.values()))
EXPECTED = "expected .cif, .vasp, POSCAR, .extxyz, .res or .csv, each also with .gz"


def known_format(path: Path) -> str:
    """Return the format a file's name tells, or an empty string."""
    name = path.name.removesuffix(".gz")
    if name.upper().startswith(("POSCAR", "CONTCAR")):
        return "poscar"
    return SUFFIXES.get(Path(name).suffix.lower(), "")


def format_of(path: Path, format: str = "") -> str:
    """Return the format asked for, or the one the file's name tells; `InputError` where there is none."""
    if format and format not in FORMATS:
        raise InputError(f"format: unknown {format!r}{suggestion(format, FORMATS)}")
    if not (found := format or known_format(path)):
        raise InputError(f"{path}: cannot tell the format from the name; {EXPECTED}, or name the format")
    return found


def stem_of(path: Path) -> str:
    """Return the file's name without what tells its format; ``POSCAR.diamond`` stays whole."""
    name = path.name.removesuffix(".gz")
    return Path(name).stem if Path(name).suffix.lower() in SUFFIXES else name

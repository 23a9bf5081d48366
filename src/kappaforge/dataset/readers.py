"""Files, folders and glob patterns to entries; whatever is wrong with them is one line that names the file."""

from __future__ import annotations

import glob
import gzip
import math
import warnings
import zlib
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from kappaforge.dataset.distances import shortest_distance_ang
from kappaforge.dataset.entry import DatasetEntry, with_unique_ids
from kappaforge.dataset.formats import EXPECTED, format_of, known_format, stem_of
from kappaforge.dataset.parsers import PARSERS, Parsed
from kappaforge.errors import InputError

SHORTEST_ALLOWED_ANG = 0.5
"""Closer atoms overlap: the shortest bond there is, that of H2, has 0.74 Å."""

LONGEST_ALLOWED_ANG = 1e5
"""No crystal's cell is larger: ten micrometres."""


def read(path: str | Path, format: str = "") -> list[DatasetEntry]:
    """Read crystals from a file, a folder of files or a glob pattern.

    Parameters
    ----------
    path
        A CIF, POSCAR, extended XYZ, AIRSS .res or CDVAE csv file, also with .gz; a folder, of which every file with
        such a name is read; or a glob pattern.
    format
        ``cif``, ``poscar``, ``extxyz``, ``res`` or ``csv``, whatever the names say.

    Returns
    -------
    list of DatasetEntry
        In the order of the files' names and within the files. Ids that repeat get a suffix.

    Raises
    ------
    InputError
        For missing, empty and unreadable files, unknown formats, crystals with partial occupation, positions that are
        not finite or atoms closer than 0.5 Å.
    """
    try:
        files = _files(Path(path), format)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({_one_line(error)}); check the path") from None
    return with_unique_ids([entry for file in files for entry in _read_file(file, format)])


def _files(path: Path, format: str) -> list[Path]:
    if path.is_file():
        return [path]
    if path.is_dir():
        where, found = f"the folder {path}", path.iterdir()
    elif glob.has_magic(str(path)):
        where, found = f"the pattern {path}", map(Path, glob.glob(str(path)))  # type: ignore[assignment]
    else:
        siblings = [sibling.name for sibling in path.parent.iterdir()] if path.parent.is_dir() else []
        close = get_close_matches(path.name, siblings, n=1)
        hint = f"did you mean {str(path.with_name(close[0]))!r}?" if close else "check the path"
        raise InputError(f"{path}: no such file or folder ({hint})")
    files = sorted(file for file in found if file.is_file() and not file.name.startswith("."))
    if not format:
        files = [file for file in files if known_format(file)]
    if not files:
        raise InputError(f"{where} holds no crystals; {EXPECTED}")
    return files


def _read_file(path: Path, format: str) -> list[DatasetEntry]:
    found = _parse(format_of(path, format), _text(path), path)
    stem = stem_of(path)
    default_ids = [stem] if len(found) == 1 else [f"{stem}-{number}" for number in range(1, len(found) + 1)]
    return [_entry(parsed, default_id, path) for parsed, default_id in zip(found, default_ids, strict=True)]


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        if path.name.endswith(".gz"):
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({_one_line(error)}); check the file") from None
    return content.decode("utf-8", errors="replace").replace("\r\n", "\n")


def _parse(format: str, text: str, path: Path) -> list[Parsed]:
    found: list[Parsed] = []
    problem = "it holds no crystals"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for parsed in PARSERS[format](text):
                found.append(parsed)
        if found:
            return found
    except InputError as error:
        problem = str(error).removeprefix("crystal: ").removeprefix("crystal '': ")
    except Exception as error:  # the libraries raise anything on a broken file
        problem = f"not readable as {format} ({_one_line(error)}); mend or remove it"
    raise InputError(f"{path}{_which(len(found))}: {problem}")


def _which(index: int) -> str:
    return f", crystal {index + 1}" if index else ""


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).split("\n")]
    return next((line for line in reversed(lines) if line), type(error).__name__)[:160]


def _entry(parsed: Parsed, default_id: str, path: Path) -> DatasetEntry:
    name = parsed.id or default_id
    who = path if name == stem_of(path) else f"{path}, {name}"
    energy = parsed.energy_ev_per_atom
    if energy is not None and not math.isfinite(energy):
        raise InputError(f"{who}: the energy is {energy}; give a finite one or none")
    if (longest := max(abs(parsed.crystal.cell).max(), abs(parsed.crystal.positions).max())) > LONGEST_ALLOWED_ANG:
        raise InputError(f"{who}: a coordinate of cell or atoms is {longest:.3g} Å; mend or remove the structure")
    if (shortest := shortest_distance_ang(parsed.crystal)) < SHORTEST_ALLOWED_ANG:
        raise InputError(
            f"{who}: atoms overlap, {shortest:.3f} Å apart (less than {SHORTEST_ALLOWED_ANG} Å); "
            "mend or remove the structure"
        )
    return DatasetEntry(replace(parsed.crystal, id=name, source=parsed.source or path.name), energy)

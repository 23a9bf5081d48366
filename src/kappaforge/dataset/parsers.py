"""Text of each format to crystals and their labels; ASE and pymatgen do the parsing."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any, NamedTuple

from ase.io.extxyz import key_val_str_to_dict, read_xyz
from pymatgen.io.cif import CifParser
from pymatgen.io.res import AirssProvider, ResError, ResProvider
from pymatgen.io.vasp.inputs import BadPoscarWarning, Poscar

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.extxyz import split_frames

MOST_COLUMNS = 10_000
"""More columns than any frame of an extended XYZ file has."""


class Parsed(NamedTuple):
    """A crystal as a file gives it; empty and None where the file says nothing."""

    crystal: Crystal
    id: str = ""
    source: str = ""
    energy_ev_per_atom: float | None = None


def parse_cif(text: str) -> Iterator[Parsed]:
    """Yield the structures of a CIF, in the cells as given.

    An occupancy above one is an error: pymatgen adds up the occupancies of sites that fall together.
    """
    parser = CifParser.from_str(text, occupancy_tolerance=1.0, check_cif=False)
    try:
        structures = parser.parse_structures(primitive=False, on_error="raise")
    except ValueError as error:
        if "exceeded tolerance" in str(error):
            raise InputError("atoms overlap: a site is occupied more than once; mend the structure") from None
        raise
    for structure in structures:
        yield Parsed(Crystal.from_pymatgen(structure))


def parse_poscar(text: str) -> Iterator[Parsed]:
    """Yield the one structure of a POSCAR; one without element symbols is an error."""
    lines = text.split("\n")
    counts = [int(word) for line in lines[5:7] for word in line.split() if word.isdecimal()]
    if sum(counts) > len(lines):  # before pymatgen makes room for that many
        raise InputError(f"it announces {sum(counts)} atoms but has only {len(lines)} lines")
    with warnings.catch_warnings():
        # pymatgen would call the elements H, He, Li, …
        warnings.filterwarnings("error", message="Elements in POSCAR cannot be determined", category=BadPoscarWarning)
        try:
            poscar = Poscar.from_str(text, read_velocities=False)
        except BadPoscarWarning as warning:
            if "cannot be determined" not in str(warning):
                raise
            raise InputError("it names no elements; write their symbols in the line above the atom counts") from None
    yield Parsed(Crystal.from_pymatgen(poscar.structure))


_TEXT_KEYS = re.compile(r'(?<!\S)(id|material_id|source|parents)=(?:"((?:[^"\\]|\\.)*)"|(\S+))')


def _extxyz_properties(comment: str) -> dict[str, Any]:
    """ASE's properties of a frame, but names stay text where ASE would make ``1e5`` or ``T`` a number or a truth."""
    properties: dict[str, Any] = key_val_str_to_dict(comment)
    columns = [int(digits) for digits in re.findall(r":(\d+)", str(properties.get("Properties", "")))]
    if sum(columns) > MOST_COLUMNS:  # before ASE makes room for that many
        raise InputError(f"its Properties announce {sum(columns)} columns; is the file damaged?")
    for key, quoted, plain in _TEXT_KEYS.findall(comment):
        properties[key] = re.sub(r"\\(.)", r"\1", quoted) or plain
    return properties


def parse_extxyz(text: str) -> Iterator[Parsed]:
    """Yield the frames of an extended XYZ file.

    The energy is ``energy_ev_per_atom`` or ``energy_per_atom``, or ``energy`` by the number of atoms.
    """
    for frame in split_frames(text):
        (atoms,) = read_xyz(StringIO(frame), index=slice(None), properties_parser=_extxyz_properties)
        if atoms.cell.rank < 3:
            raise InputError("it has no unit cell; give Lattice=... with three vectors")
        info = atoms.info
        energy = info.get("energy_ev_per_atom", info.get("energy_per_atom"))
        if energy is None and atoms.calc is not None and "energy" in atoms.calc.results:
            energy = atoms.calc.results["energy"] / len(atoms)
        yield Parsed(
            Crystal.from_ase(atoms, parents=tuple(info.get("parents", "").split())),
            id=info.get("id", info.get("material_id", "")),
            source=info.get("source", ""),
            energy_ev_per_atom=None if energy is None else float(energy),
        )


def parse_res(text: str) -> Iterator[Parsed]:
    """Yield the structures of AIRSS .res text, one or many after another.

    AIRSS writes the enthalpy of the cell in the title line: name, pressure, volume, enthalpy, …
    """
    _, *blocks = re.split(r"^(?=TITL)", text, flags=re.MULTILINE)
    if not blocks:
        raise InputError("it has no TITL line")
    for block in blocks:
        lines = [line.strip() for line in block.splitlines()]
        content = "\n".join(line for line in lines if line)
        try:
            airss = AirssProvider.from_str(content)
        except ResError:
            yield Parsed(Crystal.from_pymatgen(_ordered(ResProvider.from_str(content))))
            continue
        crystal = Crystal.from_pymatgen(_ordered(airss))
        yield Parsed(crystal, id=airss.seed, energy_ev_per_atom=airss.energy / len(crystal))


def _ordered(provider: ResProvider) -> Any:
    if any(ion.occupancy != 1 for ion in provider._res.SFAC.ions):
        raise InputError("sites are partially occupied; give an ordered structure")
    return provider.structure


def parse_csv(text: str) -> Iterator[Parsed]:
    """Yield the rows of a CSV in CDVAE's form: columns ``cif`` and, if there, ``material_id``, ``energy_per_atom``."""
    csv.field_size_limit(2**31 - 1)  # a CIF of some thousand atoms is longer than the default field
    reader = csv.DictReader(StringIO(text), strict=True)
    if "cif" not in (reader.fieldnames or ()):
        raise InputError("it has no column 'cif'; expected the columns material_id, cif and energy_per_atom")
    for row in reader:
        energy = row.get("energy_ev_per_atom") or row.get("energy_per_atom")
        (parsed,) = parse_cif(row["cif"])
        yield Parsed(
            parsed.crystal,
            id=row.get("material_id") or "",
            energy_ev_per_atom=float(energy) if energy else None,
        )


PARSERS: dict[str, Callable[[str], Iterator[Parsed]]] = {
    "cif": parse_cif,
    "poscar": parse_poscar,
    "extxyz": parse_extxyz,
    "res": parse_res,
    "csv": parse_csv,
}

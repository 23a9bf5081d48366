"""Extended XYZ that reads back exactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import StringIO

import numpy as np
from ase import Atoms
from ase.io.extxyz import read_xyz, write_xyz

from kappaforge.errors import InputError


def split_frames(text: str) -> Iterator[str]:
    """Yield the frames of extended XYZ as texts.

    ASE would count to any number of atoms that a damaged file announces.

    Raises
    ------
    InputError
        For a number of atoms that the lines which follow do not have.
    ValueError
        Where there is none.
    """
    lines = text.replace("\r\n", "\n").rstrip().split("\n")
    start = 0
    while start < len(lines):
        end = start + int(lines[start]) + 2
        if end > len(lines) or end < start + 2:
            raise InputError(f"it announces {lines[start].strip()} atoms but {len(lines) - start - 2} lines are left")
        yield "\n".join(lines[start:end])
        start = end


def read_frames(text: str) -> list[Atoms]:
    """Return the frames of extended XYZ, none of an empty text; raises as `split_frames` and ASE do."""
    found: list[Atoms] = []
    for frame in split_frames(text) if text.strip() else ():
        found += read_xyz(StringIO(frame), index=slice(None))
    return found


def exact_extxyz(frames: Iterable[Atoms]) -> str:
    """Return frames of positions and, where a calculator holds them, forces as extended XYZ, with all digits.

    ASE, whose comment lines these are, writes eight decimals of either: of third-order force constants, which are
    second differences of forces over displacements of 0.03 Å, that leaves six digits.
    """
    text = StringIO()
    for atoms in frames:
        forces = atoms.calc.results.get("forces") if atoms.calc is not None else None
        columns = [atoms.positions] if forces is None else [atoms.positions, forces]
        shown = StringIO()
        write_xyz(shown, atoms)
        count, comment = shown.getvalue().split("\n", 2)[:2]
        described = "species:S:1:pos:R:3" + ("" if forces is None else ":forces:R:3")
        assert f"Properties={described} " in f"{comment} ", "there are only these columns"
        rows = zip(atoms.symbols, np.hstack(columns).tolist(), strict=True)
        text.write(f"{count}\n{comment}\n")
        text.writelines(f"{symbol:<2} {' '.join(f'{number!r:>22}' for number in row)}\n" for symbol, row in rows)
    return text.getvalue()

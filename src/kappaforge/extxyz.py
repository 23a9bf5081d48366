"""Extended XYZ that reads back exactly."""

from __future__ import annotations

from collections.abc import Iterable
from io import StringIO

import numpy as np
from ase import Atoms
from ase.io.extxyz import write_xyz


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

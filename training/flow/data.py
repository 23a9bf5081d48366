"""Choose the crystals that the shipped generators learn from, and those that test them.

    python training/flow/data.py CARBON24... --output FOLDER

CARBON24 are AIRSS carbon files (Materials Cloud 2020.0026/v1). Of copies of one crystal (pymatgen's StructureMatcher,
0.2/0.3/5°) the first stays. All lengths are scaled as in `training/carbon/structures.py`, so that diamond takes its
lattice constant at 0 GPa. A tenth goes to `test.extxyz`, a twentieth to `validation.extxyz`, the rest to
`train.extxyz`: no crystal has a copy on another side. `train3.extxyz` shows those of the training crystals three times
that are small and symmetric (at most 12 atoms, at least 4 operations), as the flow is asked for such.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from kappaforge.dataset.readers import read
from kappaforge.dataset.split import split
from kappaforge.dataset.writers import write
from kappaforge.screen.settings import ScreenSettings
from kappaforge.screen.symmetry import symmetry
from kappaforge.screen.unique import group

EXPANSION = 3.575 / 3.515
FRACTIONS = (0.85, 0.05, 0.1)


def main() -> None:
    """Write the three files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("carbon24", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    entries = [entry for path in options.carbon24 for entry in read(path)]
    labels = group([entry.crystal for entry in entries], ScreenSettings())
    unique = [entry for index, entry in enumerate(entries) if labels[index] == index]
    print(f"{len(entries)} crystals, {len(unique)} distinct")
    options.output.mkdir(parents=True, exist_ok=True)
    for name, part in zip(("train", "validation", "test"), split(unique, FRACTIONS), strict=True):
        crystals = [
            entry.crystal.moved_to(entry.crystal.cell * EXPANSION, entry.crystal.positions * EXPANSION)
            for entry in part
        ]
        write(crystals, options.output / f"{name}.extxyz")
        print(f"{name}: {len(crystals)}")
        if name == "train":
            wanted = [crystal for crystal in crystals if symmetry(crystal, ScreenSettings()).passes]
            copies = [replace(crystal, id=f"{crystal.id}-{copy}") for copy in range(2) for crystal in wanted]
            write(crystals + copies, options.output / "train3.extxyz")
            print(f"small and symmetric: {len(wanted)}")


if __name__ == "__main__":
    main()

"""Find which parents of labels are the same crystal, so that a split never puts one crystal on both sides.

    python training/carbon/same.py STRUCTURES... --output training/carbon/same.json

STRUCTURES are files of `structures.py` and of pools that query by committee asked about. AIRSS found many crystals more
than once, under several names; the known carbons come first, then the files in their order, and each crystal bears
the name of the first that is the same (`kappaforge.screen.unique.group`).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.dataset.readers import read
from kappaforge.screen.settings import ScreenSettings
from kappaforge.screen.unique import group

DISTORTED = ("rattled", "known", "supercell")
"""Kinds of frames that are not their parent itself."""


def parents(files: list[Path]) -> dict[str, Crystal]:
    """Return the parents by name, each once."""
    found = {entry.crystal.id: entry.crystal for entry in known_carbons()}
    for file in files:
        for entry in read(file):
            kind, _, name = entry.crystal.source.partition(" ")
            if kind not in DISTORTED:
                found.setdefault(name if kind == "relaxed" else entry.crystal.id, entry.crystal)
    return found


def main() -> None:
    """Write the names that mean another's crystal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structures", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    named = parents(options.structures)
    names = list(named)
    labels = group(list(named.values()), ScreenSettings())
    same = {name: names[label] for name, label in zip(names, labels, strict=True) if names[label] != name}
    options.output.write_text(json.dumps(same, indent=1, sort_keys=True) + "\n")
    print(f"{len(names)} parents, {len(same)} of them the same as one before")


if __name__ == "__main__":
    main()

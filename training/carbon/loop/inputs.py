"""Make the inputs of the loop's trial: a committee that knows sp³ carbon alone, and crystals with sp² atoms to learn.

    python training/carbon/loop/inputs.py CARBON24... --labels training/carbon/labels.extxyz.gz --output folder/

CARBON24 are AIRSS carbon files. Writes ``sp3.extxyz.gz``, the labels of at most 16 atoms, all with four neighbours,
and ``pool.extxyz``, farthest points (SOAP) among the distinct crystals of at most six atoms, one of them with three.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase.neighborlist import neighbor_list

from kappaforge.crystal import Crystal
from kappaforge.dataset.readers import read
from kappaforge.dataset.writers import write
from kappaforge.describe.settings import DescribeSettings
from kappaforge.describe.soap import average_soap
from kappaforge.label.dataset import read_labels, write_labels
from kappaforge.screen.settings import ScreenSettings
from kappaforge.screen.unique import group
from kappaforge.select.farthest import farthest_points

BOND_ANG = 1.85
EXPANSION = 3.575 / 3.515
"""Diamond's lattice constant with optB88-vdW over that of the data set, as in `structures.py`."""

N_POOL = 14


def neighbours(crystal: Crystal) -> np.ndarray:
    """Return how many atoms are bonded to each, shape (n_atoms,)."""
    return np.bincount(neighbor_list("i", crystal.to_ase(), BOND_ANG), minlength=len(crystal))


def main() -> None:
    """Write the inputs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("carbon24", nargs="+", type=Path)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()

    labels = [label for label in read_labels(options.labels) if len(label.crystal) <= 16]
    sp3 = [label for label in labels if (neighbours(label.crystal) == 4).all()]
    write_labels(sp3, options.output / "sp3.extxyz.gz")

    pool = [entry.crystal for path in options.carbon24 for entry in read(path) if len(entry.crystal) <= 6]
    pool = [crystal.moved_to(crystal.cell * EXPANSION, crystal.positions * EXPANSION) for crystal in pool]
    pool = [crystal for crystal in pool if (neighbours(crystal) == 3).any()]
    pool = [pool[index] for index in np.unique(group(pool, ScreenSettings()))]
    picks = farthest_points(average_soap(pool, DescribeSettings()), N_POOL)
    write([pool[index] for index in picks], options.output / "pool.extxyz")
    print(f"{len(sp3)} labels of sp³ carbon, {len(picks)} crystals of {len(pool)} with sp² atoms")


if __name__ == "__main__":
    main()

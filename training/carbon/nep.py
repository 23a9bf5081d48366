"""Train a NEP on the labels of the `carbon` potential, to compare (needs the packages neppo and calorine).

    python training/carbon/nep.py LABELS --work FOLDER

The split is that of `train.py`, the loss energies per atom and forces. neppo (MPL-2.0) trains, calorine's CPUNEP
computes; FOLDER/nep.txt is the model. What exists there already is not trained again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ase.io import write
from errors import errors_by_kind
from split import split

from kappaforge.label.base import Label
from kappaforge.label.dataset import read_labels
from kappaforge.potentials.ase_calculator import AsePotential

SETTINGS = """
type 1 C
version 4
cutoff 5 4
n_max 8 6
basis_size 8 8
l_max 4 2 1
neuron 40
lambda_e 1
lambda_f 1
lambda_v 0
batch 8
generation {steps}
learning_rate 1e-2 1e-5
seed 1
"""


def write_labels_of_nep(labels: Sequence[Label], path: Path) -> None:
    """Write labels as GPUMD reads them."""
    frames = []
    for label in labels:
        atoms = label.crystal.to_ase()
        atoms.info = {"energy": label.energy_ev}
        assert label.forces_ev_per_ang is not None, "read_labels takes none without"
        atoms.arrays["forces"] = label.forces_ev_per_ang
        frames.append(atoms)
    write(path, frames, format="extxyz", write_results=False)


def main() -> None:
    """Train and test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=10_000)
    options = parser.parse_args()
    shown, held_out = split(read_labels(options.labels))
    options.work.mkdir(parents=True, exist_ok=True)
    model = options.work / "nep.txt"
    if not model.exists():
        write_labels_of_nep(shown, options.work / "train.xyz")
        (options.work / "nep.in").write_text(SETTINGS.format(steps=options.steps))
        subprocess.run([Path(sys.executable).with_name("neppo"), "train", options.work], check=True)

    from calorine.calculators import CPUNEP

    potential = AsePotential("nep", CPUNEP(str(model)), "", frozenset("C"))
    for name, labels in (("shown", shown), ("held out", held_out)):
        for kind, found in errors_by_kind(potential, labels).items():
            print(f"{name} {kind:10s} {found}")


if __name__ == "__main__":
    main()

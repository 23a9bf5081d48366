"""Search the front of speed and accuracy: the same seconds of training for each shape, on the teacher's labels.

    python training/carbon/front.py teacher.extxyz.gz --output front.jsonl [--seconds 150]

Accuracy is measured on the teacher's labels of held-out parents, speed in one batch of 64 crystals of 8 atoms with
energies, forces and stresses, one thread, processor time. Every shape is one line of the output, after which a killed
run goes on. The seconds are those of the processor; a larger model sees fewer epochs in them, as it would in earnest.
Odd features make no difference to two layers: the last one's paths to the energy never reach them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.build import bulk
from errors import errors_by_kind
from split import kind, split

from kappaforge.crystal import Crystal
from kappaforge.label.base import Label
from kappaforge.label.dataset import read_labels
from kappaforge.potentials.allegro import AllegroPotential
from kappaforge.potentials.allegro_settings import AllegroSettings, TrainingSettings
from kappaforge.potentials.base import Batch
from kappaforge.potentials.training import train

BASE = AllegroSettings(
    layers=2, l_max=2, odd_features=False, tensor_features=8, scalar_features=32, cutoff_ang=4.0, core_repulsion=True
)
POINTS: dict[str, tuple[AllegroSettings, dict[str, Any]]] = {
    "base: 2 layers, l 2, 8 features, 32 scalars, 4.0 Å": (BASE, {}),
    "preset fast: 1 layer, 4.5 Å": (AllegroSettings(core_repulsion=True), {}),
    "64 scalars": (replace(BASE, scalar_features=64, two_body_hidden=(64,), latent_hidden=(64,)), {}),
    "16 features": (replace(BASE, tensor_features=16), {}),
    "l 3": (replace(BASE, l_max=3), {}),
    "l 1, 16 features": (replace(BASE, l_max=1, tensor_features=16), {}),
    "3.5 Å, 16 features": (replace(BASE, cutoff_ang=3.5, tensor_features=16), {}),
    "1 layer, l 3, 16 features": (replace(BASE, layers=1, l_max=3, tensor_features=16), {}),
    "energy weight 50": (BASE, {"energy_weight": 50.0}),
    "no force knee": (BASE, {"force_knee_ev_per_ang": 0.0}),
    "float64": (BASE, {"precision": "float64"}),
}
"""Name, shape, and what differs in the training; all but the first two are the first with a change."""

TEACHER_TESTS = 2
"""The part of the parents that tests here; those that test against DFT are not among the teacher's at all."""

SETTINGS = TrainingSettings(
    batch_size=4, learning_rate=0.02, energy_weight=5.0, force_knee_ev_per_ang=3.0, averaging=0.99
)


def milliseconds_per_atom(potential: AllegroPotential) -> float:
    """Return the processor time for energies, forces and stresses, best of five."""
    rng = np.random.default_rng(0)
    crystals = []
    for _ in range(64):
        atoms = bulk("C", "diamond", a=3.575) * (2, 2, 1)
        atoms.positions += 0.02 * rng.normal(size=atoms.positions.shape)
        crystals.append(Crystal.from_ase(atoms))
    batch = Batch.of(crystals)
    times = []
    for _ in range(6):
        start = time.process_time()
        potential.compute(batch)
        times.append(time.process_time() - start)
    return 1e3 * min(times[1:]) / len(batch.numbers)


def measured(
    shape: AllegroSettings, changes: dict[str, Any], shown: Sequence[Label], tests: Sequence[Label], seconds: float
) -> dict[str, Any]:
    """Train one point and return its row."""
    settings = replace(SETTINGS, **changes)
    times: list[float] = []
    train(
        shown, model=shape, settings=replace(settings, epochs=2), on_epoch=lambda _: times.append(time.process_time())
    )
    epochs = max(2, round(seconds / (times[1] - times[0])))
    model = train(shown, model=shape, settings=replace(settings, epochs=epochs)).model
    potential = AllegroPotential("front", model)
    found = errors_by_kind(potential, tests)
    return {
        "parameters": sum(array.size for array in model.weights.values()),
        "epochs": epochs,
        "ms_per_atom": round(milliseconds_per_atom(potential), 3),
        "energy_mae_mev_per_atom": round(found["crystals"].energy_mae_mev_per_atom, 1),
        "force_rmse_mev_per_ang": round(found["crystals"].force_rmse_mev_per_ang),
        "supercell_force_percent": round(100 * found["supercell"].relative, 2),
    }


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=150.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    ordinary = [
        label for label in read_labels(options.teacher) if kind(label.crystal) not in ("random", "shaken", "scaled")
    ]
    shown, tests = split(ordinary, TEACHER_TESTS)
    rows: dict[str, dict[str, Any]] = {}
    if options.output.exists():
        lines = [json.loads(line) for line in options.output.read_text().splitlines()]
        rows = {line["point"]: line for line in lines if line["labels"] == [len(shown), len(tests)]}
    for name, (shape, changes) in POINTS.items():
        if name not in rows:
            row = measured(shape, changes, shown, tests, options.seconds)
            rows[name] = {"point": name, "labels": [len(shown), len(tests)], "seconds": options.seconds, **row}
            with options.output.open("a") as file:
                file.write(json.dumps(rows[name], ensure_ascii=False) + "\n")
    columns = list(next(iter(rows.values())))
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in rows.values():
        print("| " + " | ".join(str(row[column]) for column in columns) + " |")


if __name__ == "__main__":
    main()

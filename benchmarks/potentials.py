"""Speed of potentials: milliseconds per atom on one core, with energies, forces and stresses.

    OMP_NUM_THREADS=1 python benchmarks/potentials.py [POTENTIAL ...] [--nep NEP.TXT] [--json FILE]

One batch of 64 crystals of 8 atoms: diamond, lonsdaleite, bct-C4 and Z-carbon strained and rattled at random. Beside
the potentials (all registered ones unless given), Allegro models of the preset ``fast`` with random weights, whose
speed is that of trained ones, in float32 and float64; and with ``--nep`` a NEP by calorine's CPUNEP, which must be
installed (``pip install calorine``). All take turns, so that what disturbs the machine disturbs all alike, and the
median of their times counts. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import make_supercell

from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.errors import InputError
from kappaforge.files import write_text
from kappaforge.potentials import registry
from kappaforge.potentials.ase_calculator import AsePotential
from kappaforge.potentials.base import Batch, Potential

SEED = 2025
N_CRYSTALS = 64
N_ATOMS = 8
FEWEST_REPEATS = 5
LOADED = 0.5
"""Load average above which others are at work."""

MULTIPLES = {
    "diamond": [[-1, 1, 1], [1, -1, 1], [1, 1, -1]],
    "lonsdaleite": np.diag([2, 1, 1]),
    "bct-C4": np.diag([1, 1, 2]),
    "Z-carbon": np.eye(3, dtype=int),
}
"""Supercells of 8 atoms."""

STRAIN = 0.015
RATTLE_ANG = 0.05
RANDOM_WEIGHTS_NEIGHBOURS = 66.0
"""Of an atom of diamond within the preset's 4.5 Å; only scales the random model's energies."""


def crystals(seed: int) -> list[Crystal]:
    """Return the batch: tetrahedral carbon, each crystal with its own strain and displacements."""
    rng = np.random.default_rng(seed)
    known = {entry.name: entry.crystal for entry in known_carbons()}
    cells = [make_supercell(known[name].to_ase(), matrix) for name, matrix in MULTIPLES.items()]
    made = []
    for index in range(N_CRYSTALS):
        atoms: Atoms = cells[index % len(cells)].copy()
        strain = rng.normal(scale=STRAIN, size=(3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
        atoms.positions += rng.normal(scale=RATTLE_ANG, size=atoms.positions.shape)
        assert len(atoms) == N_ATOMS, "every supercell has the same number of atoms"
        made.append(Crystal.from_ase(atoms, id=f"{index}"))
    return made


def random_allegro(precision: str) -> Potential:
    """Return an Allegro model of the preset ``fast`` with random weights."""
    from kappaforge.potentials.allegro import AllegroPotential
    from kappaforge.potentials.allegro_model import AllegroModel, fresh_module, weights_of
    from kappaforge.potentials.allegro_settings import PRESETS

    shape, elements = PRESETS["fast"], ("C",)
    module = fresh_module(shape, elements, RANDOM_WEIGHTS_NEIGHBOURS, precision, SEED)
    model = AllegroModel(shape, elements, RANDOM_WEIGHTS_NEIGHBOURS, precision, weights_of(module))
    return AllegroPotential(f"allegro fast, random, {precision}", model)


def in_precision(potential: Potential, precision: str) -> Potential:
    """Return an Allegro potential with its weights cast to another precision."""
    from kappaforge.potentials.allegro import AllegroPotential

    assert isinstance(potential, AllegroPotential), "only these have a precision to choose"
    return AllegroPotential(f"{potential.name}, {precision}", replace(potential.model, precision=precision))


def nep(path: Path) -> Potential:
    """Return calorine's CPUNEP (doi 10.21105/joss.06264), which computes in C++, one crystal after the other."""
    try:
        from calorine.calculators import CPUNEP
    except ImportError as error:
        raise InputError(f"CPUNEP needs calorine ({error}): pip install calorine") from None
    return AsePotential(f"CPUNEP, {path.name}", CPUNEP(str(path)), digest=path.name)


def wanted(names: list[str], nep_path: Path | None) -> tuple[list[Potential], list[str]]:
    """Return the potentials to measure, and why others are left out."""
    makers: list[tuple[str, Callable[[], Potential]]] = [(name, partial(registry.load, name)) for name in names]
    makers += [(f"allegro fast, {each}", partial(random_allegro, each)) for each in ("float32", "float64")]
    if nep_path is not None:
        makers.append(("CPUNEP", partial(nep, nep_path)))
    found: list[Potential] = []
    skipped = [] if nep_path else ["CPUNEP: give its file with --nep"]
    for name, make in makers:
        try:
            potential = make()
        except (InputError, ImportError) as error:
            skipped.append(f"{name}: {error}")
            continue
        found.append(potential)
        if (model := getattr(potential, "model", None)) is not None and not name.startswith("allegro fast"):
            other = "float64" if model.precision == "float32" else "float32"
            found.append(in_precision(potential, other))
    return found, skipped


def measure(potentials: list[Potential], batch: Batch, repeats: int) -> list[dict[str, Any]]:
    """Time all potentials in turns; the first turn, which compiles and fills caches, does not count."""
    times: list[list[float]] = [[] for _ in potentials]
    for turn in range(repeats + 1):
        for potential, own in zip(potentials, times, strict=True):
            start = time.perf_counter()
            prediction = potential.compute(batch)
            seconds = time.perf_counter() - start
            if not np.isfinite(prediction.energies_ev).all():
                raise InputError(f"{potential.name} has no finite answer for the batch, so its time means nothing")
            if turn:
                own.append(1e3 * seconds / len(batch.numbers))
    return [
        {
            "potential": potential.name,
            "digest": potential.digest,
            "median_ms_per_atom": median(own),
            "fastest_ms_per_atom": min(own),
            "slowest_ms_per_atom": max(own),
            "precision": getattr(getattr(potential, "model", None), "precision", ""),
        }
        for potential, own in zip(potentials, times, strict=True)
    ]


def document(about: dict[str, Any], rows: list[dict[str, Any]], skipped: list[str]) -> str:
    """Return the results in Markdown."""
    lines = [
        f"Batch of {N_CRYSTALS} crystals of {N_ATOMS} atoms; energies, forces and stresses; one thread; "
        f"{about['repeats']} repeats. {about['cores']} cores, {about['processor']}, Python {about['python']}.",
        "",
        f"Load average before {about['load_average_before']:.2f}, after {about['load_average_after']:.2f}"
        + (
            ": **other programs were running, so these times are too long and only their ratios mean something.**"
            if about["load_average_before"] > LOADED
            else "."
        ),
        "",
        "| potential | median (ms/atom) | fastest | slowest |",
        "| --- | --- | --- | --- |",
        *(
            f"| {row['potential']}{' (' + row['precision'] + ')' if row['precision'] else ''} "
            f"| {row['median_ms_per_atom']:.4f} | {row['fastest_ms_per_atom']:.4f} | {row['slowest_ms_per_atom']:.4f} |"
            for row in rows
        ),
        *(["", "Left out:", *(f"- {each}" for each in skipped)] if skipped else []),
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("potentials", nargs="*", metavar="POTENTIAL", default=list(registry.available()))
    parser.add_argument("--nep", type=Path, help="nep.txt for calorine's CPUNEP")
    parser.add_argument("--repeats", type=int, default=FEWEST_REPEATS)
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    if options.repeats < FEWEST_REPEATS:
        parser.error(f"--repeats: expected at least {FEWEST_REPEATS}, got {options.repeats}")
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("set OMP_NUM_THREADS=1: the times are those of one core")
    load_before = os.getloadavg()[0]
    potentials, skipped = wanted(options.potentials, options.nep)
    rows = measure(potentials, Batch.of(crystals(SEED)), options.repeats)
    about = {
        "repeats": options.repeats,
        "cores": os.cpu_count(),
        "processor": _processor(),
        "python": platform.python_version(),
        "load_average_before": load_before,
        "load_average_after": os.getloadavg()[0],
    }
    if options.json:
        write_text(options.json, json.dumps({**about, "times": rows, "left_out": skipped}, indent=1) + "\n")
    print(document(about, rows, skipped))


def _processor() -> str:
    """Return the processor's name where the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))

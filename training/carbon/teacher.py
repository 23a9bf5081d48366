"""Label many carbon crystals by 7net-0, from which the `carbon` potential learns before it sees DFT.

    python training/carbon/teacher.py CARBON24... --labelled structures.extxyz --output teacher.extxyz.gz

CARBON24 are AIRSS carbon files (Materials Cloud 2020.0026/v1), and `structures.py` wrote the labelled; 7net-0 is
SevenNet's first universal model (MIT licence; doi 10.1021/acs.jctc.4c00190), trained on PBE relaxations. It is soft,
18 % in diamond's optical frequency, but right enough that the few hundred DFT labels only have to correct it. Every
structure has a `source`, its kind and parent:

- ``relaxed``: distinct AIRSS crystals of at most 16 atoms, scaled as the labelled are, ±6 % in volume;
- ``rattled`` and ``known``: those and the known carbons, strained and rattled as the labelled are;
- ``shaken``: the same, rattled by 0.2-0.5 Å, as a generator leaves them;
- ``scaled``: the same, hardly rattled, at 0.58-1.5 of the volume;
- ``supercell``: 12-64 atoms with displacements of 0.01-0.1 Å;
- ``random``: 4-12 atoms anywhere in cells of 1.5-4.5 g/cm³, not nearer than 0.75 Å. These, the shaken and the scaled
  teach what keeps a relaxation from collapsing.

Crystals that are the same as one held out for testing are left out, and so are labels above 8 eV/atom or 60 eV/Å. The
order is random, the scaled come last. A killed run goes on after the last fifty.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from split import is_held_out, kind, parent
from structures import EXPANSION, distorted

from kappaforge.crystal import Crystal
from kappaforge.dataset.distances import shortest_distance_ang
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.dataset.readers import read
from kappaforge.label.base import Label
from kappaforge.label.dataset import read_labels, write_labels
from kappaforge.potentials.base import Batch
from kappaforge.potentials.registry import load
from kappaforge.screen.settings import ScreenSettings
from kappaforge.screen.unique import group, match

SEED = 7
TEACHER = "7net-0"
MAX_ATOMS = 16
SCALED_MAX_ATOMS = 8
N_POOL = 3000
N_RELAXED, N_RATTLED, N_KNOWN, N_SHAKEN, N_SUPERCELLS, N_RANDOM, N_SCALED = 300, 600, 300, 200, 400, 200, 200
NEAREST_ANG = 0.75
HIGHEST_FORCE_EV_PER_ANG = 60.0
HIGHEST_EV_PER_ATOM = -1.0
"""Diamond has -9.1."""

CHUNK = 50
ATOMIC_MASS_G_ANG3_PER_CM3 = 12.011 / 0.602214


def supercell(crystal: Crystal, name: str, rng: np.random.Generator) -> Crystal:
    """Repeat a crystal along its shortest axes to a random size and displace its atoms."""
    atoms, wanted = crystal.to_ase(), rng.choice((12, 16, 24, 32))
    while len(atoms) < wanted and 2 * len(atoms) <= 64:
        multiples = [1, 1, 1]
        multiples[int(np.argmin(atoms.cell.lengths()))] = 2
        atoms = atoms.repeat(multiples)
    atoms.set_cell(atoms.cell * rng.uniform(0.985, 1.015), scale_atoms=True)
    amplitude = np.exp(rng.uniform(np.log(0.01), np.log(0.1)))
    atoms.positions += rng.normal(scale=amplitude / np.sqrt(3), size=atoms.positions.shape)
    return Crystal.from_ase(atoms, id=name, source=f"supercell {crystal.id}", parents=(crystal.digest,))


def shaken(crystal: Crystal, name: str, rng: np.random.Generator) -> Crystal:
    """Rattle until the crystal is hardly recognised."""
    cell = crystal.cell * rng.uniform(0.93, 1.08)
    spread = rng.uniform(0.2, 0.5) / np.sqrt(3)
    positions = crystal.fractional @ cell + rng.normal(scale=spread, size=crystal.positions.shape)
    return replace(crystal.moved_to(cell, positions), id=name, source=f"shaken {crystal.id}")


def scaled(crystal: Crystal, name: str, rng: np.random.Generator) -> Crystal:
    """Compress or stretch."""
    cell = crystal.cell * np.exp(rng.uniform(np.log(0.58), np.log(1.5)) / 3)
    positions = crystal.fractional @ cell + rng.normal(scale=0.02, size=crystal.positions.shape)
    return replace(crystal.moved_to(cell, positions), id=name, source=f"scaled {crystal.id}")


def random_crystal(name: str, rng: np.random.Generator, n_atoms_range: tuple[int, int] = (4, 12)) -> Crystal:
    """Put atoms anywhere in a cell that is not too skew."""
    n_atoms = int(rng.integers(n_atoms_range[0], n_atoms_range[1] + 1))
    volume = n_atoms * ATOMIC_MASS_G_ANG3_PER_CM3 / rng.uniform(1.5, 4.5)
    cell = np.eye(3) + rng.uniform(-0.4, 0.4, size=(3, 3))
    cell *= (volume / abs(np.linalg.det(cell))) ** (1 / 3)
    positions = rng.uniform(size=(n_atoms, 3)) @ cell
    return Crystal(cell, positions, np.full(n_atoms, 6), id=name, source=f"random {name}")


def structures(files: list[str], labelled: Path) -> list[Crystal]:
    """Return the structures in random order."""
    rng = np.random.default_rng(SEED)
    known = [entry.crystal for entry in known_carbons()]
    pool = [entry.crystal for path in files for entry in read(path)]
    pool = [crystal for crystal in pool if len(crystal) <= MAX_ATOMS and not is_held_out(crystal.id)]
    pool = [pool[index] for index in rng.choice(len(pool), min(N_POOL, len(pool)), replace=False)]
    pool = [pool[index] for index in np.unique(group(pool, ScreenSettings()))]
    tests = [crystal for crystal in known if is_held_out(crystal.id)]
    tests += [
        entry.crystal
        for entry in read(labelled)
        if kind(entry.crystal) == "relaxed" and is_held_out(parent(entry.crystal))
    ]
    pool = [
        crystal.moved_to(crystal.cell * EXPANSION, crystal.positions * EXPANSION)
        for crystal, same in zip(pool, match(pool, tests, ScreenSettings()), strict=True)
        if same < 0
    ]
    known = [crystal for crystal in known if not is_held_out(crystal.id)]
    print(f"{len(pool)} distinct AIRSS crystals, {len(known)} known", flush=True)

    def some(crystals: list[Crystal], count: int) -> list[Crystal]:
        return [crystals[index] for index in rng.permutation(np.arange(count) % len(crystals))]

    made = []
    for n, crystal in enumerate(some(pool, N_RELAXED)):
        scale = rng.uniform(0.94, 1.06) ** (1 / 3)
        swollen = crystal.moved_to(crystal.cell * scale, crystal.positions * scale)
        made.append(replace(swollen, id=f"e{n}", source=f"relaxed {crystal.id}"))
    made += [distorted(crystal, f"r{n}", "rattled", rng) for n, crystal in enumerate(some(pool, N_RATTLED))]
    made += [distorted(crystal, f"k{n}", "known", rng) for n, crystal in enumerate(some(known, N_KNOWN))]
    made += [shaken(crystal, f"w{n}", rng) for n, crystal in enumerate(some(pool + known, N_SHAKEN))]
    both = some(known, N_SUPERCELLS // 2) + some(pool, N_SUPERCELLS // 2)
    made += [supercell(crystal, f"s{n}", rng) for n, crystal in enumerate(both)]
    made += [random_crystal(f"x{n}", rng) for n in range(N_RANDOM)]
    made = [made[index] for index in rng.permutation(len(made))]
    small = [crystal for crystal in pool if len(crystal) <= SCALED_MAX_ATOMS] + 4 * known
    made += [scaled(crystal, f"c{n}", rng) for n, crystal in enumerate(some(small, N_SCALED))]
    made = [crystal for crystal in made if shortest_distance_ang(crystal) > NEAREST_ANG]
    return made


def main() -> None:
    """Write the labels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("carbon24", nargs="+")
    parser.add_argument("--labelled", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    teacher = load(TEACHER)
    engine = f"{TEACHER} {teacher.digest[:12]}"
    labels = read_labels(options.output) if options.output.exists() else []
    todo = structures(options.carbon24, options.labelled)
    order = {crystal.id: index for index, crystal in enumerate(todo)}
    seen = 1 + order[labels[-1].id] if labels else 0
    print(f"{len(todo)} structures, {sum(map(len, todo))} atoms; {seen} done before", flush=True)
    for start in range(seen, len(todo), CHUNK):
        chunk = todo[start : start + CHUNK]
        batch = Batch.of(chunk)
        answer = teacher.compute(batch)
        for index, rows in enumerate(batch.slices):
            forces = answer.forces_ev_per_ang[rows]
            made = chunk[index]
            low = answer.energies_ev[index] < HIGHEST_EV_PER_ATOM * len(made)
            if low and np.abs(forces).max() < HIGHEST_FORCE_EV_PER_ANG:
                labels.append(Label(made.id, made, engine, "ok", "", answer.energies_ev[index], forces))
        write_labels(labels, options.output)
        print(f"{start + len(chunk)} of {len(todo)}: {len(labels)} labels", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

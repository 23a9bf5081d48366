"""Choose the carbon crystals whose DFT labels make the `carbon` potential.

    python training/carbon/structures.py CARBON24... --output structures.extxyz

CARBON24 are AIRSS carbon files (Materials Cloud 2020.0026/v1). Every structure carries its `parent`, the crystal it was
made from, so that a split never puts one crystal on both sides, and its `kind`:

- ``relaxed``: unique crystals of at most 12 atoms, farthest points on SOAP. Their geometries are minima of an LDA-like
  functional at 10 GPa; all lengths are scaled so that diamond takes the lattice constant it has at 0 GPa;
- ``rattled``: the same, strained by up to ±4 % in volume and rattled by 0.01-0.2 Å;
- ``known``: diamond, its polytypes, graphite and other published carbons, rattled and strained likewise;
- ``supercell``: supercells of 16-64 atoms with small random displacements, whose forces decide force constants;
- ``strained``: diamond and lonsdaleite under strain, with displacements of 0.02 Å: labels have no stress, so that
  lattice constants and elasticity come from these energies.

The order is random, so that any first part of the list is a fair sample; the strained come last.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.dataset.readers import read
from kappaforge.describe.settings import DescribeSettings
from kappaforge.describe.soap import average_soap
from kappaforge.screen.settings import ScreenSettings
from kappaforge.screen.unique import group
from kappaforge.select.farthest import farthest_points

SEED = 2025
N_DIVERSE = 240
MAX_ATOMS = 12
EXPANSION = 3.575 / 3.515
"""Diamond's lattice constant with optB88-vdW over that of the data set, Å."""

KNOWN_VARIANTS = 4
SUPERCELLS = {
    # diamond decides the showcase; the others are bonded differently: eclipsed, four-rings, five- and seven-rings
    "diamond": (((2, 2, 2), 12), ((3, 3, 3), 6), ((4, 4, 2), 4)),
    "lonsdaleite": (((2, 2, 1), 8), ((3, 3, 1), 4)),
    "bct-C4": (((2, 2, 2), 6),),
    "Z-carbon": (((2, 2, 1), 6),),
}
DISPLACEMENTS_ANG = (0.01, 0.03, 0.06)
STRAINED = {"diamond": 16, "lonsdaleite": 6}
STRAIN = 0.02


def distorted(crystal: Crystal, name: str, kind: str, rng: np.random.Generator) -> Crystal:
    """Strain by up to ±4 % in volume with some shear, and rattle by 0.01-0.2 Å."""
    strain = rng.normal(scale=0.012, size=(3, 3))
    strain = (strain + strain.T) / 2
    strain += np.eye(3) * (rng.uniform(-0.04, 0.04) / 3 - np.trace(strain) / 3)
    cell = crystal.cell @ (np.eye(3) + strain)
    amplitude = np.exp(rng.uniform(np.log(0.01), np.log(0.2)))
    positions = crystal.fractional @ cell + rng.normal(scale=amplitude / np.sqrt(3), size=crystal.positions.shape)
    return replace(crystal.moved_to(cell, positions), id=name, source=f"{kind} {crystal.id}")


def displaced(crystal: Crystal, multiples: tuple[int, int, int], name: str, rng: np.random.Generator) -> Crystal:
    """Displace all atoms of a supercell at random."""
    atoms = crystal.to_ase().repeat(multiples)
    amplitude = rng.choice(DISPLACEMENTS_ANG)
    atoms.positions += rng.normal(scale=amplitude / np.sqrt(3), size=atoms.positions.shape)
    made = Crystal.from_ase(atoms, id=name, source=f"supercell {crystal.id}", parents=(crystal.digest,))
    return made


def strained(crystal: Crystal, name: str, share: float, rng: np.random.Generator) -> Crystal:
    """Strain by 2 % or so in all directions, every second time without shear; `share` is the place in the series."""
    strain = np.eye(3) * STRAIN * (2 * share - 1)
    if rng.uniform() < 0.5:
        shear = rng.normal(scale=STRAIN / 2, size=(3, 3))
        strain += (shear + shear.T) / 2
    cell = crystal.cell @ (np.eye(3) + strain)
    positions = crystal.fractional @ cell + rng.normal(scale=0.02 / np.sqrt(3), size=crystal.positions.shape)
    return replace(crystal.moved_to(cell, positions), id=name, source=f"strained {crystal.id}")


def main() -> None:
    """Write the structures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("carbon24", nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    rng = np.random.default_rng(SEED)

    pool = [entry.crystal for path in options.carbon24 for entry in read(path) if len(entry.crystal) <= MAX_ATOMS]
    features = average_soap(pool, DescribeSettings())
    # twice as many as wanted, as some are the same
    picks = [pool[index] for index in farthest_points(features, 2 * N_DIVERSE)]
    labels = group(picks, ScreenSettings())
    diverse = [
        crystal.moved_to(crystal.cell * EXPANSION, crystal.positions * EXPANSION)
        for index, crystal in enumerate(picks)
        if labels[index] == index
    ][:N_DIVERSE]
    print(f"{len(pool)} crystals, {len(picks)} farthest points, {len(diverse)} distinct of them labelled", flush=True)

    known = [entry.crystal for entry in known_carbons()]
    structures = [replace(crystal, source=f"relaxed {crystal.id}") for crystal in diverse]
    structures += [distorted(crystal, f"{crystal.id}-r", "rattled", rng) for crystal in diverse]
    for crystal in known:
        structures += [distorted(crystal, f"{crystal.id}-k{n}", "known", rng) for n in range(KNOWN_VARIANTS)]
        for multiples, count in SUPERCELLS.get(crystal.id, ()):
            size = "x".join(map(str, multiples))
            structures += [displaced(crystal, multiples, f"{crystal.id}-{size}-{n}", rng) for n in range(count)]
    order = [*rng.permutation(len(structures)), *range(len(structures), len(structures) + sum(STRAINED.values()))]
    rng = np.random.default_rng(SEED)
    for crystal in known:
        for n in range(STRAINED.get(crystal.id, 0)):
            share = (n + 0.5) / STRAINED[crystal.id]
            structures.append(strained(crystal, f"{crystal.id}-s{n}", share, rng))

    from kappaforge.dataset.writers import write

    write([structures[index] for index in order], options.output)
    print(f"{len(structures)} structures, {sum(map(len, structures))} atoms, in {options.output}")


if __name__ == "__main__":
    main()

"""Choose minima of the `carbon` potential itself for labelling: those its committee disagrees about.

    python training/carbon/searched.py --labelled structures.extxyz --output searched.extxyz

`structures.py` wrote the labelled. Atoms anywhere in a cell, 3 to 8 of them, are relaxed by the potential as a
generated crystal is. Of the distinct minima that are no labelled crystal, the most uncertain by the energy's standard
deviation are asked for, each as found and distorted, with the id of its minimum as parent. A false minimum, which no
data set of real crystals contains, is found this way.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from split import kind
from structures import distorted
from teacher import random_crystal

from kappaforge.crystal import Crystal
from kappaforge.dataset.distances import shortest_distance_ang
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.dataset.readers import read
from kappaforge.dataset.writers import write
from kappaforge.learn.committee import uncertainty
from kappaforge.potentials.allegro import AllegroPotential
from kappaforge.potentials.base import Batch
from kappaforge.potentials.family import read_committee
from kappaforge.potentials.registry import load, model_file
from kappaforge.relax.relaxer import relax
from kappaforge.relax.settings import RelaxSettings
from kappaforge.screen.settings import ScreenSettings
from kappaforge.screen.unique import group, match

SEED = 41
N_RANDOM = 400
N_ATOMS = (3, 8)
LEAST_G_PER_CM3 = 2.0
"""Chains and molecules with a vacuum between them are left out: nothing there conducts."""

N_DISTORTED = 2
N_DISTORTED_FALSE = 10
"""Of minima below diamond."""

NEAREST_ANG = 0.9
LABELLED_NEAREST_ANG = 1.1
"""Nearer atoms are a collapse, of which DFT's pseudopotentials know nothing either."""


def minima(rng: np.random.Generator) -> list[Crystal]:
    """Relax random crystals and return the distinct ends."""
    starts: list[Crystal] = []
    while len(starts) < N_RANDOM:
        crystal = random_crystal(f"m{SEED}-{len(starts)}", rng, N_ATOMS)
        if shortest_distance_ang(crystal) > NEAREST_ANG:
            starts.append(crystal)
    settings = RelaxSettings(max_steps=400, fmax_ev_per_ang=0.05, stress_max_gpa=1.0)
    ends = [result.crystal for result in relax(starts, load("carbon"), settings)]
    ends = [
        crystal
        for crystal in ends
        if shortest_distance_ang(crystal) > LABELLED_NEAREST_ANG and crystal.density_g_per_cm3 > LEAST_G_PER_CM3
    ]
    return [ends[index] for index in np.unique(group(ends, ScreenSettings()))]


def main() -> None:
    """Write the structures, the most uncertain first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labelled", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--count", type=int, default=60, help="minima to ask for")
    options = parser.parse_args()
    rng = np.random.default_rng(SEED)
    found = minima(rng)
    before = [entry.crystal for entry in read(options.labelled) if kind(entry.crystal) == "relaxed"]
    before += [entry.crystal for entry in known_carbons()]
    diamond = next(crystal for crystal in before if crystal.id == "diamond")
    lowest_ev_per_atom = load("carbon").compute(Batch.of([diamond])).energies_ev[0] / len(diamond)
    new = [crystal for crystal, same in zip(found, match(found, before, ScreenSettings()), strict=True) if same < 0]
    carbon = model_file("carbon")
    assert carbon is not None, "it is a trained model"
    members = [AllegroPotential(f"member {n}", model) for n, model in enumerate(read_committee(carbon))]
    spread = uncertainty(members, new)
    order = np.argsort(-spread.energy_std_mev_per_atom)[: options.count]
    print(f"{N_RANDOM} random crystals, {len(found)} distinct minima, {len(new)} not labelled before")
    made = []
    for index in order:
        crystal = new[index]
        print(
            f"{crystal.id}: {len(crystal)} atoms, {crystal.density_g_per_cm3:.2f} g/cm³, "
            f"{spread.energy_ev_per_atom[index]:.2f} eV/atom, ± {spread.energy_std_mev_per_atom[index]:.0f} meV/atom"
        )
        made.append(replace(crystal, source=f"searched {crystal.id}"))
        copies = N_DISTORTED if spread.energy_ev_per_atom[index] > lowest_ev_per_atom else N_DISTORTED_FALSE
        made += [distorted(crystal, f"{crystal.id}-d{n}", "searched", rng) for n in range(copies)]
    write(made, options.output)


if __name__ == "__main__":
    main()

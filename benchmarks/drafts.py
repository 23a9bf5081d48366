"""What a flow's single drafts are worth before its judge chooses: share with atoms apart, CPU time of each.

Draws crystals of the patterns that the flow has learned, and a share of sites from tables, 0.3 for proposals:

    OMP_NUM_THREADS=1 python benchmarks/drafts.py [GENERATOR] [-n 3008] [--steps 8] [--enumerated 0.3]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch
from ase.neighborlist import neighbor_list

from kappaforge.generate import registry
from kappaforge.generate.flow.generator import Flow
from kappaforge.generate.flow.sampling import STEPS
from kappaforge.generate.settings import GenerateSettings

APART_ANG = 1.2
WARM_UP_SEED, SEED = 9, 1


def main() -> None:
    """Draw drafts and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generator", nargs="?", default="flow", help="name or file of a flow")
    parser.add_argument("-n", type=int, default=3008)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--enumerated", type=float, default=GenerateSettings().enumerated, help="share from tables")
    parser.add_argument("--max-atoms", type=int, default=12)
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = GenerateSettings(
        generator=options.generator,
        max_atoms=options.max_atoms,
        enumerated=options.enumerated,
        max_attempts=1,  # the first draft, whatever it is
        min_distance_factor=1e-6,
    )
    loaded = registry.load(options.generator, settings)
    if not isinstance(loaded, Flow):
        parser.error(f"{Path(options.generator).name} is no flow")
    flow = replace(loaded, judge=None)
    flow.sample(flow.batch, seed=WARM_UP_SEED, steps=options.steps)
    start = time.process_time()
    drafts = flow.sample(options.n, seed=SEED, steps=options.steps)
    seconds = time.process_time() - start
    whole = [draft.crystal.to_ase() for draft in drafts if draft.crystal is not None]
    apart = sum(len(neighbor_list("d", atoms, APART_ANG)) == 0 for atoms in whole)
    print(
        f"{options.n} drafts of {options.steps} steps, {options.enumerated:g} from tables: {apart / options.n:.1%} with"
        f" no atoms closer than {APART_ANG} Å; {1e3 * seconds / options.n:.1f} ms of CPU time each"
    )


if __name__ == "__main__":
    main()

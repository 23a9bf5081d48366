"""Let a flow learn which of its drafts relax to low energies, from drafts that are relaxed here.

    python training/flow/judge.py FLOW.safetensors RUN -n 3000 -o JUDGED.safetensors

RUN is a folder that keeps what was computed; the same again goes on. The drafts are of a seed that no evaluation uses.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from kappaforge.campaign.evaluation import EvaluationSettings, propose, relaxed
from kappaforge.campaign.memo import Memo
from kappaforge.cli.terminal import Bars
from kappaforge.engine.settings import EngineSettings
from kappaforge.generate.flow.generator import Flow
from kappaforge.generate.settings import GenerateSettings
from kappaforge.potentials import registry
from kappaforge.store.run_folder import RunFolder

SEED = 1_000_003
HELD_OUT = 5
"""Every fifth draft is kept for the printed test; the judge that is saved learns from all."""


def main() -> None:
    """Draft, relax, fit, test, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flow", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("-n", type=int, default=3000, help="drafts")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--potential", default="carbon")
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    settings = GenerateSettings(generator=str(options.flow), best_of=1, max_attempts=1)
    evaluation = EvaluationSettings(seed=SEED)
    options.run.mkdir(parents=True, exist_ok=True)
    engine = EngineSettings(workers=options.workers)
    with RunFolder.open(options.run, write=True) as folder, Bars() as bars, Memo(folder, engine, bars) as memo:
        proposals = [one for batch in propose(memo, settings, options.n, evaluation) for one in batch.proposals]
        drafts = [one.crystal for one in proposals if one.crystal is not None]
        records, _ = relaxed(memo, "relax drafts", drafts, registry.load(options.potential), evaluation)
    pairs = [(draft, record) for draft, record in zip(drafts, records, strict=True) if record.status == "ok"]
    crystals, energies = [draft for draft, _ in pairs], np.array([record.energy_ev_per_atom for _, record in pairs])
    flow, tested = Flow.load(options.flow, settings), np.arange(len(pairs)) % HELD_OUT == 0
    judge = flow.with_judge([crystals[i] for i in np.flatnonzero(~tested)], energies[~tested])
    expected = judge.doubts([crystals[i] for i in np.flatnonzero(tested)])
    sizes = np.array([len(crystal) for crystal in crystals])[tested]
    for size in np.unique(sizes):
        own = sizes == size
        rank = spearmanr(expected[own], energies[tested][own]).statistic
        print(f"{size} atoms: {own.sum()} held out, rank correlation with the relaxed energy {rank:.2f}")
    flow.with_judge(crystals, energies).save(options.output)
    print(f"{len(pairs)} of {options.n} drafts relaxed; generator in {options.output}")


if __name__ == "__main__":
    main()

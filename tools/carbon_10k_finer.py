"""Compute κ of a random sample of the carbon campaign's networks again on meshes 1.5 times as fine.

    .venv/bin/python tools/carbon_10k_finer.py --crystals 24

What the mesh leaves is estimated in the campaign; this measures it. Each crystal is written to
`results/carbon-10k/finer.jsonl` as soon as it is computed, so a killed run goes on after it. Larger samples begin with
the smaller ones. Crystals given by name are computed too, and told as chosen.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import ase.io
from carbon_10k_page import MESH_TOLERANCE, is_good, mesh_error

from kappaforge.campaign.candidate import kappa_of
from kappaforge.campaign.refine import FINER
from kappaforge.crystal import Crystal
from kappaforge.potentials.registry import load
from kappaforge.relax.settings import RelaxSettings
from kappaforge.screen.settings import ScreenSettings
from kappaforge.transport.record import largest_eigenvalue
from kappaforge.transport.settings import KappaSettings

RESULTS = Path(__file__).resolve().parents[1] / "results" / "carbon-10k"
FOUND = RESULTS / "finer.jsonl"
LIMIT_W_PER_MK = 800.0


def main() -> None:
    """Go on with the sample."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chosen", nargs="*", metavar="ID", help="others than those of the sample")
    parser.add_argument("--crystals", type=int, default=24, help="in the sample (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    done = {json.loads(line)["id"] for line in FOUND.read_text().splitlines()} if FOUND.exists() else set()
    crystals = {atoms.info["id"]: atoms for atoms in ase.io.read(RESULTS / "crystals.extxyz", ":")}
    drawn = sample(json.loads((RESULTS / "table.json").read_text()), options.seed)[: options.crystals]
    for name in [*options.chosen, *drawn]:
        if name not in done:
            found = on_finer_meshes(Crystal.from_ase(crystals[name], id=name))
            if name in options.chosen:
                found["chosen"] = True
            with FOUND.open("a") as file:
                file.write(json.dumps(found, ensure_ascii=False) + "\n")
            print(found, flush=True)


def sample(rows: list[dict[str, Any]], seed: int) -> list[str]:
    """Return the networks above the limit whose mesh is to leave more than is wanted, in random order."""
    coarse = sorted(row["id"] for row in rows if is_good(row, LIMIT_W_PER_MK) and mesh_error(row) > MESH_TOLERANCE)
    Random(seed).shuffle(coarse)
    return coarse


def on_finer_meshes(crystal: Crystal) -> dict[str, Any]:
    """Return κ of a relaxed crystal on the finer pair of meshes, extrapolated."""
    start = time.perf_counter()
    settings = KappaSettings()
    settings = replace(settings, mesh_length_ang=FINER * settings.mesh_length_ang)
    record = kappa_of(crystal, load("carbon"), RelaxSettings(), settings, ScreenSettings(), relaxed=False)
    kappa = record.kappa
    if kappa is None or kappa.solution is None or kappa.solution.kappa_lbte_w_per_mk is None:
        return {"id": crystal.id, "status": record.status, "reason": record.reason}
    return {
        "id": crystal.id,
        "status": record.status,
        "meshes": kappa.meshes,
        "kappa_rta_max_w_per_mk": largest_eigenvalue(kappa.solution.kappa_rta_w_per_mk),
        "kappa_lbte_max_w_per_mk": largest_eigenvalue(kappa.solution.kappa_lbte_w_per_mk),
        "seconds": round(time.perf_counter() - start, 1),
    }


if __name__ == "__main__":
    main()

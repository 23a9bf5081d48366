"""Measure the rates that ``kappaforge run --dry-run`` falls back on, and print them as TOML.

    OMP_NUM_THREADS=1 RAYON_NUM_THREADS=1 python benchmarks/rates.py --beside "nothing" --run RUN \
        > src/kappaforge/campaign/reference_rates.toml

CPU seconds of this process with one thread, after a first call of each kind that compiles and loads: what a worker
spends, whatever else the machine does. κ is measured on known carbons and fitted by a power of the atoms in the
primitive cell. What is printed on stderr is each measurement.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from kappaforge import __version__
from kappaforge.campaign import tasks
from kappaforge.campaign.trials import quick
from kappaforge.cli.checks import cpu_name, usable_cores
from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.describe.settings import DescribeSettings
from kappaforge.generate.settings import GenerateSettings
from kappaforge.potentials import registry
from kappaforge.relax.settings import RelaxSettings
from kappaforge.screen.settings import ScreenSettings
from kappaforge.store.published import PUBLISHED
from kappaforge.store.run_folder import RunFolder
from kappaforge.transport.error_settings import ErrorBarSettings
from kappaforge.transport.settings import KappaSettings

KNOWN = {entry.crystal.id: entry.crystal for entry in known_carbons()}
LADDER = ("diamond", "bct-C4", "Z-carbon", "AA-T12")
"""2 to 12 atoms, 48 to 8 operations."""
POTENTIALS = ("carbon", "brenner", "tersoff", "7net-0")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", required=True, help="what else the machine was doing, in words")
    parser.add_argument("--run", type=Path, required=True, help="a finished campaign, for the shares of its crystals")
    options = parser.parse_args()
    shares = _shares(options.run)
    flow, generate = _generate()
    lines = [
        "# Measured by benchmarks/rates.py, for `kappaforge run --dry-run`: CPU seconds of one core.",
        f'machine = "{cpu_name()}, {usable_cores()} cores"',
        f'beside = "{options.beside}"',
        f'date = "{datetime.now(UTC):%Y-%m-%d}"',
        f'kappaforge = "{__version__}"',
        "",
        "[generate] # s per proposal of up to 12 carbon atoms",
        *(f"{name} = {seconds:.4g}" for name, seconds in generate.items()),
        "",
        "[relax] # s per atom of a generated crystal",
        *(f"{name} = {seconds:.4g}" for name, seconds in _relax(flow).items()),
        "",
        "[screen] # s per relaxed crystal: reduction, comparison, symmetry",
        f"each = {_screen(flow):.4g}",
        "",
        "[describe] # s per candidate: SOAP and its place on the map",
        f"each = {_describe(flow):.4g}",
        *_kappa(),
        "",
        "[shares] # of a campaign: proposals and the candidates among them; of its generated benchmarks those stable,",
        "# of all benchmarks those above its limit; distinct neighbours for each of those and each neighbour wanted",
        *(f"{name} = {share:.4g}" for name, share in shares.items()),
    ]
    print("\n".join(lines))


def _shares(path: Path) -> dict[str, float]:
    """Return what became of the crystals of a finished run."""
    with RunFolder.open(path) as folder:
        published = folder.recall(PUBLISHED)
    select = published.settings["select"]
    made = [row for row in published.rows if not row.source.startswith("known")]
    first = [row for row in published.rows if row.role == "benchmark"]
    good = [row for row in first if (row.kappa_rta_max_w_per_mk or 0.0) >= select["ultrahigh_kappa_w_per_mk"]]
    generated = [row for row in first if not row.source.startswith("known")]
    near = sum(row.role == "neighbour" for row in published.rows)
    return {
        "proposals": published.settings["generate"]["n"],
        "candidates": sum(row.stage in ("select", "kappa") for row in made),
        "stable": sum(row.status == "ok" for row in generated) / len(generated),
        "good": len(good) / len(first),
        "neighbours_each": near / (len(good) * select["neighbours"]),
    }


def spent(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """Return a call's result and its CPU time, s."""
    start = time.process_time()
    result = function(*arguments)
    return result, time.process_time() - start


def _generate() -> tuple[list[Crystal], dict[str, float]]:
    seconds, crystals = {}, []
    for name, n in (("flow", 192), ("random", 64), ("cdvae-small", 2)):
        settings = GenerateSettings(generator=name)
        if name != "cdvae-small":  # it takes longer than anything there is to warm
            tasks.generate(settings, 1, 0, 1)
        proposals, time_s = spent(tasks.generate, settings, 0, 0, n)
        seconds[name] = time_s / n
        _tell(f"generate {name}: {time_s:.2f} s for {n}")
        if name == "flow":
            crystals = [each.crystal for each in proposals if each.crystal is not None]
    return crystals, seconds


def _relax(crystals: Sequence[Crystal]) -> dict[str, float]:
    seconds = {}
    for name in POTENTIALS:
        some = tuple(crystals[:16] if name == "7net-0" else crystals[:64])
        tasks.relax_batch(some[:1], name, RelaxSettings())
        _, time_s = spent(tasks.relax_batch, some, name, RelaxSettings())
        atoms = sum(map(len, some))
        seconds[name] = time_s / atoms
        _tell(f"relax {name}: {time_s:.2f} s for {len(some)} crystals of {atoms} atoms")
    return seconds


def _screen(crystals: Sequence[Crystal]) -> float:
    settings = ScreenSettings()

    def whole(some: Sequence[Crystal]) -> None:
        reduced = tasks.reduce_cells(some)
        tasks.group_crystals(reduced, settings)
        tasks.match_crystals(reduced, tasks.reduce_cells(tuple(KNOWN.values())), settings)
        tasks.find_symmetry(some, settings)

    whole(crystals[:4])
    _, time_s = spent(whole, tuple(crystals))
    _tell(f"screen: {time_s:.2f} s for {len(crystals)}")
    return time_s / len(crystals)


def _describe(crystals: Sequence[Crystal]) -> float:
    settings = DescribeSettings()

    def whole(some: Sequence[Crystal]) -> None:
        tasks.map_features(tasks.soap(some, settings, ("C",)), settings, 0)

    whole(crystals[:16])
    _, time_s = spent(whole, tuple(crystals))
    _tell(f"describe: {time_s:.2f} s for {len(crystals)}")
    return time_s / len(crystals)


def _kappa() -> list[str]:
    """Return tables of ``a`` and ``b`` in a·N^b for each potential and kind of κ."""
    plain = KappaSettings()
    paper = KappaSettings(method="paper")
    bar = ErrorBarSettings()
    member = quick(plain, bar.fit_cutoff_ang)
    nearest = replace(member.force_constants, fc3_face_distance_ang=bar.fc3_face_distance_ang)
    kinds: dict[str, tuple[KappaSettings, dict[str, tuple[str, ...]]]] = {
        "harmonic": (replace(plain, level="harmonic"), {"carbon": LADDER, "brenner": LADDER, "7net-0": LADDER[:2]}),
        "rta": (replace(plain, level="rta"), {"carbon": LADDER}),
        "full": (plain, {"carbon": LADDER, "brenner": LADDER, "7net-0": LADDER[:2]}),
        "paper": (paper, {"carbon": LADDER[:2], "brenner": LADDER[:2]}),
        "member": (replace(member, force_constants=nearest), {"carbon": LADDER}),
    }
    lines = []
    for kind, (settings, wanted) in kinds.items():
        lines += ["", f"[kappa.{kind}] # s per stable crystal of N atoms: a N^b"]
        for name, crystals in wanted.items():
            model = f"{name}-committee-0" if kind == "member" else name
            registry.load(model)
            found = [_one(kind, KNOWN[crystal], model, settings) for crystal in ("diamond", *crystals)][1:]
            power, log_factor = np.polyfit(np.log([n for n, _ in found]), np.log([time_s for _, time_s in found]), 1)
            lines.append(f"{name} = {{ a = {np.exp(log_factor):.3g}, b = {power:.2f}, measured = {len(found)} }}")
    return lines


def _one(kind: str, crystal: Crystal, potential: str, settings: KappaSettings) -> tuple[int, float]:
    arguments = (crystal, potential, RelaxSettings(), settings, ScreenSettings())
    record, time_s = spent(tasks.compute_kappa, *arguments)
    _tell(f"kappa {kind} {potential} {crystal.id}: {time_s:.2f} s, {record.status} {record.reason}")
    return record.symmetry.n_atoms, time_s


def _tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

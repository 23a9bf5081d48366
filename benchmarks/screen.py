"""What distillation costs and whether it is right: 100,000 crystals on two cores, 2,000 of them against pymatgen.

Four in five crystals are carbon-24's, displaced and strained, half of them little; one in five is a random crystal of a
random space group. Sets are nested: the first 10,000 of 100,000 are those of a run with 10,000.

    python benchmarks/screen.py scale --data carbon24_*.extxyz.gz -n 10000 30000 100000 --workers 2 -o screen
    python benchmarks/screen.py check --data carbon24_*.extxyz.gz --pool 100000 -n 2000 -o screen
    python benchmarks/screen.py tests --data carbon24_*.extxyz.gz --pool 100000 -n 2000 -o screen

`scale` measures time and peak memory of each part, in a run folder that is removed afterwards; `check` compares groups
with `StructureMatcher.group_structures` and lists what differs; `tests` counts what each test before the site match
lets through and what it rejects wrongly.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import spglib
from pymatgen.core.structure_matcher import StructureMatcher
from spglib.error import SpglibError

from kappaforge.campaign import distill, tasks
from kappaforge.campaign.memo import Memo, chunks
from kappaforge.campaign.progress import Silence
from kappaforge.crystal import Crystal
from kappaforge.engine.settings import EngineSettings
from kappaforge.errors import InputError
from kappaforge.generate.perturbed import parents_of, perturb
from kappaforge.screen.settings import ScreenSettings
from kappaforge.screen.unique import group
from kappaforge.similar import Library, reduced_crystals
from kappaforge.store.run_folder import RunFolder

SETTINGS = ScreenSettings()
WEAK, STRONG = (0.05, 0.02), (0.3, 0.05)
"""Displacements (Å) and strains of the perturbed crystals."""

VOLUME_PER_ATOM_ANG3 = (5.7, 9.0)
CLOSEST_ANG = 1.0
MAX_ATOMS = 24


def crystals_of(data: Sequence[Crystal], first: int, n: int, seed: int = 0) -> list[Crystal]:
    """Return the benchmark's crystals number `first` to `first + n - 1`."""
    made = []
    for index in range(first, first + n):
        if index % 5 == 4:
            made.append(random_symmetric(index, seed))
        else:
            displacement, strain = STRONG if index % 2 else WEAK
            parent = data[parents_of(len(data), 1, first=index, seed=seed)[0]]
            proposal = perturb([parent], first=index, seed=seed, displacement_ang=displacement, strain=strain)[0]
            assert proposal.crystal is not None, proposal.reason
            made.append(proposal.crystal)
    return made


def random_symmetric(index: int, seed: int) -> Crystal:
    """Return a random carbon crystal of a random space group, in a primitive cell."""
    rng = np.random.default_rng([seed, index, 2])
    while True:
        crystal = _attempt(rng, f"random-{index:06d}")
        if crystal is not None:
            return crystal


def _attempt(rng: np.random.Generator, name: str) -> Crystal | None:
    operations = spglib.get_symmetry_from_database(int(rng.integers(1, 531)))
    rotations, shifts = operations["rotations"], operations["translations"]
    guess = rng.normal(size=(3, 3)) + 2 * np.eye(3)
    metric = np.mean([rotation.T @ guess @ guess.T @ rotation for rotation in rotations], axis=0)
    cell = np.linalg.cholesky(metric)
    sites = np.empty((0, 3))
    for _ in range(int(rng.integers(1, 4))):
        point = rng.random(3)
        for _ in range(int(rng.integers(0, 3))):  # onto the fixed points of an operation, where it has any
            which = int(rng.integers(len(rotations)))
            image = rotations[which] @ point + shifts[which]
            point = point + (image - point - np.round(image - point)) / 2
        orbit = np.einsum("nij,j->ni", rotations, point) + shifts
        orbit -= np.floor(orbit)
        apart = orbit[:, None] - orbit[None]
        same = (np.abs(apart - np.round(apart)) < 1e-6).all(axis=2)
        sites = np.concatenate([sites, orbit[np.argmax(same, axis=1) == np.arange(len(orbit))]])
    if len(sites) > 4 * MAX_ATOMS:
        return None
    volume = rng.uniform(*VOLUME_PER_ATOM_ANG3) * len(sites)
    cell *= np.cbrt(volume / abs(np.linalg.det(cell)))
    try:
        primitive = spglib.find_primitive((cell, sites, [6] * len(sites)), symprec=1e-3)
    except SpglibError:  # atoms on each other
        return None
    if primitive is None or not 2 <= len(primitive[2]) <= MAX_ATOMS:
        return None
    try:
        crystal = Crystal(primitive[0], primitive[1] @ primitive[0], np.array(primitive[2]), id=name, source="random")
    except InputError:
        return None
    distances = crystal.to_ase().get_all_distances(mic=True)[np.triu_indices(len(crystal), 1)]
    return crystal if distances.min(initial=np.inf) > CLOSEST_ANG else None


def make(data: Sequence[Crystal], n: int, workers: int) -> list[Crystal]:
    """Return the first `n` crystals of the benchmark."""
    starts = range(0, n, 500)
    with ProcessPoolExecutor(workers) as pool:
        parts = pool.map(crystals_of, [data] * len(starts), starts, [min(500, n - start) for start in starts])
        return [crystal for part in parts for crystal in part]


def scale(data: Sequence[Crystal], n: int, workers: int, folder: Path) -> dict[str, Any]:
    """Distil `n` crystals as a campaign does, and return seconds of each part and the peak memory."""
    crystals = make(data, n, workers)
    engine = EngineSettings(executor="processes" if workers > 1 else "in-process", workers=workers)
    seconds: dict[str, float] = {}
    before = _cpu_seconds()
    folder.mkdir(parents=True, exist_ok=True)

    def timed(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        start = time.perf_counter()
        result = function(*arguments)
        seconds[name] = time.perf_counter() - start
        print(f"{n} {name}: {seconds[name]:.1f} s", flush=True)
        return result

    with RunFolder.open(folder, write=True) as run:
        memo = Memo(run, engine, Silence())
        known = timed("reduce the data set", distill.reduced, memo, "reduce the data set", data)
        made = timed("reduce", distill.reduced, memo, "reduce", crystals)
        labels = timed("unique", distill.groups, memo, "unique", made, SETTINGS)
        first = np.flatnonzero(labels == np.arange(n))
        found = timed("novel", distill.matches, memo, "novel", made.take(first), known, SETTINGS)
        batches = [(batch, SETTINGS) for batch in chunks(crystals, 256)]
        records = timed("symmetry", memo.map, "symmetry", 1, tasks.find_symmetry, batches)
    own, of_workers = (
        resource.getrusage(who).ru_maxrss / 2**20 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {
        "n": n,
        "workers": workers,
        "unique": len(first),
        "novel": int((found < 0).sum()),
        "symmetric": sum(record.passes for batch in records for record in batch),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "total_seconds": round(sum(seconds.values()), 1),
        "cpu_seconds": round(_cpu_seconds() - before, 1),
        "driver_peak_gib": round(own, 2),
        "largest_worker_peak_gib": round(of_workers, 2),
        "peak_gib_at_most": round(own + workers * of_workers, 2),
    }


def _cpu_seconds() -> float:
    """Return the CPU time of this process and of the workers that have ended, s: it tells more on a loaded machine."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def check(data: Sequence[Crystal], pool: int, n: int) -> dict[str, Any]:
    """Group `n` random crystals of the first `pool` and compare with pymatgen's groups."""
    chosen = sample(pool, n)
    crystals = [crystals_of(data, int(index), 1)[0] for index in chosen]
    group(crystals[:2], SETTINGS)  # compiles
    start = time.process_time()
    ours = group(crystals, SETTINGS)
    own_seconds = time.process_time() - start
    structures = [crystal.to_pymatgen() for crystal in crystals]
    place = {id(structure): index for index, structure in enumerate(structures)}
    theirs = np.empty(n, dtype=int)
    start = time.process_time()
    matcher = StructureMatcher(SETTINGS.ltol, SETTINGS.stol, SETTINGS.angle_tol_deg)
    for members in matcher.group_structures(structures):
        indices = [place[id(member)] for member in members]
        theirs[indices] = min(indices)
    differing = np.flatnonzero(ours != theirs)
    return {
        "n": n,
        "pool": pool,
        "groups": len(np.unique(ours)),
        "groups_of_pymatgen": len(np.unique(theirs)),
        "differing": [
            {"crystal": int(chosen[i]), "ours": int(chosen[ours[i]]), "pymatgen": int(chosen[theirs[i]])}
            for i in differing
        ],
        "cpu_seconds": round(own_seconds, 1),
        "cpu_seconds_of_pymatgen": round(time.process_time() - start, 1),
    }


def sample(pool: int, n: int) -> np.ndarray:
    """Return which crystals of the first `pool` are compared."""
    return np.sort(np.random.default_rng(0).choice(pool, size=n, replace=False))


def tests(data: Sequence[Crystal], pool: int, n: int, n_pairs: int) -> dict[str, Any]:
    """Count what the tests before the site match reject wrongly, by pymatgen's answer for pairs and crystals."""
    crystals = [crystals_of(data, int(index), 1)[0] for index in sample(pool, n)]
    reduced = list(reduced_crystals(crystals))
    matcher = StructureMatcher(SETTINGS.ltol, SETTINGS.stol, SETTINGS.angle_tol_deg, primitive_cell=False)
    smaller_missed = sum(
        len(one.numbers) > len(crystals[one.index].to_pymatgen().get_reduced_structure().get_primitive_structure())
        for one in reduced
    )
    rng = np.random.default_rng(1)
    counts = dict.fromkeys(("offered", "offered_match", "not_offered", "not_offered_match", "fit_differs"), 0)
    while counts["offered"] + counts["not_offered"] < n_pairs:
        one, two = (reduced[index] for index in rng.choice(len(reduced), size=2, replace=False))
        if one.composition != two.composition:
            continue
        library = Library(SETTINGS.ltol, SETTINGS.stol, SETTINGS.angle_tol_deg)
        library.add(one)
        offered = "offered" if library.offers(two) else "not_offered"
        expected = matcher.fit(one.structure, two.structure, skip_structure_reduction=True)
        counts[offered] += 1
        counts[f"{offered}_match"] += expected
        counts["fit_differs"] += expected != (library.first_fitting(two) >= 0)
    return {"crystals": len(reduced), "smaller_cells_missed": smaller_missed, "pairs": n_pairs, **counts}


def read(paths: Sequence[Path]) -> list[Crystal]:
    """Read the data set, in the order of the paths."""
    return [Crystal.from_ase(atoms) for path in sorted(paths) for atoms in ase.io.iread(path, ":")]


def main() -> None:
    """Measure one part and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("scale", "check", "tests"))
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="files of carbon-24")
    parser.add_argument("-n", type=int, nargs="+", default=[2000])
    parser.add_argument("--pool", type=int, default=100_000, help="crystals to draw those compared from")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    data = read(options.data)
    options.output.mkdir(parents=True, exist_ok=True)
    for n in options.n:
        if options.part == "scale":
            with tempfile.TemporaryDirectory(dir=options.output) as folder:
                answer = scale(data, n, options.workers, Path(folder))
        else:
            answer = check(data, options.pool, n) if options.part == "check" else tests(data, options.pool, n, 10_000)
        text = json.dumps(answer, indent=1)
        (options.output / f"{options.part}-{n}.json").write_text(text + "\n", encoding="utf-8")
        print(text, flush=True)


if __name__ == "__main__":
    main()

"""A campaign disturbed in every way we know of has to end with the table of one that was not.

    OMP_NUM_THREADS=1 python benchmarks/faults.py [--kills 100] [--executor processes|parsl] [--seed 0]
        [--mean-interval 4] [--folder FOLDER] [--json FILE]

The potential raises on the crystals of six atoms (they fail, each with its reason) and hangs once (the worker is ended
after the task's time limit). The first run meets a full disk: files may not grow beyond a limit, which is lifted when
the driver has given up. Then processes are killed with -9, a third of the times each the driver, one of its workers,
and the driver just as it writes to the database; whenever it is gone it is started again. A campaign that comes to its
end before all kills are spent is compared and begun anew. Compared are all rows but for their times, every bit of the
crystals, and the keys of the tasks: one that is lost is missing there, one that was done twice ends the driver with an
error. Nor may a process be left when a campaign is over.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from kappaforge.files import write_text
from kappaforge.store.published import PUBLISHED
from kappaforge.store.run_folder import CAMPAIGN_FILE, DATABASE, RunFolder

CAMPAIGN = """
name = "faults"
seed = 4
[generate]
generator = "random"
n = {n}
max_atoms = 6
[potential]
name = "ase:faulty_potential:build"
[relax]
max_steps = 60
[screen]
max_atoms = 4
[select]
known = ["diamond"]
benchmarks = 2
neighbours = 1
ultrahigh_kappa_w_per_mk = 100.0
[kappa]
method = "paper"
mesh = [3, 3, 3]
paper.supercell = [2, 2, 2]
[engine]
retries = 20
task_time_limit_s = {limit}
batch_size = 2
"""
ENGINES = {
    "in-process": 'executor = "in-process"\n',
    "processes": "workers = 2\n",
    "parsl": 'executor = "parsl"\n[engine.pools.cpu]\nworkers = 2\n',
}
WRITE_TIMEOUT_S = 60.0
LAST_WORDS_S = 3.0
"""In which workers notice that their driver is gone."""

MARK = "KAPPAFORGE_FAULTS"
"""Variable of the environment that tells the processes of a campaign."""


class Run:
    """One run folder and the driver that is at work in it."""

    def __init__(self, folder: Path, executor: str, time_limit_s: float, n_generated: int = 24) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        (folder / CAMPAIGN_FILE).write_text(CAMPAIGN.format(limit=time_limit_s, n=n_generated) + ENGINES[executor])
        self.driver: subprocess.Popen | None = None

    def start(self, *, hang_once: Path | None = None, file_limit_bytes: int | None = None) -> subprocess.Popen:
        """Start the driver."""
        paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), MARK: str(self.folder)}
        if hang_once is not None:
            environment["KAPPAFORGE_HANG_ONCE"] = str(hang_once)
        code = "from kappaforge.cli.main import main; main()"
        if file_limit_bytes is not None:
            limit = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({file_limit_bytes}, {resource.RLIM_INFINITY}))"
            code = f"import resource; {limit}; {code}"
        self.driver = subprocess.Popen(
            [sys.executable, "-c", code, "run", str(self.folder), "--json"],
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "errors").open("a"),
            env=environment,
        )
        return self.driver

    def errors(self) -> str:
        """Return what the drivers said."""
        return (self.folder / "errors").read_text()

    def outcome(self) -> tuple[list[Any], list[str]]:
        """Return rows without times, with every bit of their crystals, and the keys of the tasks."""
        with RunFolder.open(self.folder) as opened:
            published = opened.recall(PUBLISHED)
        rows = []
        for row, crystal in zip(published.rows, published.crystals, strict=True):
            known = {key: value for key, value in row.to_dict().items() if key != "seconds"}
            rows.append((known, crystal.cell.tobytes(), crystal.positions.tobytes()))
        with sqlite3.connect(self.folder / DATABASE) as connection:
            keys = [key for (key,) in connection.execute("SELECT key FROM tasks ORDER BY key")]
        return rows, keys


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that they have."""
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            pids = [int(child) for child in children.read_text().split()]
        except OSError:  # it ended meanwhile
            continue
        for child in pids:
            found += [child, *descendants(child)]
    return found


def kill(pid: int) -> bool:
    """Kill a process with -9; False where it is gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def left_behind(run: Run) -> int:
    """Count the processes of a campaign that are still there when it is over."""
    time.sleep(LAST_WORDS_S)
    mark, found = f"{MARK}={run.folder}".encode(), 0
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it ended meanwhile, or is another user's
            found += mark in environment.read_bytes().split(b"\0")
    return found


def wait_for_write(run: Run) -> None:
    """Return as soon as the database's log changes, which is in the middle of a write."""
    log = run.folder / f"{DATABASE}-wal"

    def size() -> int:
        return log.stat().st_mtime_ns if log.exists() else 0

    before, deadline = size(), time.monotonic() + WRITE_TIMEOUT_S
    while size() == before and time.monotonic() < deadline and run.driver is not None and run.driver.poll() is None:
        time.sleep(0.0002)


def finished(run: Run) -> bool:
    """Whether the driver came to the end of the campaign; an error of its own ends the benchmark."""
    assert run.driver is not None
    code = run.driver.poll()
    if code not in (None, 0, -signal.SIGKILL):
        raise SystemExit(f"the driver ended with {code}: {run.errors()[-2000:]}")
    return code == 0


def disturb(run: Run, kills: int, rng: random.Random, mean_interval_s: float) -> Counter[str]:
    """Kill until the number is reached or the campaign ends; return what was killed how often."""
    done: Counter[str] = Counter()
    while done.total() < kills:
        driver = run.driver if run.driver is not None and run.driver.poll() is None else run.start()
        time.sleep(rng.expovariate(1 / mean_interval_s))
        if finished(run):
            return done
        kind = rng.choice(("driver", "worker", "driver at a write"))
        victim = driver.pid
        if kind == "worker":
            victim = rng.choice(descendants(driver.pid) or [driver.pid])
            kind = "driver" if victim == driver.pid else "worker"
        elif kind == "driver at a write":
            wait_for_write(run)
        if driver.poll() is None and kill(victim):
            done[kind] += 1
            if victim == driver.pid:
                driver.wait()
    return done


def complete(run: Run) -> None:
    """Let the campaign come to its end."""
    while True:
        driver = run.driver if run.driver is not None and run.driver.poll() in (None, 0) else run.start()
        driver.wait()
        if finished(run):
            return


def meet_full_disk(run: Run, limit_bytes: int) -> str:
    """Run until a file may not grow any more; return what the driver said."""
    code = run.start(file_limit_bytes=limit_bytes).wait()
    said = run.errors()
    if code != 1 or "make room on the disk" not in said or "Traceback" in said:
        raise SystemExit(f"a full disk ended the driver with {code}: {said[-2000:]}")
    run.driver = None
    return said.strip().splitlines()[-1]


def meet_hanging_worker(run: Run, marker: Path) -> None:
    """Run until a worker that hung was ended by its time limit."""
    driver = run.start(hang_once=marker)
    while driver.poll() is None and "Timeout (" not in run.errors():
        time.sleep(0.1)
    if not marker.exists() or "Timeout (" not in run.errors():
        raise SystemExit(f"no worker hung: {run.errors()[-2000:]}")


def differences(run: Run, expected: tuple[list[Any], list[str]]) -> dict[str, int]:
    """Count rows that differ, and tasks that are lost or that should not be there."""
    rows, keys = run.outcome()
    wanted_rows, wanted_keys = expected
    differing = sum(a != b for a, b in zip(rows, wanted_rows, strict=False)) + abs(len(rows) - len(wanted_rows))
    lost, more = len(set(wanted_keys) - set(keys)), len(set(keys) - set(wanted_keys))
    return {"rows": len(wanted_rows), "rows_differing": differing, "tasks_lost": lost, "tasks_too_many": more}


def main() -> None:
    """Run the benchmark and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--executor", choices=("processes", "parsl"), default="processes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mean-interval", type=float, default=4.0, help="seconds between kills")
    parser.add_argument("--time-limit", type=float, default=60.0, help="of one task, s")
    parser.add_argument("--folder", type=Path, help="where to keep the runs; else they are removed")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="faults-"))
    start = time.monotonic()
    reference = Run(folder / "undisturbed", "processes", options.time_limit)
    complete(reference)
    expected = reference.outcome()
    failed = [row["reason"] for row, *_ in expected[0] if row["status"] == "failed"]
    seconds = time.monotonic() - start
    print(f"undisturbed: {len(expected[0])} rows, {len(expected[1])} tasks, {len(failed)} failed, {seconds:.0f} s")

    rng, killed, runs = random.Random(options.seed), Counter[str](), []
    while killed.total() < options.kills or not runs:
        run = Run(folder / f"disturbed-{len(runs)}", options.executor, options.time_limit)
        if not runs:
            print(f"full disk: {meet_full_disk(run, 100_000)}", flush=True)
            meet_hanging_worker(run, folder / "hung")
            print("hanging worker: ended", flush=True)
        killed += disturb(run, options.kills - killed.total(), rng, options.mean_interval)
        complete(run)
        runs.append(differences(run, expected) | {"processes_left": left_behind(run)})
        print(f"{killed.total()} kills {dict(killed)}: {runs[-1]}", flush=True)
    result = {"kills": dict(killed), "campaigns": runs, "failed_as_they_should": failed, "executor": options.executor,
              "seconds": round(time.monotonic() - start, 1)}  # fmt: skip
    if options.json:
        write_text(options.json, json.dumps(result, indent=1) + "\n")
    if not options.folder:
        shutil.rmtree(folder)
    bad = [each for each in runs if any(count for name, count in each.items() if name != "rows")]
    print(f"{len(runs)} disturbed campaigns, {killed.total()} kills, {len(bad)} with a difference")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()

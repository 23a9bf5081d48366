"""Take the carbon campaign's results out of its run folder, and write the page that tells them.

``collect RUN`` writes into ``results/carbon-10k``, ``again RUN`` adds the second campaign, whose flow was turned
towards what conducts well, ``dft`` what DFT says of the crystals in ``results/carbon-10k/dft``, and ``page`` makes
``docs/carbon-10k.md`` and a sentence of README from these files alone.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from carbon_10k_dft import compare
from carbon_10k_page import is_good, page, sentence

from kappaforge.campaign.opened import Campaign
from kappaforge.campaign.tasks import EXTRAPOLATED_VERSION
from kappaforge.cli.export import export
from kappaforge.crystal import Crystal
from kappaforge.files import write_text
from kappaforge.report.tables import to_csv, to_json
from kappaforge.report.write import write_crystals
from kappaforge.screen.settings import ScreenSettings
from kappaforge.screen.unique import match
from kappaforge.store.distillation import Distillation
from kappaforge.store.published import Published
from kappaforge.store.row import Row
from kappaforge.store.run_folder import RunFolder

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "carbon-10k"
PAGE = ROOT / "docs" / "carbon-10k.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- carbon-10k: written by tools/carbon_10k.py -->", "<!-- carbon-10k: end -->"
POINTS = (100, 200, 500, 1000, 2000, 5000, 10_000)


def main() -> None:
    """Collect the results or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    commands.add_parser("collect").add_argument("run", type=Path)
    commands.add_parser("again").add_argument("run", type=Path)
    commands.add_parser("dft")
    commands.add_parser("page")
    options = parser.parse_args()
    if options.command == "collect":
        collect(options.run)
    elif options.command == "again":
        again(options.run)
    elif options.command == "dft":
        compare(RESULTS / "dft")
    else:
        write_text(PAGE, rendered())
        write_text(README, replaced(README.read_text(encoding="utf-8"), shown()))


def collect(run: Path) -> None:
    """Write tables, crystals, figures and facts of a run whose report has been written."""
    campaign = Campaign.open(run)
    published = campaign.published
    kept = [place for place, row in enumerate(published.rows) if row.stage in ("select", "kappa")]
    rows, crystals = [published.rows[place] for place in kept], [published.crystals[place] for place in kept]
    write_text(RESULTS / "table.csv", to_csv(rows))
    write_text(RESULTS / "table.json", to_json(rows))
    write_crystals(RESULTS / "crystals.extxyz", rows, crystals)
    good = [place for place, row in enumerate(rows) if is_good(vars(row), _limit(published))]
    write_crystals(RESULTS / "networks.extxyz", [rows[place] for place in good], [crystals[place] for place in good])
    shutil.rmtree(RESULTS / "cif", ignore_errors=True)
    export(run, "cif", RESULTS / "cif", above=_limit(published))
    shutil.rmtree(RESULTS / "figures", ignore_errors=True)
    (RESULTS / "figures").mkdir(parents=True)
    for figure in sorted((run / "report" / "figures").glob("*.png")):
        shutil.copy(figure, RESULTS / "figures")
    write_text(RESULTS / "run.json", json.dumps(facts(campaign, rows), indent=1, ensure_ascii=False) + "\n")


def again(run: Path) -> None:
    """Write what the second campaign proposed, beside what the first one did."""
    campaign = Campaign.open(run)
    published = campaign.published
    good = [place for place, row in enumerate(published.rows) if row.novel and is_good(vars(row), _limit(published))]
    write_crystals(
        RESULTS / "again.extxyz",
        [published.rows[place] for place in good],
        [published.crystals[place] for place in good],
    )
    first = [Crystal.from_ase(atoms) for atoms in ase.io.read(RESULTS / "crystals.extxyz", ":")]
    same = match([published.crystals[place] for place in good], first, ScreenSettings(**published.settings["screen"]))
    told = {
        "counts": published.counts,
        "settings": _settings(published),
        "in_no_library": sum(not published.rows[place].known_as for place in good),
        "not_in_the_first": [published.rows[place].id for place, found in zip(good, same, strict=True) if found < 0],
        "yields": yields(published.rows, published.counts["data set"], _limit(published)),
    }
    write_text(RESULTS / "again.json", json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def rendered() -> str:
    """Return the page of what lies in the folder of results."""
    run, second, dft = (_read(name) for name in ("run.json", "again.json", "dft/dft.json"))
    finer = RESULTS / "finer.jsonl"
    lines = finer.read_text(encoding="utf-8").splitlines() if finer.exists() else []
    return page(run, read_rows(), [json.loads(line) for line in lines], second, dft)


def shown() -> str:
    """Return what README says of the results."""
    return sentence(_read("run.json"), read_rows())


def replaced(readme: str, text: str) -> str:
    """Return README with another text between the marks."""
    before, begun, rest = readme.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (begun and ended):
        raise ValueError(f"README has lost one of its marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def facts(campaign: Campaign, rows: list[Row]) -> dict[str, Any]:
    """Return what the page tells beside the table."""
    published = campaign.published
    distilled = Distillation.read(campaign.path)
    threshold = published.settings["learn"]["threshold_mev_per_atom"]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "settings": _settings(published),
        "versions": published.versions,
        "extrapolated_version": EXTRAPOLATED_VERSION,
        "counts": published.counts,
        "discards": published.discards,
        "elapsed_hours": _elapsed_hours(campaign.path),
        "worker_seconds_by_step": {step: round(seconds, 1) for step, seconds in published.seconds_by_step.items()},
        "growth": {
            str(n): [int(distilled.n_unique[n - 1]), int(distilled.n_novel[n - 1])]
            for n in POINTS
            if n <= len(distilled.unique)
        },
        "rounds": [
            {
                "labels": turn.n_labels,
                "asked_about": len(turn.ids),
                "above": int(np.sum(turn.energy_std_mev_per_atom > threshold)),
                "largest_mev_per_atom": _finite(np.max(turn.energy_std_mev_per_atom)),
                "added": len(turn.added),
            }
            for turn in published.rounds
        ],
        "found_again": found_again(published.rows),
        "selection": selection(rows, _limit(published)),
        "yields": yields(published.rows, published.counts["data set"], _limit(published)),
    }


def found_again(rows: list[Row]) -> list[str]:
    """Return the known carbons that generated crystals are, by themselves or by what they are in the data set."""
    names = {row.id: row.known_as for row in rows if row.known_as}
    again = set()
    for row in rows:
        same = re.match(r"same as (\S+) of the data set", row.reason)
        if same:
            again.add(names.get(same.group(1), ""))
        elif row.novel is not None:
            again.add(row.known_as)
    return sorted(again - {""})


def yields(rows: list[Row], n_data: int, limit_w_per_mk: float) -> dict[str, dict[str, int]]:
    """Count, among the first proposals, networks above the limit, and how many of them differ.

    The proposals stand behind the rows of the data set.
    """
    by_id = {row.id: row for row in rows}

    def original(row: Row) -> Row:
        same = re.match(r"same as (\S+)", row.reason)
        return original(by_id[same.group(1)]) if same else row

    proposed = [original(row) for row in rows[n_data:]]
    found = {
        n: [row.id for row in proposed[:n] if is_good(vars(row), limit_w_per_mk)] for n in POINTS if n <= len(proposed)
    }
    return {str(n): {"crystals": len(ids), "distinct": len(set(ids))} for n, ids in found.items()}


def selection(rows: list[Row], limit_w_per_mk: float) -> dict[str, Any]:
    """Compare ways to choose whose κ is computed: how many crystals above the limit each finds for as many κ.

    All candidates count; those that the ladder left behind, and unstable ones, are not above the limit. ``campaign`` is
    farthest points and neighbours of the good ones, ``random`` what chance finds on average, ``density`` and
    ``conduction`` take the densest and those that conduct best for each ps of lifetime, for which harmonic phonons of
    all must be known.
    """
    kappa = np.array([row.kappa_rta_max_w_per_mk or 0.0 for row in rows])
    good = kappa >= limit_w_per_mk
    chosen = np.array([row.role in ("benchmark", "neighbour") for row in rows])
    density = np.array([row.density_g_per_cm3 or 0.0 for row in rows])
    atoms = np.array([row.n_atoms or 1 for row in rows])
    conduction = np.array([row.conduction_w_per_mk_per_ps or 0.0 for row in rows]) / np.sqrt(atoms)
    n = int(chosen.sum())

    def best_by(known: np.ndarray) -> int:
        return int(good[np.argsort(-known, kind="stable")[:n]].sum())

    return {
        "candidates": len(rows),
        "above_limit": int(good.sum()),
        "evaluations": n,
        "found": {
            "campaign": int((good & chosen).sum()),
            "random": float(n * good.mean()),
            "density": best_by(density),
            "conduction": best_by(conduction),
        },
    }


def read_rows() -> list[dict[str, Any]]:
    """Return the committed table, one dictionary for each crystal."""
    rows: list[dict[str, Any]] = json.loads((RESULTS / "table.json").read_text(encoding="utf-8"))
    return rows


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _read(name: str) -> Any:
    """Return what a file of the results holds; None where there is none."""
    file = RESULTS / name
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def _settings(published: Published) -> dict[str, Any]:
    """Return the settings, files by their names: where they lay is of one machine only."""
    settings = dict(published.settings)
    for section, key in (("dataset", "path"), ("learn", "test"), ("generate", "generator")):
        settings[section] = {**settings[section], key: Path(settings[section][key]).name}
    return settings


def _limit(published: Published) -> float:
    return float(published.settings["select"]["ultrahigh_kappa_w_per_mk"])


def _elapsed_hours(run: Path) -> float:
    with RunFolder.open(run) as folder:
        return round(folder.elapsed_seconds() / 3600, 2)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} cores of {names[0]}" if names else platform.machine()


if __name__ == "__main__":
    main()

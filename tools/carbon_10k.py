"""Take the carbon campaign's results out of its run folder, and write the page that tells them.

    .venv/bin/python tools/carbon_10k.py collect RUN    # into results/carbon-10k
    .venv/bin/python tools/carbon_10k.py page           # docs/carbon-10k.md, from results/carbon-10k alone

No number of the page is typed.
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

import numpy as np

from kappaforge.campaign.opened import Campaign
from kappaforge.cli.export import export
from kappaforge.files import write_text
from kappaforge.report.tables import to_csv, to_json
from kappaforge.report.write import write_crystals
from kappaforge.store.distillation import Distillation
from kappaforge.store.row import Row

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "carbon-10k"
PAGE = ROOT / "docs" / "carbon-10k.md"
LIMIT_W_PER_MK = 800.0
POINTS = (100, 200, 500, 1000, 2000, 5000, 10_000)


def main() -> None:
    """Collect the results or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    commands.add_parser("collect").add_argument("run", type=Path)
    commands.add_parser("page")
    options = parser.parse_args()
    if options.command == "collect":
        collect(options.run)
    else:
        write_text(PAGE, page(json.loads((RESULTS / "run.json").read_text()), read_rows()))


def collect(run: Path) -> None:
    """Write tables, crystals, figures and facts of a run whose report has been written."""
    campaign = Campaign.open(run)
    published = campaign.published
    kept = [place for place, row in enumerate(published.rows) if row.stage in ("select", "kappa")]
    rows, crystals = [published.rows[place] for place in kept], [published.crystals[place] for place in kept]
    write_text(RESULTS / "table.csv", to_csv(rows))
    write_text(RESULTS / "table.json", to_json(rows))
    write_crystals(RESULTS / "crystals.extxyz", rows, crystals)
    shutil.rmtree(RESULTS / "cif", ignore_errors=True)
    export(run, "cif", RESULTS / "cif", above=LIMIT_W_PER_MK)
    shutil.rmtree(RESULTS / "figures", ignore_errors=True)
    (RESULTS / "figures").mkdir(parents=True)
    for figure in sorted((run / "report" / "figures").glob("*.png")):
        shutil.copy(figure, RESULTS / "figures")
    write_text(RESULTS / "run.json", json.dumps(facts(campaign, rows), indent=1, ensure_ascii=False) + "\n")


def facts(campaign: Campaign, rows: list[Row]) -> dict[str, Any]:
    """Return what the page tells beside the table."""
    published = campaign.published
    distilled = Distillation.read(campaign.path)
    threshold = published.settings["learn"]["threshold_mev_per_atom"]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "settings": published.settings,
        "versions": published.versions,
        "counts": published.counts,
        "discards": published.discards,
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
        "selection": selection(rows),
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


def selection(rows: list[Row]) -> dict[str, Any]:
    """Compare ways to choose whose κ is computed: how many crystals above the limit each finds for as many κ.

    All candidates count; those that the ladder left behind, and unstable ones, are not above the limit. ``campaign`` is
    farthest points and neighbours of the good ones, ``random`` what chance finds on average, ``density`` and
    ``conduction`` take the densest and those that conduct best for each ps of lifetime, for which harmonic phonons of
    all must be known.
    """
    kappa = np.array([row.kappa_rta_max_w_per_mk or 0.0 for row in rows])
    good = kappa >= LIMIT_W_PER_MK
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


def page(run: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Return the page in Markdown."""
    good = [row for row in rows if (row["kappa_rta_max_w_per_mk"] or 0.0) >= LIMIT_W_PER_MK]
    networks = [row for row in good if row["dimensionality"] == "3D"]
    unknown = [row for row in networks if not row["known_as"] and row["novel"]]
    counts, generate = run["counts"], run["settings"]["generate"]
    seconds = run["worker_seconds_by_step"]
    return "\n".join(
        [
            "# Ten thousand carbons",
            "",
            f"`examples/carbon-10k/campaign.toml`, run by `kappaforge run` on {run['processor']}, {run['date']}, with "
            f"kappaforge {run['versions']['kappaforge']}, seed {run['settings']['seed']}. Every number on this page is "
            "read from `results/carbon-10k`, which `tools/carbon_10k.py` took from the run folder.",
            "",
            "## What was found",
            "",
            f"Of {counts['generate']:,} crystals that `{generate['generator']}` proposed and {counts['data set']:,} of "
            f"the data set, {counts['symmetric']:,} are candidates: distinct, small, symmetric{_within(run)}. "
            f"κ(RTA) of {len(good)} "
            f"of them reaches {LIMIT_W_PER_MK:g} W/(m·K) in some direction; {len(networks)} of these are networks, "
            f"{len(unknown)} of which are neither in the data set nor in the library of known carbons.",
            "",
            f"Known carbons that the generator proposed: {', '.join(run['found_again']) or 'none'}.",
            "",
            *_table(networks),
            "",
            "κ in W/(m·K) at 300 K: the eigenvalues of the tensor; ± as far as mesh and committee tell. Spread: "
            "standard deviation of ln κ among the members of the committee. Layers and chains are left out, as their "
            "κ does not converge with the mesh.",
            "",
            "## Growth",
            "",
            "| proposals | unique | unique and novel |",
            "|---|---|---|",
            *(f"| {int(n):,} | {unique:,} | {novel:,} |" for n, (unique, novel) in run["growth"].items()),
            "",
            _extrapolation(run["growth"], seconds, counts),
            "",
            "![Growth of unique and novel crystals](../results/carbon-10k/figures/growth.png)",
            "",
            "## Learning",
            "",
            *_rounds(run),
            "",
            "## What choosing is worth",
            "",
            *_selection(run["selection"]),
            "",
            "## Time",
            "",
            "| step | worker time, min |",
            "|---|---|",
            *(f"| {step} | {spent / 60:.1f} |" for step, spent in seconds.items() if spent >= 6),
            f"| all | {sum(seconds.values()) / 60:.0f} |",
            "",
            f"Of two workers, so that {sum(seconds.values()) / 7200:.1f} h pass; labels are DFT.",
            "",
        ]
    )


def _within(run: dict[str, Any]) -> str:
    window = run["settings"]["screen"]["energy_window_ev_per_atom"]
    return "" if window is None else f" and within {window:g} eV/atom of the lowest known"


def _table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| | crystal | known as | atoms | space group | g/cm³ | above hull, eV/atom | κ(RTA) | κ(LBTE) | ± | spread |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for rank, row in enumerate(rows, 1):
        cells = (
            str(rank),
            row["id"],
            row["known_as"] or ("–" if row["novel"] else "in the data set"),
            str(row["n_atoms"]),
            str(row["space_group_number"]),
            f"{row['density_g_per_cm3']:.2f}",
            _number(row["energy_above_hull_ev_per_atom"], 2),
            _kappas(row["kappa_rta_eigenvalues_w_per_mk"]),
            _kappas(row["kappa_lbte_eigenvalues_w_per_mk"]),
            _number(row["kappa_error_w_per_mk"] or row["kappa_mesh_error_w_per_mk"], 0),
            _spread(row),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _extrapolation(growth: dict[str, list[int]], seconds: dict[str, float], counts: dict[str, int]) -> str:
    """Say what a hundred thousand proposals would give, by a power law through the last two points; "" for fewer."""
    if len(growth) < 2:
        return ""
    (n_before, (_, before)), (n_last, (_, last)) = ((int(n), found) for n, found in list(growth.items())[-2:])
    power = math.log(last / before) / math.log(n_last / n_before)
    novel = last * (100_000 / n_last) ** power
    cheap = sum(seconds.get(step, 0.0) for step in ("generate", "relax"))
    linear = cheap * 100_000 / (counts["generate"] + counts["data set"])
    rest = (sum(seconds.values()) - cheap) * novel / last
    return (
        f"Novel crystals grow with the power {power:.2f} of the proposals at the end: about {novel:,.0f} of 100,000. "
        f"Those would take about {linear / 3600:.0f} h of one core to generate and relax, and {rest / 3600:.0f} h for "
        "all that follows, if it grows as the novel crystals do."
    )


def _rounds(run: dict[str, Any]) -> list[str]:
    limit = run["settings"]["learn"]["threshold_mev_per_atom"]
    lines = [
        f"| round | labels | crystals under question | above {limit:g} meV/atom | largest, meV/atom | added |",
        "|---|---|---|---|---|---|",
    ]
    for number, turn in enumerate(run["rounds"], 1):
        largest = _number(turn["largest_mev_per_atom"], 1)
        lines.append(
            f"| {number} | {turn['labels']} | {turn['asked_about']} | {turn['above']} | {largest} | {turn['added']} |"
        )
    return lines


def _selection(found: dict[str, Any]) -> list[str]:
    names = {
        "campaign": "farthest points and neighbours of the good ones",
        "random": "chance, on average",
        "density": "the densest",
        "conduction": "most κ for each ps of lifetime, from harmonic phonons of all, over √N",
    }
    total = max(found["above_limit"], 1)
    return [
        f"{found['evaluations']} of {found['candidates']:,} candidates were chosen by farthest points and neighbours; "
        f"{found['above_limit']} of all are above {LIMIT_W_PER_MK:g} W/(m·K).",
        "",
        "| as many chosen by | found | of those above |",
        "|---|---|---|",
        *(f"| {names[way]} | {number:.3g} | {number / total:.0%} |" for way, number in found["found"].items()),
    ]


def _spread(row: dict[str, Any]) -> str:
    if row["kappa_committee_members"] is None:
        return ""
    spread = "–" if row["kappa_committee_spread"] is None else f"{row['kappa_committee_spread']:.0%}"
    stable, members = row["kappa_committee_stable"], row["kappa_committee_members"]
    return spread if stable == members else f"{spread} ({stable} of {members})"


def _kappas(eigenvalues: list[float] | None) -> str:
    return "" if eigenvalues is None else ", ".join(f"{abs(value):.0f}" for value in eigenvalues)


def _number(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:.{decimals}f}"


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} cores of {names[0]}" if names else platform.machine()


if __name__ == "__main__":
    main()

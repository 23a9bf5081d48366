"""What generators are worth: the table of the documentation, from `kappaforge evaluate-generator`.

For each generator the same settings, data and potential; each keeps a run folder of its own, so that the script goes on
where it was stopped:

    python benchmarks/generator.py random --data TRAIN.extxyz --test TEST.extxyz -n 10000 -o generator
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

NONE = "–"


def evaluated(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return the evaluation of one generator as the command prints it."""
    stem = Path(name).stem
    folder = options.output / stem
    command = [sys.executable, "-c", "from kappaforge.cli.main import main; main()"]
    command += ["evaluate-generator", name, "--run", str(folder), "-n", str(options.n), "--seed", str(options.seed)]
    command += ["--controls", str(options.controls), "--potential", options.potential]
    command += ["--max-atoms", str(options.max_atoms), "--workers", str(options.workers), "--json"]
    for flag, paths in (("--data", options.data), ("--test", options.test)):
        for path in paths:
            command += [flag, path]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    (options.output / f"{stem}.json").write_text(done.stdout, encoding="utf-8")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def raw_table(answers: list[dict[str, Any]]) -> str:
    """Return the metrics before relaxation, the published ones below, as Markdown."""
    lines = [
        "| | match (%) | RMSE | METRe (%) | cRMSE | valid (%) | apart (%) | 3–4 neighbours (%) | COV-R (%) | COV-P (%) "
        "| W(ρ) (g/cm³) | W(E) (eV/atom) | CPU-s each |",
        "|---|" + "---|" * 12,
    ]
    for name, raw in _sources(answers, "raw").items():
        rate, metre, cover = raw["reconstruction"] or {}, raw["metre"] or {}, raw["coverage"] or {}
        cells = [
            _percent(rate.get("rate")), _number(rate.get("rmse")), _percent(metre.get("rate")),
            _number(metre.get("corrected_rmse")), _percent(raw["structurally_valid"]), _percent(raw["apart"]),
            _percent(raw["coordinated"]), _percent(cover.get("recall")), _percent(cover.get("precision")),
            _number(raw["density_wasserstein_g_per_cm3"]), _number(raw["energy_wasserstein_ev_per_atom"]),
            _number(raw["cpu_seconds_per_crystal"], 3),
        ]  # fmt: skip
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for model in answers[0]["published_carbon_24"]:
        cells = [
            _number(model["match_rate_percent"], 2), _number(model["rmse"]), NONE, NONE,
            _number(model["valid_percent"], 1), NONE, NONE, _number(model["cov_recall_percent"], 2),
            _number(model["cov_precision_percent"], 2), _number(model["density_wasserstein_g_per_cm3"]),
            _number(model["energy_wasserstein_ev_per_atom"]), NONE,
        ]  # fmt: skip
        lines.append(f"| {model['model']} ({model['source']}) | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"- {line}" for line in answers[0]["not_comparable"])])


def yield_table(answers: list[dict[str, Any]]) -> str:
    """Return what came of the proposals after relaxation, as Markdown."""
    names = ("generated", "converged", "distinct", "distinct_symmetric", "distinct_symmetric_novel")
    names += ("distinct_symmetric_low", "distinct_symmetric_false")
    lines = [
        "| | proposals | converged | distinct | symmetric | and novel | and low | false | low per 1,000 | per CPU-h "
        "| CPU-s each: generate, relax | known crystals |",
        "|---|" + "---|" * 11,
    ]
    for name, each in _sources(answers, "relaxed").items():
        cpu = (each[f"cpu_seconds_{step}"] / each["generated"] for step in ("generate", "relax"))
        cells = [
            *(str(each[count]) for count in names),
            _number(each["symmetric_low_per_1000"], 0),
            _number(each["symmetric_low_per_cpu_hour"], 0),
            ", ".join(f"{seconds:.3g}" for seconds in cpu),
            ", ".join(found for found, _ in each["known"]) or NONE,
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def growth_table(answers: list[dict[str, Any]]) -> str:
    """Return the growth of the distinct, symmetric crystals with the proposals of each generator, as Markdown."""
    lines = ["| generator | proposals | distinct | symmetric | and low |", "|---|---|---|---|---|"]
    for answer in answers:
        for point in answer["relaxed"][0]["curve"]:
            counts = (point[key] for key in ("generated", "distinct", "distinct_symmetric", "distinct_symmetric_low"))
            lines.append(f"| {answer['generator']} | " + " | ".join(map(str, counts)) + " |")
    return "\n".join(lines)


def _sources(answers: list[dict[str, Any]], key: str) -> dict[str, dict[str, Any]]:
    """Return each source's figures: the generators', then the controls' of the first that has them."""
    found: dict[str, dict[str, Any]] = {}
    for answer in answers:
        figures = answer[key] if key == "raw" else {each["name"]: each for each in answer[key]}
        found[answer["generator"]] = figures[answer["generator"]]
    for answer in answers:
        figures = answer[key] if key == "raw" else {each["name"]: each for each in answer[key]}
        for name, each in figures.items():
            found.setdefault(name, each)
    return found


def _percent(fraction: float | None) -> str:
    return NONE if fraction is None else f"{100 * fraction:.1f}"


def _number(value: float | None, digits: int = 4) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def main() -> None:
    """Evaluate the generators and write ``generator.md``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generators", nargs="+", help="names, or files of trained ones")
    parser.add_argument("--data", action="append", default=[], help="training crystals; may be repeated")
    parser.add_argument("--test", action="append", default=[], help="crystals no generator has seen")
    parser.add_argument("-n", type=int, default=1000, help="proposals of each generator")
    parser.add_argument("--controls", type=int, default=200, help="proposals of each control")
    parser.add_argument("--max-atoms", type=int, default=12)
    parser.add_argument("--potential", default="carbon")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("generator"), help="folder of runs, JSON and table")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    answers = [evaluated(name, options) for name in options.generators]
    blocks = [raw_table(answers), yield_table(answers), growth_table(answers)]
    text = "\n\n".join(blocks) + "\n"
    (options.output / "generator.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

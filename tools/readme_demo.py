"""Put the demo campaign's map and κ table into README, from a run folder.

    make demo && .venv/bin/python tools/readme_demo.py runs/demo

Copies the run's own map to docs/images/demo-map.png, what the table shows to docs/images/demo.json, and writes the
part of README between the two marks. Nothing in that part is typed: `tests/test_readme_demo.py` compares it with the
JSON, and as a slow test the JSON with a new run.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
IMAGES = ROOT / "docs" / "images"
MAP, DATA = IMAGES / "demo-map.png", IMAGES / "demo.json"
BEGIN, END = "<!-- demo: written by tools/readme_demo.py -->", "<!-- demo: end -->"
MOST_BYTES = 150_000


def main() -> None:
    """Read the run, write the three files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run of the template demo")
    run = parser.parse_args().run
    IMAGES.mkdir(exist_ok=True)
    Image.open(run / "report" / "figures" / "map.png").convert("RGB").quantize(256).save(MAP, optimize=True)
    if MAP.stat().st_size > MOST_BYTES:
        sys.exit(f"{MAP} has {MAP.stat().st_size} bytes; at most {MOST_BYTES} are wanted")
    demo = facts(run)
    DATA.write_text(json.dumps(demo, ensure_ascii=False, indent=1) + "\n")
    README.write_text(replaced(README.read_text(), block(demo)))


def facts(run: Path) -> dict[str, Any]:
    """Return what README shows of a run: crystals after each step, and those that were taken to κ, the best first."""
    command = [sys.executable, "-c", "from kappaforge.cli.main import main; main()"]
    told = subprocess.run([*command, "status", str(run), "--json"], capture_output=True, text=True, check=True).stdout
    version = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout
    with (run / "report" / "table.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["stage"] == "kappa"]
    crystals = [_crystal(row) for row in rows]
    return {
        "version": version.split()[-1],
        "date": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "counts": json.loads(told)["crystals"],
        "crystals": sorted(crystals, key=lambda crystal: -(crystal["kappa_lbte_w_per_mk"] or [0.0])[0]),
    }


def _crystal(row: dict[str, str]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "known": row["source"].startswith("known"),
        "atoms": int(row["n_atoms"]),
        "space_group": int(row["space_group_number"]),
        "bonded": row["dimensionality"],
        "density_g_per_cm3": float(row["density_g_per_cm3"]),
        "energy_above_hull_ev_per_atom": float(row["energy_above_hull_ev_per_atom"]),
        "kappa_lbte_w_per_mk": _eigenvalues(row["kappa_lbte_w_per_mk"]),
        "kappa_rta_w_per_mk": _eigenvalues(row["kappa_rta_w_per_mk"]),
        "mesh_error_w_per_mk": float(row["kappa_mesh_error_w_per_mk"]) if row["kappa_mesh_error_w_per_mk"] else None,
        "status": row["status"],
        "role": row["role"],
    }


def _eigenvalues(cell: str) -> list[float] | None:
    """Return the eigenvalues of a tensor, the largest first; None where there is none."""
    return np.linalg.eigvalsh(json.loads(cell))[::-1].tolist() if cell else None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def block(demo: dict[str, Any]) -> str:
    """Return the part of README between the marks, in Markdown."""
    counts, crystals = demo["counts"], demo["crystals"]
    with_kappa = [crystal for crystal in crystals if crystal["kappa_lbte_w_per_mk"]]
    networks = [crystal for crystal in with_kappa if crystal["bonded"] == "3D"]
    others = [f"{crystal['id']} ({crystal['bonded']})" for crystal in with_kappa if crystal["bonded"] != "3D"]
    without = len(crystals) - len(with_kappa)
    lines = [
        "![Map of the demo's candidates: t-SNE of their SOAP vectors, coloured by κ](docs/images/demo-map.png)",
        "",
        f"The demo's campaign: {counts['generate']} proposals and {counts['data set']} known carbons; "
        f"{counts['unique']} of the proposals distinct; {counts['symmetric']} candidates, few atoms and symmetric; "
        f"{len(crystals)} taken to κ, {counts['benchmarks']} spread over the map and {counts['neighbours']} beside "
        "the best of these. "
        f"{without} of them have imaginary modes. The networks among the others:",
        "",
        "| | crystal | atoms | space group | g/cm³ | above hull, eV/atom | κ, whole equation | κ, RTA |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for rank, crystal in enumerate(networks, 1):
        cells = (
            str(rank),
            crystal["id"] if crystal["known"] else f"{crystal['id']} (generated)",
            str(crystal["atoms"]),
            str(crystal["space_group"]),
            f"{crystal['density_g_per_cm3']:.2f}",
            f"{crystal['energy_above_hull_ev_per_atom']:.2f}",
            f"{_kappas(crystal['kappa_lbte_w_per_mk'])}; ± {crystal['mesh_error_w_per_mk']:.0f}",
            _kappas(crystal["kappa_rta_w_per_mk"]),
        )
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "κ in W/(m·K) at 300 K with the potential `carbon`: the eigenvalues of the tensor, and how far the largest may "
        f"be off for the mesh alone. Left out, as κ of what is bonded in fewer directions does not converge with the "
        f"mesh: {', '.join(others) or 'none'}. What else to doubt: [docs/limits.md](docs/limits.md). Picture and table "
        f"are of a run of the template `demo` with kappaforge {demo['version']} ({demo['processor']}, {demo['date']}), "
        "put here by `tools/readme_demo.py`.",
    ]
    return "\n".join(lines)


def _kappas(eigenvalues: list[float]) -> str:
    return ", ".join(f"{abs(value):.0f}" for value in eigenvalues)  # abs: round-off may leave -0


def replaced(readme: str, text: str) -> str:
    """Return README with another text between the marks."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not after:
        raise ValueError(f"README has lost one of its marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


if __name__ == "__main__":
    main()

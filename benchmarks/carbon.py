"""Carbon by potentials, beside our own DFT, experiment and the paper: diamond, Table 1, labels held out.

    python benchmarks/carbon.py [POTENTIAL ...] [--json FILE] [--labels FILE]

A potential is a registered name, the path of a trained model (``.safetensors``), or ``ase:module.path:factory``; all
registered ones unless given. Prints Markdown. With ``--json`` every part is written as soon as it is there, and a run
with the same settings goes on after the last one. Table 1 is computed by the paper's protocol, as the paper's numbers
were, and by our default method, whose numbers are the better ones; diamond's κ above it is by the default. A potential
of 0.1 ms/atom takes minutes, most of them for the paper's protocol; one of 30 ms/atom takes hours for the larger cells
of Table 1: leave them out with ``--crystals``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import diamond
import label_errors
import table1
from carbon_tables import document

from kappaforge.errors import InputError, KappaforgeError, suggestion
from kappaforge.files import write_text
from kappaforge.label.base import Label
from kappaforge.label.dataset import read_labels
from kappaforge.potentials import registry
from kappaforge.potentials.base import Potential
from kappaforge.transport.settings import KappaSettings, Method, PaperProtocol


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("potentials", nargs="*", metavar="POTENTIAL", default=list(registry.available()))
    parser.add_argument("--table", type=Path, help="Table 1 as csv, in place of the paper's own values")
    parser.add_argument("--crystals", nargs="*", help="those of Table 1 to compute; all of them unless given")
    parser.add_argument(
        "--mesh-length", type=float, default=KappaSettings.mesh_length_ang, help="Å; of the default method's q meshes"
    )
    parser.add_argument(
        "--paper-mesh-length",
        type=float,
        default=PaperProtocol.mesh_length_ang,
        help="Å; the q mesh of the paper's protocol is the smallest above it",
    )
    parser.add_argument("--labels", type=Path, help="labelled extended XYZ that no potential was trained on")
    parser.add_argument(
        "--same-engine",
        nargs="*",
        default=None,
        help="potentials of the labels' engine, whose energies are not shifted",
    )
    parser.add_argument("--json", type=Path, help="file for the results, and to go on from")
    return parser.parse_args()


Results = dict[str, Any]
"""What is known of one potential, by part; a part is a dictionary itself, with an ``error`` where it has no results."""


def is_same_engine(potential: Potential, engine: str, named: Sequence[str] | None) -> bool:
    """Return whether the potential's energies have the labels' zero: as named, or else as its model card says."""
    if named is not None:
        return potential.name in named
    card = getattr(getattr(potential, "model", None), "card", None)
    program = engine.split(" ")[0].lower()
    return card is not None and program in f"{card.data} {card.functional}".lower()


def parts(
    potential: Potential,
    reference: diamond.Reference,
    published: Sequence[table1.Published],
    held_out: Sequence[Label],
    settings: KappaSettings,
    *,
    shifted: bool,
) -> dict[str, Callable[[Results], Results]]:
    """Return what is computed for a potential: functions of the results before them."""

    def lattice_constant(done: Results) -> float:
        if "error" in done["lattice"]:
            raise KappaforgeError("diamond has no lattice constant")
        return float(done["lattice"]["lattice_constant_ang"])

    def of_table1(crystal: table1.Published, method: Method) -> Callable[[Results], Results]:
        return lambda done: table1.candidate(crystal, potential, replace(settings, method=method))

    wanted: dict[str, Callable[[Results], Results]] = {
        "lattice": lambda done: diamond.lattice(potential, reference.lattice_constant_ang),
        "phonons": lambda done: diamond.phonons(potential, lattice_constant(done), reference),
        "forces": lambda done: diamond.forces_of_displacements(potential, reference),
        "kappa": lambda done: diamond.kappa(potential, lattice_constant(done), settings),
    }
    if held_out:
        wanted["labels"] = lambda done: label_errors.errors(potential, held_out, shifted=shifted)
    methods: tuple[Method, ...] = ("paper", "converged")
    return wanted | {f"{method} {each.name}": of_table1(each, method) for each in published for method in methods}


def timed(part: Callable[[Results], Results], done: Results) -> Results:
    """Run one part: its results or why there are none, with its time in s and the load average before it."""
    load, start = os.getloadavg()[0], time.perf_counter()
    try:
        result = part(done)
    except (KappaforgeError, ValueError, RuntimeError, ArithmeticError) as error:
        result = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
    return {**result, "wall_seconds": time.perf_counter() - start, "load_average": load}


def started(path: Path | None, settings: Results) -> Results:
    """Return the results that a file holds, or none yet; refuse those of other settings."""
    if path is None or not path.exists():
        return {"settings": settings, "potentials": {}}
    try:
        before: Results = json.loads(path.read_text())
        same = before["settings"] == settings
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not readable as results of this benchmark: {error!r}") from None
    if not same:
        raise InputError(f"{path} holds results of other settings: remove it, or give another file")
    return before


def main() -> None:
    """Compute what is not there yet, and print the tables."""
    options = parse()
    published = table1.read_published(options.table)
    if options.crystals is not None:
        if unknown := sorted(set(options.crystals) - {each.name for each in published}):
            raise InputError(f"--crystals: unknown {unknown[0]!r}{suggestion(unknown[0], [p.name for p in published])}")
        published = tuple(each for each in published if each.name in options.crystals)
    reference = diamond.read_reference()
    held_out = read_labels(options.labels) if options.labels else []
    settings = KappaSettings(
        mesh_length_ang=options.mesh_length, paper=PaperProtocol(mesh_length_ang=options.paper_mesh_length)
    )
    about = {"kappa": asdict(settings), "labels": label_errors.digest(held_out), "reference": reference.results}
    results = started(options.json, json.loads(json.dumps(about)))
    for name in options.potentials:
        try:
            potential = registry.load(name)
        except InputError as error:
            results["potentials"][name] = {"unavailable": str(error)}
            continue
        own = results["potentials"].get(name, {})
        if own.get("digest") != potential.digest:
            own = results["potentials"][name] = {"digest": potential.digest}
        shifted = bool(held_out) and not is_same_engine(potential, held_out[0].engine, options.same_engine)
        for part, function in parts(potential, reference, published, held_out, settings, shifted=shifted).items():
            if part not in own:
                own[part] = timed(function, own)
                print(f"{name}, {part}: {own[part]['wall_seconds']:.1f} s", file=sys.stderr, flush=True)
                if options.json:
                    write_text(options.json, json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    print(document(results, reference, published, options.potentials))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(str(error)) from None

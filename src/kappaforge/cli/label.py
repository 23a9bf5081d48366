"""``kappaforge label``: energies and forces of crystals from an electronic-structure engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kappaforge.cli.files import memory, read_crystals
from kappaforge.cli.machine import show_json
from kappaforge.cli.options import AsJson, InputPaths, Workers, complete_labeler
from kappaforge.cli.terminal import out
from kappaforge.errors import InputError, KappaforgeError

if TYPE_CHECKING:
    from kappaforge.label.base import Label


def label(
    paths: InputPaths,
    run: Annotated[Path, typer.Option("--run", help="Folder that keeps every finished label; made where missing.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the labelled crystals here (extXYZ).")
    ] = None,
    labeler: Annotated[
        str,
        typer.Option(
            "--labeler",
            "-l",
            autocompletion=complete_labeler,
            help="gpaw, espresso, or ase:module.path:factory (ASE). For VASP see kappaforge vasp.",
        ),
    ] = "gpaw",
    xc: Annotated[str, typer.Option("--xc", help="Functional, by the engine's name.")] = "optB88-vdW",
    cutoff: Annotated[float, typer.Option("--cutoff", help="Plane-wave cutoff, eV.")] = 600.0,
    kspacing: Annotated[float, typer.Option("--kspacing", help="Largest distance of k points, Å⁻¹ with 2π.")] = 0.4,
    done: Annotated[
        Path | None, typer.Option("--done", help="Labels to take over where crystal and engine are the same.")
    ] = None,
    collect: Annotated[bool, typer.Option("--collect", help="Start nothing; hand over what is finished.")] = False,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Label crystals, each once: run it again after any interruption and it goes on.

    A crystal that cannot be labelled is named with its reason and costs the others nothing; only where none at all
    could be labelled is the exit code 1.
    """
    from kappaforge.campaign import tasks
    from kappaforge.campaign.memo import stored
    from kappaforge.label.dataset import read_labels, same_engine
    from kappaforge.label.registry import load
    from kappaforge.label.settings import LabelSettings
    from kappaforge.store.run_folder import RunFolder

    settings = LabelSettings(labeler=labeler, xc=xc, cutoff_ev=cutoff, kspacing_per_ang=kspacing)
    fingerprint = load(settings).fingerprint
    crystals = read_crystals(paths)
    taken = {each.crystal.digest: each for each in read_labels(done)} if done is not None else {}
    if taken and (engine := same_engine(list(taken.values()))) != fingerprint:
        raise InputError(f"{done} was labelled by {engine!r}, not by {fingerprint!r}: labels cannot be mixed")
    arguments = [(crystal, settings) for crystal in crystals if crystal.digest not in taken]
    if collect:
        with RunFolder.open(run) as folder:
            labels = stored(folder, "label", 1, arguments, fingerprint)
    else:
        with memory(run, workers, quiet=as_json) as memo:
            labels = memo.map("label", 1, tasks.label, arguments, fingerprint)
    known = taken | {each.crystal.digest: each for each in labels}
    found = [known[crystal.digest] for crystal in crystals if crystal.digest in known]
    hand_over(found, output, as_json=as_json)
    if found and all(each.status != "ok" for each in found):
        raise KappaforgeError(f"none of {len(found)} crystals could be labelled; the reasons are above")


def hand_over(labels: Sequence[Label], output: Path | None, *, as_json: bool) -> None:
    """Print which labels failed and why, or all of them as JSON; write the good ones where `output` is given."""
    from kappaforge.cli.rows import label_content
    from kappaforge.label.dataset import write_labels

    good = [each for each in labels if each.status == "ok"]
    if output is not None:
        write_labels(good, output)
    if as_json:
        show_json(map(label_content, labels))
        return
    for each in labels:
        if each.status != "ok":
            out.print(f"{each.id}: {each.status}: {each.reason}", highlight=False)
    out.print(f"{len(good)} of {len(labels)} labelled" + (f", in {output}" if output else ""), highlight=False)

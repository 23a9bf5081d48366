"""``kappaforge learn``: query by committee, from crystals and labels to a potential that knows the crystals."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from kappaforge.cli.files import memory, read_crystals
from kappaforge.cli.machine import show_json
from kappaforge.cli.options import AsOneJson, InputPaths, Workers, complete_labeler
from kappaforge.cli.terminal import show_paths


def learn(
    paths: InputPaths,
    run: Annotated[Path, typer.Option("--run", help="Folder that keeps labels, trainings and models.")],
    labels: Annotated[
        str, typer.Option("--labels", help="Labels to begin with (extXYZ of kappaforge label); else they are made.")
    ] = "",
    test: Annotated[
        str, typer.Option("--test", help="Labels nobody learns from: is the uncertainty as large as the error?")
    ] = "",
    settings: Annotated[
        Path | None,
        typer.Option("--settings", help="TOML with \\[label], \\[learn], \\[training]; see kappaforge init."),
    ] = None,
    labeler: Annotated[
        str | None,
        typer.Option(
            "--labeler", "-l", autocompletion=complete_labeler, help="gpaw, espresso, or ase:module.path:factory (ASE)."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Decides subsets, weights and displacements.")] = None,
    workers: Workers = 0,
    as_json: AsOneJson = False,
) -> None:
    """Ask for labels where a committee disagrees, until it agrees on all crystals; run it again after a kill."""
    from kappaforge.campaign.learning import School, hand_over, published
    from kappaforge.config import CampaignSettings, load_campaign
    from kappaforge.describe.soap import average_soap
    from kappaforge.files import write_text
    from kappaforge.label.settings import NO_LABELER
    from kappaforge.report.canvas import save
    from kappaforge.report.learning import uncertainty_csv, uncertainty_figure

    chosen = load_campaign(settings) if settings else CampaignSettings()
    named = labeler or ("gpaw" if chosen.label.labeler == NO_LABELER else chosen.label.labeler)
    changes = {
        "label": replace(chosen.label, labeler=named),
        "learn": replace(chosen.learn, labels=labels or chosen.learn.labels, test=test or chosen.learn.test),
        "seed": chosen.seed if seed is None else seed,
    }
    chosen = chosen.model_copy(update=changes)
    crystals = read_crystals(paths)
    with memory(run, workers, quiet=as_json) as memo:
        school = School(chosen, memo, memo.progress)
        features = average_soap(crystals, chosen.describe)
        lessons = school.learn(crystals, school.first_lessons(crystals, features))
        school.calibrate(lessons)
        written = hand_over(run / "learned", lessons, school.final_model(lessons))
    rounds = [published(turn) for turn in lessons.rounds]
    written.append(write_text(run / "learned" / "uncertainty.csv", uncertainty_csv(rounds)))
    figure = uncertainty_figure(rounds, chosen.learn.threshold_mev_per_atom)
    written += save(figure, run / "learned" / "uncertainty")
    files = {path.name: path for path in written}
    if as_json:
        turns = [asdict(turn) for turn in rounds]
        show_json([{"labels": len(lessons.labels), "asked": lessons.asked, "rounds": turns, "written": files}])
    else:
        show_paths(files)

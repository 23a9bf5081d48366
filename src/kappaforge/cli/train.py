"""``kappaforge train``: an Allegro model from labelled crystals."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from kappaforge.cli.machine import show_json
from kappaforge.cli.options import AsOneJson, Seed, choices, complete_potential
from kappaforge.cli.terminal import Bars, out
from kappaforge.errors import InputError


def train(
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="Labelled extXYZ, as kappaforge label writes it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model: a .safetensors file.")],
    validation: Annotated[
        Path | None, typer.Option("--validation", help="Labels that decide which epoch's weights are kept.")
    ] = None,
    start: Annotated[
        str,
        typer.Option(
            "--start", autocompletion=complete_potential, help="Model to go on from: a registered one or a file."
        ),
    ] = "",
    preset: Annotated[
        str,
        typer.Option("--preset", autocompletion=choices("fast", "paper"), help="Shape of a new model: fast or paper."),
    ] = "fast",
    settings: Annotated[
        Path | None, typer.Option("--settings", help="TOML with \\[training]; see kappaforge init.")
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Passes over the labels.")] = None,
    seed: Seed = 0,
    as_json: AsOneJson = False,
) -> None:
    """Train a model, or go on training one; run it again after a kill and it goes on from the last whole epoch."""
    from kappaforge.config import CampaignSettings, load_campaign
    from kappaforge.label.dataset import read_labels
    from kappaforge.potentials.allegro_model import ModelCard
    from kappaforge.potentials.family import allegro_start
    from kappaforge.potentials.model_file import write_model
    from kappaforge.potentials.training import train as fit

    if output.suffix != ".safetensors":
        raise InputError(f"--output {output}: expected a name that ends in .safetensors")
    training = (load_campaign(settings) if settings else CampaignSettings()).training
    training = replace(training, epochs=epochs or training.epochs)
    learned = read_labels(labels)
    if not learned:
        raise InputError(f"{labels} holds no labelled crystals; label some with: kappaforge label")
    held_out = read_labels(validation) if validation else []
    model = allegro_start(start, preset)
    checkpoint = output.with_suffix(".checkpoint")
    with Bars(quiet=as_json) as bars:
        bars.start("train", training.epochs, 0)
        done = fit(
            learned,
            held_out,
            model=model,
            settings=training,
            seed=seed,
            card=ModelCard(data=f"{len(learned)} labels of {labels.name}", functional=learned[0].engine),
            checkpoint=checkpoint,
            on_epoch=lambda errors: bars.advance("train"),
        )
    write_model(done.model, output)
    checkpoint.unlink()
    errors = done.log[done.epoch - 1]
    if as_json:
        show_json([asdict(errors) | {"epochs": len(done.log), "labels": len(learned), "written": {"model": output}}])
        return
    out.print(
        f"epoch {done.epoch} of {len(done.log)}: energy MAE {errors.energy_mae_mev_per_atom:.1f} meV/atom, "
        f"force RMSE {errors.force_rmse_mev_per_ang:.0f} meV/Å on the training set"
        + (
            f"; {errors.validation_energy_mae_mev_per_atom:.1f} and {errors.validation_force_rmse_mev_per_ang:.0f} "
            "on the validation set"
            if held_out
            else ""
        ),
        highlight=False,
    )
    out.print(f"model in {output}", highlight=False, soft_wrap=True)

"""``kappaforge train-generator``: a generator from crystals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kappaforge.cli.files import read_crystals
from kappaforge.cli.machine import show_json
from kappaforge.cli.options import AsOneJson, InputPaths, Seed, choices
from kappaforge.cli.terminal import Bars, out
from kappaforge.errors import InputError

if TYPE_CHECKING:
    from kappaforge.generate.training import EpochLosses


def train_generator(
    data: InputPaths,
    output: Annotated[Path, typer.Option("--output", "-o", help="The generator: a .safetensors file.")],
    model: Annotated[
        str, typer.Option("--model", "-m", autocompletion=choices("flow", "cdvae"), help="Which kind: flow or cdvae.")
    ] = "flow",
    preset: Annotated[
        str,
        typer.Option(
            "--preset",
            autocompletion=choices("paper", "small"),
            help="Size of a cdvae: paper, or small, which trains on one core.",
        ),
    ] = "",
    validation: Annotated[
        Path | None, typer.Option("--validation", help="Crystals whose losses are shown beside, none of the data.")
    ] = None,
    start: Annotated[
        str, typer.Option("--start", help="Generator to go on from: its file, or the name of one that is shipped.")
    ] = "",
    prior_only: Annotated[
        bool,
        typer.Option(
            "--prior-only",
            help="Keep the network of --start, a flow, and take from the crystals only which sizes, space groups and "
            "sites are drawn.",
        ),
    ] = False,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the crystals.")] = 200,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Crystals in a step.")] = 16,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="At the start.")] = 1e-3,
    schedule: Annotated[
        str,
        typer.Option(
            "--schedule", autocompletion=choices("cosine", "plateau", "constant"), help="cosine, plateau or constant."
        ),
    ] = "cosine",
    device: Annotated[
        str, typer.Option("--device", autocompletion=choices("cpu", "cuda"), help="Where torch computes: cpu or cuda.")
    ] = "cpu",
    log: Annotated[Path | None, typer.Option("--log", help="Write the losses of each epoch here (csv).")] = None,
    seed: Seed = 0,
    as_json: AsOneJson = False,
) -> None:
    """Train a generator, or go on training one; run it again after a kill and it goes on from the last whole epoch.

    Give distinct crystals: what the data hold twice is learned twice. Under torchrun the processes share the work.
    """
    from kappaforge.files import write_text
    from kappaforge.generate.registry import kind
    from kappaforge.generate.training import TrainingSettings

    if output.suffix != ".safetensors":
        raise InputError(f"--output {output}: expected a name that ends in .safetensors")
    made = kind(model)
    if preset and not hasattr(made, "preset"):
        raise InputError(f"--preset {preset}: a {model} has none")
    if preset and start:
        raise InputError("--preset: a training that goes on from --start keeps that generator's size")
    if prior_only:
        if not (start and hasattr(made, "towards")):
            raise InputError("--prior-only: expected a flow to keep, with --start FILE")
        generator = made.load(_file(start)).towards(read_crystals(data), seed)
        _finish(generator, data, output, as_json, f"patterns {generator.card['patterns']}")
        return
    training = TrainingSettings(epochs, batch_size, learning_rate, schedule, device=device)
    checkpoint = output.with_suffix(".checkpoint")
    rows: list[EpochLosses] = []
    with Bars(quiet=as_json) as bars:
        bars.start("train", epochs, 0)

        def on_epoch(losses: EpochLosses) -> None:
            rows.append(losses)
            bars.advance("train")
            if log is not None:
                write_text(log, _csv(rows))

        generator = made.fit(
            read_crystals(data),
            model=made.preset(preset) if preset else None,
            training=training,
            start=made.load(_file(start)) if start else None,
            validation=read_crystals([validation]) if validation else (),
            seed=seed,
            checkpoint=checkpoint,
            on_epoch=on_epoch,
        )
    _finish(generator, data, output, as_json, generator.card["last losses"])
    checkpoint.unlink(missing_ok=True)


def _file(name: str) -> Path:
    from kappaforge.generate.registry import shipped_file

    return shipped_file(name) or Path(name)


def _finish(generator: Any, data: Sequence[Path], output: Path, as_json: bool, summary: str) -> None:
    generator.card["files"] = ", ".join(path.name for path in data)
    generator.save(output)
    if as_json:
        show_json([{"card": generator.card, "written": {"generator": output}}])
    else:
        out.print(f"{summary}; generator in {output}", highlight=False, soft_wrap=True)


def _csv(rows: list[EpochLosses]) -> str:
    names = sorted(rows[-1].losses)
    checked = sorted(rows[-1].validation)
    lines = [",".join(["epoch", *names, *(f"validation_{name}" for name in checked)])]
    for row in rows:
        values = [row.losses.get(name, float("nan")) for name in names]
        values += [row.validation.get(name, float("nan")) for name in checked]
        lines.append(",".join([str(row.epoch), *(f"{value:.6g}" for value in values)]))
    return "\n".join(lines) + "\n"

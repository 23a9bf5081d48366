"""The command ``kappaforge``: one file per sub-command, which parses, calls and prints.

The files import the steps inside their functions, so that ``--help`` does not wait for the numerical libraries.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from kappaforge import __version__
from kappaforge.cli import (
    describe,
    displace,
    doctor,
    evaluate_generator,
    export,
    generate,
    init,
    kappa,
    label,
    ladder,
    learn,
    phonons,
    relax,
    report,
    run,
    screen,
    select,
    status,
    train,
    train_generator,
    vasp,
)
from kappaforge.cli.ending import INTERRUPTED, ending
from kappaforge.cli.examples import examples, overview
from kappaforge.cli.machine import stdout_given_back

app = typer.Typer(
    name="kappaforge",
    help="Find crystals with ultrahigh lattice thermal conductivity κ.\n\n"
    "A campaign proposes crystals, relaxes them with an interatomic potential, keeps the distinct symmetric ones, "
    "picks the informative few and computes their κ. Each of its steps is also a command on files.",
    epilog=overview(),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

CAMPAIGN, STEP, MACHINE = "A campaign", "One step, on files", "This machine"

COMMANDS: tuple[tuple[str, str, Callable[..., None]], ...] = (
    (CAMPAIGN, "init", init.init),
    (CAMPAIGN, "run", run.run),
    (CAMPAIGN, "resume", run.resume),
    (CAMPAIGN, "status", status.status),
    (CAMPAIGN, "report", report.report),
    (CAMPAIGN, "export", export.export),
    (STEP, "generate", generate.generate),
    (STEP, "evaluate-generator", evaluate_generator.evaluate_generator),
    (STEP, "relax", relax.relax),
    (STEP, "screen", screen.screen),
    (STEP, "describe", describe.describe),
    (STEP, "select", select.select),
    (STEP, "label", label.label),
    (STEP, "train", train.train),
    (STEP, "train-generator", train_generator.train_generator),
    (STEP, "learn", learn.learn),
    (STEP, "displace", displace.displace),
    (STEP, "kappa", kappa.kappa),
    (STEP, "ladder", ladder.ladder),
    (STEP, "phonons", phonons.phonons),
    (MACHINE, "doctor", doctor.doctor),
)

for panel, name, command in COMMANDS:
    app.command(name, rich_help_panel=panel, epilog=examples(name))(command)
app.add_typer(vasp.app, name="vasp", rich_help_panel=STEP, epilog=examples("vasp"))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kappaforge {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Hold the options that stand before a sub-command."""


def main() -> None:
    """Run the command line; exits with 0, 1 (it failed), 2 (bad input) or 130 (interrupted)."""
    try:
        with stdout_given_back():
            code = app(prog_name="kappaforge", standalone_mode=False)
        if code == INTERRUPTED:  # typer makes it of a KeyboardInterrupt, and says nothing
            raise KeyboardInterrupt
    except (Exception, KeyboardInterrupt) as error:
        code, message = ending(error)
        if message:
            print(f"kappaforge: {message}", file=sys.stderr)
    sys.exit(code)

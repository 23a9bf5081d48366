"""The command ``kappaforge``: one file per sub-command, which parses, calls and prints.

The files import the steps inside their functions, so that ``--help`` does not wait for the numerical libraries.
"""

from __future__ import annotations

import sys

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
from kappaforge.cli.machine import stdout_given_back

app = typer.Typer(
    name="kappaforge",
    help="Find crystals with ultrahigh lattice thermal conductivity.\n\n"
    "One crystal: kappaforge kappa POSCAR. A campaign: kappaforge init RUN, then kappaforge run RUN; "
    "run it again after any interruption and it goes on. Each step is also a command on files.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("init", rich_help_panel="A campaign")(init.init)
app.command("run", rich_help_panel="A campaign")(run.run)
app.command("resume", rich_help_panel="A campaign")(run.resume)
app.command("status", rich_help_panel="A campaign")(status.status)
app.command("report", rich_help_panel="A campaign")(report.report)
app.command("export", rich_help_panel="A campaign")(export.export)
app.command("doctor", rich_help_panel="This machine")(doctor.doctor)
app.command("generate", rich_help_panel="One step, on files")(generate.generate)
app.command("evaluate-generator", rich_help_panel="One step, on files")(evaluate_generator.evaluate_generator)
app.command("relax", rich_help_panel="One step, on files")(relax.relax)
app.command("screen", rich_help_panel="One step, on files")(screen.screen)
app.command("describe", rich_help_panel="One step, on files")(describe.describe)
app.command("select", rich_help_panel="One step, on files")(select.select)
app.command("label", rich_help_panel="One step, on files")(label.label)
app.command("train", rich_help_panel="One step, on files")(train.train)
app.command("train-generator", rich_help_panel="One step, on files")(train_generator.train_generator)
app.command("learn", rich_help_panel="One step, on files")(learn.learn)
app.add_typer(vasp.app, name="vasp", rich_help_panel="One step, on files")
app.command("displace", rich_help_panel="One step, on files")(displace.displace)
app.command("kappa", rich_help_panel="One step, on files")(kappa.kappa)
app.command("ladder", rich_help_panel="One step, on files")(ladder.ladder)
app.command("phonons", rich_help_panel="One step, on files")(phonons.phonons)


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

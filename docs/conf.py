"""Sphinx's settings. `make docs` builds the pages into build/docs, with warnings as errors."""

from __future__ import annotations

import re
import subprocess
import sys

from sphinx.application import Sphinx

from kappaforge import __version__

project = "kappaforge"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["README.md"]
html_theme = "furo"
html_title = f"kappaforge {__version__}"
html_copy_source = False

smartquotes = False  # they would make quotes of the primes in q' and q''

myst_heading_anchors = 3  # links to headings, as code hosts make them too

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
default_role = "code"  # what docstrings put between single backticks
napoleon_use_rtype = False
napoleon_use_ivar = True

COMMANDS_PAGE = "commands"


def add_commands(app: Sphinx, page: str, source: list[str]) -> None:
    """Put typer's own description of every sub-command below the text of the page of commands."""
    if page != COMMANDS_PAGE:
        return
    command = [sys.executable, "-m", "typer", "kappaforge.cli.main", "utils", "docs", "--name", "kappaforge"]
    described = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    title, _, rest = described.partition("\n")
    if title != "# `kappaforge`":
        raise ValueError(f"typer's description of the commands begins with {title!r}, not with its title")
    source[0] += rest


def name_files_outside(app: Sphinx, page: str, source: list[str]) -> None:
    """Turn links that code hosts follow: to files that are no pages into their names, to CONTRIBUTING into its page."""
    source[0] = source[0].replace("](../CONTRIBUTING.md)", "](/contributing.md)")
    source[0] = re.sub(r"\[[^]]+\]\((?:\.\./)+((?:training|benchmarks|tests)/[^)]+)\)", r"`\1`", source[0])


def setup(app: Sphinx) -> None:
    """Register what is special about these pages."""
    app.connect("source-read", add_commands)
    app.connect("source-read", name_files_outside)

"""Everything a run has to show, written into one folder."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Sequence
from pathlib import Path

import ase.io
from ase import Atoms
from ase.io.extxyz import key_val_str_to_dict

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.files import replacing, write_text
from kappaforge.report.canvas import save
from kappaforge.report.learning import uncertainty_csv
from kappaforge.report.markup import to_latex, to_markdown
from kappaforge.report.page import Picture, page
from kappaforge.report.pictures import pictures
from kappaforge.report.tables import to_csv, to_json
from kappaforge.store.distillation import Distillation
from kappaforge.store.evidence import Evidence
from kappaforge.store.published import Published
from kappaforge.store.row import Row


def write_report(
    published: Published,
    folder: Path,
    evidence: Evidence | None = None,
    distillation: Distillation | None = None,
) -> dict[str, Path]:
    """Write tables, crystals, figures and the offline page of a run, finished or not.

    Every file is replaced as a whole, and the same run gives the same bytes.

    Parameters
    ----------
    published
        The run.
    folder
        Made where it does not exist. Figures that a report before this one has left there, of crystals that are no
        longer the best, are removed.
    evidence, distillation
        What the run has to show beside its rows, as far as it has come.

    Returns
    -------
    dict
        Path of every file by its name below `folder`, such as ``table.csv``, ``figures/map.png``, ``index.html``.

    Raises
    ------
    InputError
        Where the folder cannot be written.
    """
    try:
        paths = _written(published, folder, evidence or Evidence(), distillation)
    except OSError as error:
        if error.errno not in CANNOT_WRITE:
            raise
        raise InputError(
            f"{folder} cannot be written ({error.strerror}); write the report elsewhere with --output"
        ) from None
    return {path.relative_to(folder).as_posix(): path for path in paths}


CANNOT_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


def _written(published: Published, folder: Path, evidence: Evidence, distillation: Distillation | None) -> list[Path]:
    rows = published.rows
    paths = [
        write_text(folder / "table.csv", to_csv(rows)),
        write_text(folder / "table.json", to_json(rows)),
        write_text(folder / "table.md", to_markdown(rows)),
        write_text(folder / "table.tex", to_latex(rows)),
        write_crystals(folder / "crystals.extxyz", rows, published.crystals),
    ]
    if published.rounds:
        paths.append(write_text(folder / "uncertainty.csv", uncertainty_csv(published.rounds)))
    shown = []
    for drawn in pictures(published, evidence, distillation):
        png, svg = save(drawn.figure, folder / "figures" / drawn.name)
        paths += [png, svg]
        shown.append(Picture(drawn.title, drawn.caption, svg.read_bytes()))
    for old in set((folder / "figures").glob("*")) - set(paths):
        if re.fullmatch(OF_THE_BEST, old.name):
            old.unlink()
    paths.append(write_text(folder / "index.html", page(published, shown)))
    return paths


OF_THE_BEST = r"(dispersion|cumulative_kappa)-\d+-.*\.(png|svg)"


def write_crystals(path: Path, rows: Sequence[Row], crystals: Sequence[Crystal]) -> Path:
    """Write all crystals in the order of the rows, as extXYZ with what is known of each in its comment line."""
    images = [_annotated(row, crystal) for row, crystal in zip(rows, crystals, strict=True)]
    with replacing(path) as temporary:
        if images:
            ase.io.write(temporary, images, format="extxyz")
        else:
            temporary.touch()
    return path


def _annotated(row: Row, crystal: Crystal) -> Atoms:
    atoms = crystal.to_ase()
    known = row.to_dict()
    kept = ("id", "status", "role", "potential", "temperature_k", "energy_ev_per_atom")
    kappas = ("kappa_rta_w_per_mk", "kappa_rta_max_w_per_mk")
    info = {name: known[name] for name in (*kept, *kappas) if known[name] not in (None, "")}
    atoms.info = {name: _readable(value) if isinstance(value, str) else value for name, value in info.items()}
    return atoms


def _readable(text: str) -> str:
    """Return text so that ASE reads it back as it was: hexadecimal ids such as ``12e45`` it would take for a number."""
    if re.fullmatch(r"[A-Za-z][\w.-]*", text, flags=re.ASCII):
        read = key_val_str_to_dict(f"key={text}")["key"]
        if isinstance(read, str) and read == text:
            return text
    return "_JSON " + json.dumps(text).replace("\\", "\\\\")  # ASE's reader takes one level of backslashes away

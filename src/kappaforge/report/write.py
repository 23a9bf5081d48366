"""Everything a run has to show, written into one folder."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.io.extxyz import key_val_str_to_dict
from matplotlib.figure import Figure

from kappaforge.crystal import Crystal
from kappaforge.files import replacing, write_text
from kappaforge.report.canvas import save
from kappaforge.report.figures import (
    crystal_map,
    kappa_histogram,
    kappa_over_density,
    kappa_ranking,
)
from kappaforge.report.learning import uncertainty_csv, uncertainty_figure
from kappaforge.report.page import Picture, page
from kappaforge.report.tables import kappa_eigenvalues, to_csv, to_json
from kappaforge.store.published import Published
from kappaforge.store.row import Row


def write_report(published: Published, folder: Path) -> dict[str, Path]:
    """Write tables, crystals, figures and the offline page of a run, finished or not.

    Every file is replaced as a whole, and the same run gives the same bytes.

    Parameters
    ----------
    published
        The run.
    folder
        Made where it does not exist.

    Returns
    -------
    dict
        Path of every file by its name below `folder`, such as ``table.csv``, ``figures/map.png``, ``index.html``.
    """
    paths = [
        write_text(folder / "table.csv", to_csv(published.rows)),
        write_text(folder / "table.json", to_json(published.rows)),
        write_crystals(folder / "crystals.extxyz", published.rows, published.crystals),
    ]
    if published.rounds:
        paths.append(write_text(folder / "uncertainty.csv", uncertainty_csv(published.rounds)))
    pictures = []
    for name, (figure, title, caption) in _figures(published).items():
        png, svg = save(figure, folder / "figures" / name)
        paths += [png, svg]
        pictures.append(Picture(title, caption, svg.read_bytes()))
    paths.append(write_text(folder / "index.html", page(published, pictures)))
    return {path.relative_to(folder).as_posix(): path for path in paths}


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


def _figures(published: Published) -> dict[str, tuple[Figure, str, str]]:
    """The figures by file name, each with its title and caption."""
    rows = published.rows
    learning = {"uncertainty": _uncertainty(published)} if published.rounds else {}
    kappa = _column(rows, "kappa_rta_max_w_per_mk")
    roles = [row.role for row in rows]
    names = [row.id if row.source.startswith("known") else "" for row in rows]
    eigenvalues = np.array([kappa_eigenvalues(row) or (np.nan,) * 3 for row in rows]).reshape(-1, 3)
    grouped = {role: kappa[[row.role == role for row in rows]] for role in ("benchmark", "neighbour", "")}
    return {
        "map": (
            crystal_map(np.column_stack([_column(rows, "map_x"), _column(rows, "map_y")]), kappa, roles, names),
            "Map of the crystals",
            "t-SNE of the averaged SOAP descriptors: near points are alike. Known crystals bear their names.",
        ),
        "kappa_histogram": (
            kappa_histogram(grouped),
            "Distribution of κ",
            "Benchmarks spread over the map; neighbours were chosen close to the best of them. "
            "Dashed: 800 W/(m·K), the limit of ultrahigh.",
        ),
        "kappa_ranking": (
            kappa_ranking([row.id for row in rows], eigenvalues),
            "Best conductors",
            "The three eigenvalues of κ: the longer the line, the more the direction matters.",
        ),
        "kappa_over_density": (
            kappa_over_density(_column(rows, "density_g_per_cm3"), kappa, roles, names),
            "κ over density",
            "Largest eigenvalue of κ against the mass density.",
        ),
        **learning,
    }


def _uncertainty(published: Published) -> tuple[Figure, str, str]:
    return (
        uncertainty_figure(published.rounds, published.settings["learn"]["threshold_mev_per_atom"]),
        "Query by committee",
        "Standard deviation of the committee's energies. After each round the most uncertain crystals were labelled.",
    )


def _column(rows: Sequence[Row], name: str) -> np.ndarray:
    """One column of the rows as floats, NaN where nothing is known."""
    return np.array([np.nan if getattr(row, name) is None else getattr(row, name) for row in rows], dtype=float)

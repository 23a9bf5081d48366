"""A whole campaign on real potentials, small enough for every test run, and what there is to compare of it."""

import sqlite3
from pathlib import Path

from kappaforge.campaign.campaign import Campaign
from kappaforge.config import load_campaign
from kappaforge.store.published import Published
from kappaforge.store.run_folder import DATABASE, RunFolder

SMALL = """
name = "small"
seed = 4
[generate]
n = 12
max_atoms = 4
[potential]
name = "brenner"
[screen]
max_atoms = 4
[select]
known = ["diamond", "lonsdaleite"]
benchmarks = 1
neighbours = 1
ultrahigh_kappa_w_per_mk = 100.0
[kappa]
method = "paper"
mesh = [4, 4, 4]
paper.supercell = [2, 2, 2]
[engine]
workers = 2
batch_size = 4
"""

TINY = """
name = "tiny"
seed = 4
[generate]
generator = "random"
n = 6
max_atoms = 4
[potential]
name = "brenner"
[screen]
max_atoms = 4
[select]
known = ["diamond"]
benchmarks = 1
neighbours = 1
ultrahigh_kappa_w_per_mk = 100.0
[kappa]
method = "paper"
mesh = [4, 4, 4]
paper.supercell = [2, 2, 2]
[engine]
batch_size = 4
"""
"""Half of `SMALL`, without torch; for the settings of an engine to be added."""


def make_run(folder: Path, text: str = SMALL) -> Path:
    folder.mkdir()
    (folder / "campaign.toml").write_text(text)
    return folder


def drive(folder: Path) -> Published:
    with RunFolder.open(folder, write=True) as opened:
        return Campaign(load_campaign(folder / "campaign.toml"), opened).run()


def table(published: Published) -> list[dict]:
    """Return the rows without the time they took, which no two runs share."""
    return [{key: value for key, value in row.to_dict().items() if key != "seconds"} for row in published.rows]


def task_keys(folder: Path) -> list[str]:
    with sqlite3.connect(folder / DATABASE) as connection:
        return [key for (key,) in connection.execute("SELECT key FROM tasks ORDER BY key")]


def bits(published: Published) -> list[tuple]:
    """Return the rows without their times, and every bit of their crystals."""
    geometries = [(crystal.cell.tobytes(), crystal.positions.tobytes()) for crystal in published.crystals]
    return list(zip(table(published), geometries, strict=True))

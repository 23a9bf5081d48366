"""A campaign's results in a notebook: tables of pandas, crystals of ASE."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms

from kappaforge.errors import InputError, suggestion
from kappaforge.store.driver import Driver, driver_of
from kappaforge.store.published import PUBLISHED, Published
from kappaforge.store.row import COLUMNS, Row, ranked
from kappaforge.store.run_folder import RunFolder, StepProgress

if TYPE_CHECKING:
    from pandas import DataFrame

KINDS = {"float | None": "float64", "int | None": "Int64", "bool | None": "boolean"}
"""Types of pandas for columns in which numbers may be missing."""


@dataclass(frozen=True, eq=False)
class Campaign:
    """A run folder as it stood when it was opened; open it again for what has come since.

    >>> campaign = kappaforge.Campaign.open("runs/carbon")
    >>> campaign.table.query("kappa_rta_max_w_per_mk > 800")[["formula", "kappa_rta_max_w_per_mk"]]
    >>> campaign.atoms("diamond")

    Parameters
    ----------
    path
        The folder.
    published
        All that the campaign has to show.
    steps
        How far each step was.
    driver
        Who drove it; None where nobody did.
    """

    path: Path
    published: Published
    steps: tuple[StepProgress, ...]
    driver: Driver | None

    @classmethod
    def open(cls, path: str | Path) -> Campaign:
        """Read a run folder, also while it is driven.

        Raises
        ------
        InputError
            For a folder that is no run folder, is damaged or of another version, or has nothing to show yet.
        """
        path = Path(path)
        with RunFolder.open(path) as folder:
            try:
                published = folder.recall(PUBLISHED)
            except KeyError:
                raise InputError(f"{path} has nothing to show yet; go on with: kappaforge run {path}") from None
            steps = tuple(folder.progress())
        return cls(path, published, steps, driver_of(path))

    @property
    def settings(self) -> dict[str, Any]:
        """The campaign's settings, as nested plain values."""
        return self.published.settings

    @property
    def versions(self) -> dict[str, str]:
        """Versions of kappaforge and of the packages that decide its numbers."""
        return self.published.versions

    @property
    def table(self) -> DataFrame:
        """Every crystal that was ever a candidate, by falling κ; the index is its id.

        Columns are those of `kappaforge.store.row.Row`, as in ``table.csv`` of the report; tensors are arrays of shape
        (3, 3), and what is not known is missing.
        """
        from pandas import DataFrame

        rows = ranked(self.published.rows)
        table = DataFrame([[getattr(row, name) for name in COLUMNS] for row in rows], columns=list(COLUMNS))
        kinds = {field.name: KINDS[str(field.type)] for field in fields(Row) if field.type in KINDS}
        return table.astype(kinds).set_index("id")

    @property
    def counts(self) -> DataFrame:
        """Crystals after each step, in the order of the steps, and how many left there; the index is the step."""
        from pandas import DataFrame

        rows = [
            (step, crystals, sum(self.published.discards.get(step, {}).values()))
            for step, crystals in self.published.counts.items()
        ]
        return DataFrame(rows, columns=["step", "crystals", "left_here"]).set_index("step")

    @property
    def discards(self) -> DataFrame:
        """Why crystals left: a row for each step and reason."""
        from pandas import DataFrame

        rows = [
            (step, reason, crystals)
            for step, reasons in self.published.discards.items()
            for reason, crystals in reasons.items()
        ]
        return DataFrame(rows, columns=["step", "reason", "crystals"])

    @property
    def progress(self) -> DataFrame:
        """Tasks of each step, their rate and the time that is left at it; the index is the step."""
        from pandas import DataFrame

        rows = [(each.step, each.done, each.total, each.tasks_per_s, each.remaining_s) for each in self.steps]
        table = DataFrame(rows, columns=["step", "done", "total", "tasks_per_s", "remaining_s"]).set_index("step")
        return table.astype({"tasks_per_s": "float64", "remaining_s": "float64"})

    @property
    def rounds(self) -> DataFrame:
        """How sure the committee was of each crystal, after each round of query by committee."""
        from pandas import DataFrame

        rows = [
            (turn.number, turn.n_labels, name, float(spread), name in turn.added)
            for turn in self.published.rounds
            for name, spread in zip(turn.ids, turn.energy_std_mev_per_atom, strict=True)
        ]
        return DataFrame(rows, columns=["round", "n_labels", "id", "energy_std_mev_per_atom", "added"])

    def atoms(self, id: str) -> Atoms:
        """Return one crystal as it was last relaxed; what is known of it is in ``info``.

        Raises
        ------
        InputError
            Where there is none of that id.
        """
        places = {row.id: place for place, row in enumerate(self.published.rows)}
        if id not in places:
            raise InputError(f"{self.path}: there is no crystal {id!r}{suggestion(id, places)}")
        return self._atoms(places[id])

    def all_atoms(self) -> list[Atoms]:
        """Return all crystals, in the order of `table`."""
        places = {row.id: place for place, row in enumerate(self.published.rows)}
        return [self._atoms(places[row.id]) for row in ranked(self.published.rows)]

    def _atoms(self, place: int) -> Atoms:
        atoms = self.published.crystals[place].to_ase()
        known = self.published.rows[place].to_dict()
        atoms.info = {name: value for name, value in known.items() if value not in (None, "")}
        return atoms

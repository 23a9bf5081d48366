"""The book of a campaign: one row per candidate, how many came through each step, why the others left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from kappaforge.config import CampaignSettings
from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.store.published import LearningRound, Published
from kappaforge.store.row import Row

DECIDING_PACKAGES = (
    "kappaforge", "numpy", "scipy", "ase", "spglib", "pymatgen", "phonopy", "phono3py", "symfc", "dscribe",
    "scikit-learn", "pyxtal", "matscipy", "sevenn", "torch", "nequip", "nequip-allegro", "gpaw",
)  # fmt: skip


class Ledger:
    """Collects what each step says of each candidate, in the order in which they came in."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._crystals: dict[str, Crystal] = {}
        self._counts: dict[str, int] = {}
        self._discards: dict[str, Counter[str]] = {}
        self.rounds: list[LearningRound] = []

    def enter(self, *crystals: Crystal) -> None:
        """Open a row for each new candidate; raises `InputError` where its id is taken."""
        for crystal in crystals:
            if crystal.id in self._rows:
                raise InputError(f"two crystals have the id {crystal.id!r}; give the data set's crystals other ids")
            self._crystals[crystal.id] = crystal
            self._rows[crystal.id] = Row(
                id=crystal.id,
                source=crystal.source,
                formula=crystal.formula,
                n_atoms=len(crystal),
                density_g_per_cm3=crystal.density_g_per_cm3,
                stage="generate",
                parents=crystal.parents,
            )

    def note(self, id: str, crystal: Crystal | None = None, **known: Any) -> None:
        """Write what has become known of a candidate, and its new geometry."""
        if crystal is not None:
            self._crystals[id] = crystal
            known = {
                "formula": crystal.formula,
                "density_g_per_cm3": crystal.density_g_per_cm3,
                "parents": crystal.parents,
                **known,
            }
        self._rows[id] = replace(self._rows[id], **known)

    def energy_ev_per_atom(self, id: str) -> float:
        """Return the noted energy of a relaxed candidate."""
        energy = self._rows[id].energy_ev_per_atom
        assert energy is not None, f"{id} has not been relaxed"
        return energy

    def novel(self, id: str) -> bool | None:
        """Return whether a unique candidate is novel, None where it is not unique."""
        return self._rows[id].novel

    def passed(self, step: str, n_crystals: int, left: Iterable[str] = ()) -> None:
        """Note how many crystals came through a step and why the others left, in place of what was noted before."""
        self._counts[step] = n_crystals
        self._discards[step] = Counter(left)

    def publish(self, settings: CampaignSettings, seconds_by_step: dict[str, float]) -> Published:
        """Return all of it."""
        return Published(
            name=settings.name,
            settings=settings.model_dump(mode="json"),
            versions=dict(_versions()),
            counts=dict(self._counts),
            discards={step: dict(reasons.most_common()) for step, reasons in self._discards.items() if reasons},
            rows=list(self._rows.values()),
            crystals=list(self._crystals.values()),
            seconds_by_step=seconds_by_step,
            rounds=list(self.rounds),
        )


def _versions() -> Iterable[tuple[str, str]]:
    for package in DECIDING_PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue

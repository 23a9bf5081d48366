"""Errors of a potential on labels, by the kind of the frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from split import kind

from kappaforge.label.base import Label
from kappaforge.potentials.base import Batch, Potential


@dataclass(frozen=True)
class Errors:
    """Errors on some labels.

    Parameters
    ----------
    labels
        Number of them.
    energy_mae_mev_per_atom
        After nothing is shifted: the model's zero is part of what is tested.
    force_rmse_mev_per_ang, force_rms_mev_per_ang
        Root mean squares over all components, of the errors and of the labels.
    """

    labels: int
    energy_mae_mev_per_atom: float
    force_rmse_mev_per_ang: float
    force_rms_mev_per_ang: float

    @property
    def relative(self) -> float:
        """Force error over force."""
        return self.force_rmse_mev_per_ang / self.force_rms_mev_per_ang

    def __str__(self) -> str:
        return (
            f"{self.labels:4d} labels: energy MAE {self.energy_mae_mev_per_atom:6.1f} meV/atom, force RMSE "
            f"{self.force_rmse_mev_per_ang:6.0f} of {self.force_rms_mev_per_ang:5.0f} meV/Å ({self.relative:6.2%})"
        )


def errors_by_kind(potential: Potential, labels: Sequence[Label]) -> dict[str, Errors]:
    """Return the errors on each kind, and on all but supercells as ``crystals``."""
    groups: dict[str, list[Label]] = {}
    for label in labels:
        groups.setdefault(kind(label.crystal), []).append(label)
    groups["crystals"] = [label for label in labels if kind(label.crystal) != "supercell"]
    return {name: errors(potential, some) for name, some in groups.items() if some}


def errors(potential: Potential, labels: Sequence[Label]) -> Errors:
    """Return the errors on all of the labels."""
    batch = Batch.of([label.crystal for label in labels])
    answer = potential.compute(batch)
    energies = np.array([label.energy_ev for label in labels])
    forces = np.concatenate([label.forces_ev_per_ang for label in labels])
    return Errors(
        len(labels),
        1e3 * float(np.abs((answer.energies_ev - energies) / batch.counts).mean()),
        1e3 * float(np.sqrt(np.square(answer.forces_ev_per_ang - forces).mean())),
        1e3 * float(np.sqrt(np.square(forces).mean())),
    )

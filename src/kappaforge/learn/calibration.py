"""Whether a committee's uncertainty says how wrong it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from kappaforge.errors import InputError
from kappaforge.label.base import Label
from kappaforge.learn.committee import CRYSTALS_PER_BATCH, uncertainty
from kappaforge.potentials.base import Batch, Potential


@dataclass(frozen=True)
class Calibration:
    """The committee's uncertainty beside its true error, on labels that no member has seen.

    Parameters
    ----------
    n
        Number of labels.
    error_rms_mev_per_atom, uncertainty_rms_mev_per_atom
        Root mean squares of the error of the committee's mean energy, and of the uncertainty, meV/atom.
    rank_correlation
        Spearman's, between uncertainty and absolute error: 1 where the most uncertain are the most wrong, 0 where
        the uncertainty says nothing.
    within_two
        Share of labels whose error is below twice the uncertainty; 0.95 for normal errors of the right size.
    """

    n: int
    error_rms_mev_per_atom: float
    uncertainty_rms_mev_per_atom: float
    rank_correlation: float
    within_two: float

    @property
    def scale(self) -> float:
        """Factor by which the uncertainty must be multiplied to be as large as the error on average."""
        return self.error_rms_mev_per_atom / self.uncertainty_rms_mev_per_atom


def calibration(members: Sequence[Potential], labels: Sequence[Label]) -> Calibration:
    """Compare uncertainty and error on held-out labels.

    Raises
    ------
    InputError
        For fewer than three labels, of which nothing can be said.
    """
    if len(labels) < 3:
        raise InputError(f"calibration needs at least three held-out labels, got {len(labels)}")
    found = uncertainty(members, [label.crystal for label in labels])
    true = np.array([(label.energy_ev or 0.0) / len(label.crystal) for label in labels])
    errors = 1e3 * np.abs(found.energy_ev_per_atom - true)
    deviations = found.energy_std_mev_per_atom
    return Calibration(
        n=len(labels),
        error_rms_mev_per_atom=float(np.sqrt(np.mean(errors**2))),
        uncertainty_rms_mev_per_atom=float(np.sqrt(np.mean(deviations**2))),
        rank_correlation=float(spearmanr(deviations, errors).statistic),
        within_two=float(np.mean(errors <= 2 * deviations)),
    )


def force_rms_mev_per_ang(potential: Potential, labels: Sequence[Label]) -> float:
    """Return the root mean square error of the force components on labels, meV/Å."""
    errors = []
    for start in range(0, len(labels), CRYSTALS_PER_BATCH):
        some = labels[start : start + CRYSTALS_PER_BATCH]
        found = potential.compute(Batch.of([label.crystal for label in some])).forces_ev_per_ang
        errors.append(found - np.concatenate([np.asarray(label.forces_ev_per_ang) for label in some]))
    return 1e3 * float(np.sqrt(np.mean(np.square(np.concatenate(errors)))))

"""A committee of models: who learns from what, and how far they disagree."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kappaforge.crystal import Crystal
from kappaforge.label.base import Label
from kappaforge.potentials.base import Batch, Potential

CRYSTALS_PER_BATCH = 64


@dataclass(frozen=True)
class Uncertainty:
    """How far the members disagree on each crystal.

    ==========================  ==============  ========================================================================
    field                       shape           content
    ==========================  ==============  ========================================================================
    energy_ev_per_atom          (n_crystals,)   mean of the members' energies
    energy_std_mev_per_atom     (n_crystals,)   their standard deviation: the paper's uncertainty of a structure
    force_std_mev_per_ang       (n_crystals,)   root mean square, over atoms and axes, of the deviations of the forces
    ==========================  ==============  ========================================================================

    Infinite where a member has no finite answer: nothing is known of such a crystal.
    """

    energy_ev_per_atom: np.ndarray
    energy_std_mev_per_atom: np.ndarray
    force_std_mev_per_ang: np.ndarray


def uncertainty(members: Sequence[Potential], crystals: Sequence[Crystal]) -> Uncertainty:
    """Return the committee's uncertainty of each crystal (doi 10.1038/s41524-025-01592-8, Methods)."""
    energies, force_deviations = [], []
    for start in range(0, len(crystals), CRYSTALS_PER_BATCH):
        batch = Batch.of(crystals[start : start + CRYSTALS_PER_BATCH])
        predictions = [member.compute(batch) for member in members]
        energies.append(np.array([prediction.energies_ev for prediction in predictions]) / batch.counts)
        variances = np.var([prediction.forces_ev_per_ang for prediction in predictions], axis=0)
        force_deviations += [np.sqrt(variances[rows].mean()) for rows in batch.slices]
    per_atom = np.concatenate(energies, axis=1) if energies else np.zeros((len(members), 0))
    deviations = per_atom.std(axis=0)
    return Uncertainty(
        energy_ev_per_atom=per_atom.mean(axis=0),
        energy_std_mev_per_atom=np.where(np.isfinite(deviations), 1e3 * deviations, np.inf),
        force_std_mev_per_ang=np.nan_to_num(1e3 * np.array(force_deviations), nan=np.inf),
    )


def shares(labels: Sequence[Label], member: int, fraction: float, seed: int) -> tuple[list[Label], list[Label]]:
    """Return the labels that a member learns from, and the others.

    A label's side depends on its crystal, the member and the seed alone, so that it stays the same as labels come in.
    At least one label is on the learning side.
    """
    ranks = [_rank(label, member, seed) for label in labels]
    limit = max(fraction, min(ranks, default=0.0))
    sides: tuple[list[Label], list[Label]] = ([], [])
    for label, rank in zip(labels, ranks, strict=True):
        sides[rank > limit].append(label)
    return sides


def _rank(label: Label, member: int, seed: int) -> float:
    """A number in [0, 1) that looks random."""
    return int(hashlib.sha256(f"{seed} {member} {label.crystal.digest}".encode()).hexdigest()[:13], 16) / 16**13

"""Training crystals shaken: the control that any generator must beat to have learned more than its data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.generate.base import Proposal, proposal_id

DISPLACEMENT_ANG = 0.3
STRAIN = 0.05

NAME = "perturbed"


def parents_of(n_data: int, n: int, *, first: int = 0, seed: int = 0) -> list[int]:
    """Return which training crystal each of the proposals number `first` to `first + n - 1` is made from."""
    if n_data < 1:
        raise InputError("perturbed training crystals need at least one training crystal")
    return [int(np.random.default_rng([seed, index]).integers(n_data)) for index in range(first, first + n)]


def perturb(
    parents: Sequence[Crystal],
    *,
    first: int = 0,
    seed: int = 0,
    displacement_ang: float = DISPLACEMENT_ANG,
    strain: float = STRAIN,
) -> list[Proposal]:
    """Return the proposals from number `first` on, one for each parent, each displaced and strained at random.

    Parameters
    ----------
    parents
        As `parents_of` says.
    first, seed
        Decide the displacements.
    displacement_ang
        Standard deviation of each coordinate, Å.
    strain
        Standard deviation of each component of the symmetric strain.
    """
    proposals = []
    for index, parent in enumerate(parents, start=first):
        rng, name = np.random.default_rng([seed, index, 1]), proposal_id(index)
        change = rng.normal(scale=strain, size=(3, 3))
        deformation = np.eye(3) + (change + change.T) / 2
        positions = parent.positions @ deformation + rng.normal(scale=displacement_ang, size=parent.positions.shape)
        try:
            crystal = Crystal(parent.cell @ deformation, positions, parent.numbers, id=name, source=NAME)
        except InputError as error:  # a cell strained to nothing
            proposals.append(Proposal(name, "failed", reason=str(error)))
        else:
            proposals.append(Proposal(name, "ok", crystal))
    return proposals

"""What is kept on the way from a random start to a crystal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from kappaforge.generate.pattern import Pattern
from kappaforge.generate.solvers import Predictor, Rest, State


def unconstrained(predict: Predictor) -> Predictor:
    """Leave everything free."""
    return predict


class SpaceGroups:
    """Keeps the space group of each crystal of a batch: called with a predictor, it returns one that obeys.

    The parts of displacements and strains that break the symmetry are taken out. A predictor that turns with the
    crystal has none but for round-off, which grows along the way.

    Parameters
    ----------
    patterns
        Of the crystals, with one number of atoms.
    """

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        most = max(len(pattern.rotations) for pattern in patterns)
        shape = (len(patterns), most)
        rotations = np.zeros((*shape, 3, 3))
        images = np.zeros((*shape, len(patterns[0])), dtype=np.int64)
        shares = np.zeros(shape)
        for place, pattern in enumerate(patterns):
            n = len(pattern.rotations)
            rotations[place, :n], images[place, :n] = pattern.rotations, pattern.images
            rotations[place, n:] = np.eye(3)
            shares[place, :n] = 1 / n
        self.rotations = torch.from_numpy(rotations).float()
        self.inverse = torch.from_numpy(np.linalg.inv(rotations)).float()
        self.images = torch.from_numpy(images)
        self.shares = torch.from_numpy(shares).float()

    def __call__(self, predict: Predictor) -> Predictor:
        """Return the predictor, constrained."""

        def constrained(state: State, time: float) -> Rest:
            return self.project(state, predict(state, time))

        return constrained

    def project(self, state: State, rest: Rest) -> Rest:
        """Take out what breaks the symmetry."""
        fractional = torch.linalg.solve(state.cells, rest.displacements_ang, left=False)
        b, g, n = self.images.shape
        moved = torch.gather(
            fractional[:, None].expand(b, g, n, 3), 2, self.images[..., None].expand(b, g, n, 3)
        )  # that of the atom which the operation makes of each
        back = moved @ self.inverse.transpose(-1, -2) * self.shares[:, :, None, None]
        turns = torch.linalg.inv(state.cells)[:, None] @ self.rotations.transpose(-1, -2) @ state.cells[:, None]
        strains = turns.transpose(-1, -2) @ rest.strains[:, None] @ turns * self.shares[:, :, None, None]
        strain = strains.sum(dim=1)
        return Rest(back.sum(dim=1) @ state.cells, (strain + strain.transpose(-1, -2)) / 2)


def exact(
    pattern: Pattern, start: np.ndarray, fractional: np.ndarray, cell: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return fractional positions and cell that obey the group to round-off.

    Parameters
    ----------
    pattern
        The group and the atoms.
    start
        Fractional positions, shape (n_atoms, 3), that obey it exactly.
    fractional
        Those after the way, not wrapped.
    cell
        The cell after the way, rows in Å.
    """
    way = (fractional - start)[pattern.images]
    inverse = np.linalg.inv(pattern.rotations)
    mean = np.einsum("gij,gnj->ni", inverse, way) / len(inverse)
    metric = np.einsum("gki,kl,glj->ij", pattern.rotations, cell @ cell.T, pattern.rotations) / len(inverse)
    return start + mean, np.linalg.cholesky(metric)

"""Which of several drafts will relax to the lowest energy: a line through what the flow's network sees in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

PENALTIES = np.logspace(-1, 4, 12)
"""Of which cross-validation chooses one."""

BOUNDS = 0.05, 0.8
"""Quantiles of the energies that those beyond count as: how bad a hopeless draft is does not matter, and what lies far
below all others is a false minimum of the potential."""


WINDOW_EV_PER_ATOM = 0.55
"""Above the lower bound: what is expected in it is worth relaxing. A little more than what counts as low (0.5)."""


@dataclass(frozen=True, eq=False)
class Judge:
    """Expects the energy that a draft relaxes to; ``features @ weights + constant``.

    Parameters
    ----------
    weights
        Shape (n_features,), eV/atom per unit of each feature of `FlowNetwork.described`.
    constant
        Shape (1,), eV/atom.
    limit
        Drafts expected above this are not worth relaxing, shape (1,), eV/atom.
    """

    weights: np.ndarray
    constant: np.ndarray
    limit: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray, energies_ev_per_atom: np.ndarray) -> Judge:
        """Fit to drafts and the energies they relaxed to, by ridge regression.

        Parameters
        ----------
        features
            Of the drafts, shape (n_drafts, n_features).
        energies_ev_per_atom
            After relaxation, in eV/atom, shape (n_drafts,); of several compositions, above the lowest of each.
        """
        lowest, highest = np.quantile(energies_ev_per_atom, BOUNDS)
        scaler = StandardScaler().fit(features)
        line = RidgeCV(PENALTIES).fit(scaler.transform(features), np.clip(energies_ev_per_atom, lowest, highest))
        weights = line.coef_ / scaler.scale_
        constant = line.intercept_ - scaler.mean_ @ weights
        return cls(weights, np.array([constant]), np.array([lowest + WINDOW_EV_PER_ATOM]))

    def energies_ev_per_atom(self, features: np.ndarray) -> np.ndarray:
        """Return the energies expected of drafts with such features, shape (n_drafts,)."""
        expected: np.ndarray = features @ self.weights + self.constant
        return expected

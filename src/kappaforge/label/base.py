"""What every labeler offers: a crystal in; energy, forces and, where it can be trusted, stress out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from kappaforge.crystal import Crystal


@dataclass(frozen=True)
class Label:
    """The electronic structure's word on one crystal.

    Parameters
    ----------
    id
        The crystal's.
    crystal
        As it was labelled.
    engine
        The labeler's fingerprint. Labels of different engines have different zeros and must never be mixed.
    status
        ``ok``, ``unconverged`` or ``failed``.
    reason
        One line; empty when ok.
    energy_ev
        Energy of the cell extrapolated to zero smearing, eV; None unless ok.
    forces_ev_per_ang
        Shape (n_atoms, 3), eV/Å; None unless ok.
    stress_ev_per_ang3
        dE/dε / V, shape (3, 3), positive where the cell would shrink; None where the engine's cannot be trusted.
    seconds
        Time it took.
    """

    id: str
    crystal: Crystal
    engine: str
    status: str = "ok"
    reason: str = ""
    energy_ev: float | None = None
    forces_ev_per_ang: np.ndarray | None = None
    stress_ev_per_ang3: np.ndarray | None = None
    seconds: float = 0.0


@runtime_checkable
class Labeler(Protocol):
    """An electronic-structure engine with all its settings fixed; `tests/test_labelers.py` is its contract."""

    @property
    def name(self) -> str:
        """The registry's name, which also loads it again."""

    @property
    def fingerprint(self) -> str:
        """Everything that decides its numbers, in words: engine, version, functional, cutoff, k points, potentials."""

    def label(self, crystal: Crystal) -> Label:
        """Label one crystal; a calculation that fails or does not converge is a label that says so."""


def one_line(error: Exception) -> str:
    """Return kind and first line of an exception, for a label's reason."""
    return f"{type(error).__name__}: {error}".splitlines()[0]

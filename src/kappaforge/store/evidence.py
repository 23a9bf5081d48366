"""What a run has to show beside its rows: phonons of the best conductors, parity of the potential, losses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kappaforge.errors import InputError
from kappaforge.store.distillation import Distillation
from kappaforge.store.run_folder import RunFolder

EVIDENCE = "evidence"
"""Under this name the run folder keeps it."""


@dataclass(frozen=True, eq=False, kw_only=True)
class BestPhonons:
    """Phonons of one of the best conductors; what there is none of is None.

    Parameters
    ----------
    id
        The crystal's.
    potential
        Name of the potential.
    reason
        Why something is missing; empty where nothing is.
    distances_per_ang
        Length of the path up to each point, shape (n,), Å⁻¹ without 2π.
    frequencies_thz
        At these points, shape (n, n_bands); imaginary ones negative.
    compared_to, compared_thz
        Another potential, and its frequencies there.
    segments, labels, label_rows
        Of the path, as in `kappaforge.transport.dispersion.ZonePath`.
    temperature_k
        Of what follows.
    mean_free_paths_ang
        Of the modes of the irreducible points, shape (n_modes,), Å.
    mode_kappas_w_per_mk
        What each of them, with all equivalent to it, adds to κ(RTA) along its principal axes, the best first, shape
        (n_modes, 3), W/(m·K).
    """

    id: str
    potential: str
    reason: str = ""
    distances_per_ang: np.ndarray | None = None
    frequencies_thz: np.ndarray | None = None
    compared_to: str = ""
    compared_thz: np.ndarray | None = None
    segments: np.ndarray | None = None
    labels: tuple[str, ...] = ()
    label_rows: np.ndarray | None = None
    temperature_k: float | None = None
    mean_free_paths_ang: np.ndarray | None = None
    mode_kappas_w_per_mk: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Parity:
    """What a potential says beside labels.

    Parameters
    ----------
    potential
        Its name.
    labels
        Which they are, in words.
    energies_ev_per_atom
        Of the labels, and of the potential, shape (2, n_labels).
    forces_ev_per_ang
        All components of the forces, in the same way, shape (2, n_components).
    """

    potential: str
    labels: str
    energies_ev_per_atom: np.ndarray
    forces_ev_per_ang: np.ndarray


@dataclass(frozen=True, eq=False)
class Evidence:
    """All of it, as far as the run has come.

    Parameters
    ----------
    best
        The best conductors, the best first.
    parity
        The potential that κ was computed with, beside one or two sets of labels.
    losses, held_out_losses
        Losses of the generator's training by name, shape (n_epochs,).
    """

    best: tuple[BestPhonons, ...] = ()
    parity: tuple[Parity, ...] = ()
    losses: dict[str, np.ndarray] = field(default_factory=dict)
    held_out_losses: dict[str, np.ndarray] = field(default_factory=dict)


def read_evidence(path: Path) -> tuple[Evidence, Distillation | None]:
    """Return what a run folder has to show beside its rows, as far as it has come.

    Raises
    ------
    InputError
        For a folder that is no run folder, or a file in it that is damaged.
    """
    with RunFolder.open(path) as folder:
        try:
            evidence: Evidence = folder.recall(EVIDENCE)
        except KeyError:
            evidence = Evidence()
    try:
        return evidence, Distillation.read(path)
    except InputError:
        return evidence, None

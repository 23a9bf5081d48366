"""How a potential asks for labels and learns from them."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from kappaforge.errors import InputError


@dataclass(frozen=True)
class LearnSettings:
    """Query by committee; the defaults are the paper's (doi 10.1038/s41524-025-01592-8, Methods) where it names them.

    Parameters
    ----------
    labels
        File of labels to begin with, as ``kappaforge label`` writes it. Empty: those beside the model to `start` from,
        or else `initial` structures are labelled first.
    test
        File of labels that no member learns from. ``kappaforge learn`` compares the uncertainty with the true error on
        them; of the model to `start` from and the one trained on all labels the better one on them is taken.
    initial
        Structures labelled first where there are no labels: farthest points on SOAP, each rattled once.
    start
        Model to go on from: a registered Allegro model or the path of a ``.safetensors`` file, with the labels and the
        committee that lie beside it. Empty: members begin with random weights.
    preset
        Shape of members that begin with random weights.
    members
        Models in the committee.
    subset_fraction
        Share of the labels that each member learns from; the others tell it when to stop.
    threshold_mev_per_atom
        Uncertainty, in meV/atom, below which a structure is known well enough.
    batch
        Structures added in each round, the most uncertain first (paper: 1).
    rattles
        Copies of an added structure that are labelled, each with random displacements.
    rattle_ang
        Standard deviation of the displacements along each axis, Å.
    max_labels
        Labels a campaign may ask for, the initial ones included.
    round_epochs
        Epochs for which the members go on learning in each round after the first.
    """

    labels: str = ""
    test: str = ""
    initial: int = 1000
    start: str = ""
    preset: str = "fast"
    members: int = 8
    subset_fraction: float = 0.9
    threshold_mev_per_atom: float = 15.0
    batch: int = 1
    rattles: int = 8
    rattle_ang: float = 0.05
    max_labels: int = 2000
    round_epochs: int = 20

    def __post_init__(self) -> None:
        for name, least in (
            *(("initial", 1), ("members", 2), ("batch", 1), ("rattles", 1), ("max_labels", 0), ("round_epochs", 1)),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InputError(f"[learn] {name}: expected a whole number of at least {least}, got {value!r}")
        for name in ("threshold_mev_per_atom", "rattle_ang"):
            value = getattr(self, name)
            if not (isfinite(value) and value > 0):
                raise InputError(f"[learn] {name}: expected a positive number, got {value!r}")
        if not 0 < self.subset_fraction < 1:
            raise InputError(
                f"[learn] subset_fraction: expected above 0 and below 1, got {self.subset_fraction!r}; "
                "members that learn from the same labels agree where they should not"
            )

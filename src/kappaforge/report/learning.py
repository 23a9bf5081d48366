"""What query by committee has to show: how the uncertainty of each crystal changed from round to round."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from kappaforge.report.figures import uncertainty_evolution
from kappaforge.store.published import LearningRound


def uncertainty_figure(rounds: Sequence[LearningRound], limit_mev_per_atom: float) -> Figure:
    """Draw the uncertainty of every crystal over the rounds."""
    names = list(dict.fromkeys(name for turn in rounds for name in turn.ids))
    values = np.full((len(rounds), len(names)), np.nan)
    for row, turn in zip(values, rounds, strict=True):
        row[[names.index(name) for name in turn.ids]] = turn.energy_std_mev_per_atom
    return uncertainty_evolution([turn.n_labels for turn in rounds], values, limit_mev_per_atom)


def uncertainty_csv(rounds: Sequence[LearningRound]) -> str:
    """Return one line for every round and crystal, with the labels known then and whether the crystal was added."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["round", "n_labels", "id", "energy_std_mev_per_atom", "added"])
    for turn in rounds:
        for name, deviation in zip(turn.ids, turn.energy_std_mev_per_atom, strict=True):
            table.writerow([turn.number, turn.n_labels, name, f"{deviation:.4g}", int(name in turn.added)])
    return text.getvalue()

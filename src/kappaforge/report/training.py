"""Figures of trainings: what a potential says beside its labels, and how a generator's losses fell."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kappaforge.report.canvas import empty, new_axes, new_row, styled

LOG_BEYOND = 30
"""Ratio of the largest to the smallest loss from which on they are drawn on a logarithmic axis."""

_RASTERISE_BEYOND = 2000
_LOOKS = (
    {"marker": "o", "color": "0.6", "s": 14, "linewidths": 0},
    {"marker": "x", "color": "black", "s": 16, "linewidths": 0.9},
)
_LINES = ((0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 3)))


@styled
def parity_figure(
    energies_ev_per_atom: Mapping[str, tuple[np.ndarray, np.ndarray]],
    forces_ev_per_ang: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> Figure:
    """Draw what a potential says over what the labels say: on the diagonal they agree.

    Parameters
    ----------
    energies_ev_per_atom
        By the name of the set of labels: energies of the labels and of the potential, eV/atom, each of shape
        (n_labels,); at most two sets.
    forces_ev_per_ang
        The same of all components of the forces, eV/Å, of any shape.
    """
    if not any(len(np.ravel(truth)) for truth, _ in energies_ev_per_atom.values()):
        return empty("The potential has no labels to be compared with")
    figure, (left, right) = new_row((8.8, 4.4), 2)
    _parity(left, energies_ev_per_atom, "energy", "eV/atom", 1e3, "meV/atom")
    _parity(right, forces_ev_per_ang, "force component", "eV/Å", 1e3, "meV/Å")
    return figure


def _parity(
    axes: Axes,
    sets: Mapping[str, tuple[np.ndarray, np.ndarray]],
    what: str,
    unit: str,
    factor: float,
    error_unit: str,
) -> None:
    pairs = {name: (np.ravel(truth), np.ravel(found)) for name, (truth, found) in sets.items()}
    everything = np.concatenate([part for pair in pairs.values() for part in pair])
    low, high = float(everything.min()), float(everything.max())
    margin = 0.04 * (high - low) or 0.5
    limits = (low - margin, high + margin)
    for (name, (truth, found)), look in zip(pairs.items(), _LOOKS, strict=False):
        off = found - truth
        mae, rmse = factor * np.abs(off).mean(), factor * np.sqrt((off**2).mean())
        label = f"{name} (n = {len(truth)})\nMAE {mae:.3g}, RMSE {rmse:.3g} {error_unit}"
        many = len(truth) > _RASTERISE_BEYOND
        axes.scatter(truth, found, rasterized=many, zorder=3, label=label, **look)  # type: ignore[arg-type]
    axes.plot(limits, limits, color="black", linewidth=0.8, zorder=2)
    axes.set(
        xlim=limits, ylim=limits, aspect="equal", xlabel=f"{what} of the labels ({unit})",
        ylabel=f"{what} of the potential ({unit})",
    )  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=6))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))


@styled
def losses_figure(training: Mapping[str, np.ndarray], validation: Mapping[str, np.ndarray]) -> Figure:
    """Draw the losses of a generator's training.

    Parameters
    ----------
    training, validation
        Losses by name, shape (n_epochs,), without unit; ``loss`` is what was minimised, the others are its parts.
        `validation` is empty where no crystals were held out.
    """
    if not len(training.get("loss", ())):
        return empty("The generator's file does not tell how it was trained")
    figure, axes = new_axes((7.2, 4.2))
    epochs = np.arange(1, len(training["loss"]) + 1)
    mark = "o" if len(epochs) == 1 else ""
    axes.plot(epochs, training["loss"], "k-", marker=mark, linewidth=1.5, label="loss")
    if "loss" in validation:
        axes.plot(epochs, validation["loss"], "-", marker=mark, color="0.55", linewidth=1.5, label="loss, held out")
    parts = {name: values for name, values in training.items() if name != "loss" and np.any(np.asarray(values) > 0)}
    for (name, values), line in zip(parts.items(), _LINES, strict=False):
        axes.plot(epochs, values, linestyle=line, marker=mark, color="0.35", linewidth=1.0, label=name)
    axes.set(xlabel="epoch", ylabel="loss (no unit)", xlim=(0.5, len(epochs) + 0.5))
    shown = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
    if shown.min() > 0 and shown.max() > LOG_BEYOND * shown.min():
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    return figure

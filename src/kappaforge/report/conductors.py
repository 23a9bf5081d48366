"""Figures of the conductors: κ of each candidate that was chosen, and how stable they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kappaforge.report.canvas import empty, new_axes, styled
from kappaforge.report.figures import KAPPA_LABEL, MARKERS, known_roles, mark_ultrahigh, round_up, scatter_by_role
from kappaforge.report.labels import name_points

HULL_LIMITS_EV_PER_ATOM = (0.1, 0.25, 0.5, 0.933)
"""The paper's: of what is often, sometimes and hardly ever made (doi 10.1038/s41524-025-01592-8, Validation)."""


@styled
def kappa_over_candidates(kappa_w_per_mk: np.ndarray, roles: Sequence[str], names: Sequence[str]) -> Figure:
    """Draw κ of the candidates: farthest points and known crystals, and neighbours of the good ones (paper, Fig. 3d).

    Parameters
    ----------
    kappa_w_per_mk
        Largest eigenvalue of κ, W/(m·K), shape (n,); NaN where unknown. Within a role the order stays.
    roles, names
        As in `kappaforge.report.figures.crystal_map`.
    """
    kappa, role_of = np.asarray(kappa_w_per_mk, dtype=float), known_roles(roles)
    known = np.flatnonzero(np.isfinite(kappa))
    if not len(known):
        return empty("κ of no crystal is known yet")
    order = known[np.argsort([list(MARKERS).index(role) for role in role_of[known]], kind="stable")]
    xy = np.column_stack([np.arange(1, len(order) + 1), kappa[order]])
    shown = np.ones(len(order), dtype=bool)
    figure, axes = new_axes((7.2, 4.0))
    scatter_by_role(axes, xy, shown, role_of[order])
    axes.set(xlabel="number of the crystal (benchmarks, then neighbours)", ylabel=KAPPA_LABEL)
    axes.set_xlim(0, len(order) + 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(0, round_up(1.08 * float(kappa[known].max())))
    mark_ultrahigh(axes, vertical=False)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    name_points(axes, xy, [names[index] for index in order], marked=shown)
    return figure


@styled
def kappa_over_hull(
    above_hull_ev_per_atom: np.ndarray, kappa_w_per_mk: np.ndarray, roles: Sequence[str], names: Sequence[str]
) -> Figure:
    """Draw κ over the energy above the hull: what conducts best, and may be made.

    Parameters
    ----------
    above_hull_ev_per_atom
        Shape (n,), eV/atom; NaN where unknown.
    kappa_w_per_mk
        Largest eigenvalue of κ, W/(m·K), shape (n,); NaN where unknown.
    roles, names
        As in `kappaforge.report.figures.crystal_map`.
    """
    xy = np.column_stack([np.asarray(above_hull_ev_per_atom, dtype=float), np.asarray(kappa_w_per_mk, dtype=float)])
    shown = np.isfinite(xy).all(axis=1)
    if not shown.any():
        return empty("No crystal has both κ and an energy above the hull yet")
    figure, axes = new_axes((7.2, 4.4))
    scatter_by_role(axes, xy, shown, known_roles(roles))
    low, high = min(0.0, float(xy[shown, 0].min())), max(0.05, float(xy[shown, 0].max()))
    axes.set_xlim(low - 0.04 * (high - low), high + 0.06 * (high - low))
    axes.set_ylim(0, round_up(1.08 * float(xy[shown, 1].max())))
    for limit in HULL_LIMITS_EV_PER_ATOM:
        if limit < axes.get_xlim()[1]:
            axes.axvline(limit, color="0.75", linewidth=0.8, linestyle=":", zorder=1)
    mark_ultrahigh(axes, vertical=False)
    axes.set(xlabel="energy above the hull (eV/atom)", ylabel=KAPPA_LABEL)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    name_points(axes, xy, names, marked=shown)
    return figure

"""Which figures a run has, each with its title and caption."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from kappaforge.files import file_stem
from kappaforge.report.conductors import kappa_over_candidates, kappa_over_hull
from kappaforge.report.distilled import deviations_figure, growth_figure
from kappaforge.report.figures import crystal_map, kappa_histogram, kappa_over_density, kappa_ranking
from kappaforge.report.learning import uncertainty_figure
from kappaforge.report.phonons import cumulative_kappa_figure, dispersion_figure
from kappaforge.report.structures import structures_figure
from kappaforge.report.tables import group_symbol, kappa_eigenvalues, kappa_text
from kappaforge.report.training import losses_figure, parity_figure
from kappaforge.store.distillation import Distillation
from kappaforge.store.evidence import BestPhonons, Evidence
from kappaforge.store.published import Published
from kappaforge.store.row import Row, ranked

DRAWN = 6
"""Crystals whose structures are drawn."""

SAME_KAPPA = 0.01
"""Eigenvalues of κ that differ by less, relatively, are one: symmetry makes them equal."""


class Drawn(NamedTuple):
    """A figure, before it is saved."""

    name: str
    figure: Figure
    title: str
    caption: str


def pictures(published: Published, evidence: Evidence, distillation: Distillation | None) -> Iterator[Drawn]:
    """Draw all figures of a run, one after the other, in the order of the page.

    Those of what the campaign will come to are there from the beginning, and say so while they are empty; those of
    what it does not do are left out.
    """
    yield from _of_kappa(published)
    yield from _of_best(published, evidence)
    yield from _of_generation(evidence, distillation)
    yield from _of_learning(published, evidence)


def _of_kappa(published: Published) -> Iterator[Drawn]:
    rows = published.rows
    kappa = _column(rows, "kappa_rta_max_w_per_mk")
    roles = [row.role for row in rows]
    names = _names(rows)
    eigenvalues = np.array([kappa_eigenvalues(row) or (np.nan,) * 3 for row in rows]).reshape(-1, 3)
    grouped = {role: kappa[[row.role == role for row in rows]] for role in ("benchmark", "neighbour", "")}
    yield Drawn(
        "map",
        crystal_map(np.column_stack([_column(rows, "map_x"), _column(rows, "map_y")]), kappa, roles, names),
        "Map of the crystals",
        "t-SNE of the averaged SOAP descriptors: near points are alike. Known crystals bear their names.",
    )
    yield Drawn(
        "kappa_over_candidates",
        kappa_over_candidates(kappa, roles, names),
        "κ of the candidates",
        "Benchmarks are known crystals and farthest points of the map, neighbours are close to the good ones of them.",
    )
    yield Drawn(
        "kappa_histogram",
        kappa_histogram(grouped),
        "Distribution of κ",
        "Benchmarks spread over the map; neighbours were chosen close to the best of them. "
        "Dashed: 800 W/(m·K), the limit of ultrahigh.",
    )
    yield Drawn(
        "kappa_ranking",
        kappa_ranking([row.known_as or row.id for row in rows], eigenvalues),
        "Best conductors",
        "The three eigenvalues of κ: the longer the line, the more the direction matters.",
    )
    yield Drawn(
        "kappa_over_density",
        kappa_over_density(_column(rows, "density_g_per_cm3"), kappa, roles, names),
        "κ over density",
        "Largest eigenvalue of κ against the mass density.",
    )
    yield Drawn(
        "kappa_over_hull",
        kappa_over_hull(_column(rows, "energy_above_hull_ev_per_atom"), kappa, roles, names),
        "κ over the energy above the hull",
        "What conducts best, and how far it is from what is stable. Dotted: 0.1, 0.25, 0.5 and 0.933 eV/atom. "
        "Energies are those of the potential, without vibrations.",
    )


def _of_best(published: Published, evidence: Evidence) -> Iterator[Drawn]:
    crystal_of = {crystal.id: crystal for crystal in published.crystals}
    best = [row for row in ranked(published.rows) if row.kappa_rta_max_w_per_mk is not None][:DRAWN]
    yield Drawn(
        "structures",
        structures_figure([crystal_of[row.id] for row in best], [_heading(row) for row in best]),
        "Structures of the best conductors",
        "Seen along the shortest vector of the conventional cell (dashed), a little from the side and from above; "
        "the farther, the paler.",
    )
    row_of = {row.id: row for row in published.rows}
    for place, found in enumerate(evidence.best, start=1):
        name = _label(row_of[found.id])
        stem = f"{place}-{file_stem(found.id)}"
        if found.frequencies_thz is not None:
            yield Drawn(f"dispersion-{stem}", _dispersion(found), f"Phonon dispersion of {name}", _compared(found))
        if found.mean_free_paths_ang is not None and found.mode_kappas_w_per_mk is not None:
            yield Drawn(
                f"cumulative_kappa-{stem}",
                cumulative_kappa_figure(found.mean_free_paths_ang, _by_direction(found.mode_kappas_w_per_mk)),
                f"What carries the heat in {name}",
                f"κ(RTA) of all phonons with mean free paths up to the one given, at {found.temperature_k:g} K along "
                "the principal axes, on the finest mesh: without the extrapolation of the table.",
            )


def _of_generation(evidence: Evidence, distillation: Distillation | None) -> Iterator[Drawn]:
    moved = [np.empty((0, 3))] * 3
    counts = [np.empty(0)] * 2
    if distillation is not None:
        moved = [distillation.lengths, distillation.angles, distillation.fractional]
        counts = [distillation.n_unique, distillation.n_novel]
    yield Drawn(
        "deviations",
        deviations_figure(*moved),
        "How far relaxation moved the generated crystals",
        "Relative changes of lattice lengths and angles and changes of fractional coordinates in the reduced cell. "
        "Bars hold the middle half of the values, white points are medians.",
    )
    yield Drawn(
        "growth",
        growth_figure(*counts),
        "Unique and novel crystals",
        "Among the first generated crystals, in numbers and as shares. Novel: not in the data set.",
    )
    if evidence.losses:
        yield Drawn(
            "losses",
            losses_figure(evidence.losses, evidence.held_out_losses),
            "Training of the generator",
            "Its losses over the epochs, as its file tells them.",
        )


def _of_learning(published: Published, evidence: Evidence) -> Iterator[Drawn]:
    if published.rounds:
        yield Drawn(
            "uncertainty",
            uncertainty_figure(published.rounds, published.settings["learn"]["threshold_mev_per_atom"]),
            "Query by committee",
            "Standard deviation of the committee's energies. After each round the most uncertain crystals were "
            "labelled.",
        )
    if evidence.parity:
        yield Drawn(
            "parity",
            parity_figure(
                {one.labels: tuple(one.energies_ev_per_atom) for one in evidence.parity},
                {one.labels: tuple(one.forces_ev_per_ang) for one in evidence.parity},
            ),
            f"The potential {evidence.parity[0].potential} beside its labels",
            "Energies and forces; on the line they agree.",
        )


def _dispersion(found: BestPhonons) -> Figure:
    assert found.distances_per_ang is not None
    assert found.frequencies_thz is not None
    assert found.segments is not None
    assert found.label_rows is not None
    curves = {f"potential {found.potential}": found.frequencies_thz}
    if found.compared_thz is not None:
        curves[f"potential {found.compared_to}"] = found.compared_thz
    return dispersion_figure(found.distances_per_ang, curves, found.segments, found.labels, found.label_rows)


def _compared(found: BestPhonons) -> str:
    if found.frequencies_thz is None or found.compared_thz is None:
        return "Along the standard path through the Brillouin zone."
    rms_thz = float(np.sqrt(np.mean((found.compared_thz - found.frequencies_thz) ** 2)))
    return f"Along the standard path; the two potentials differ by {rms_thz:.2f} THz (root mean square)."


def _by_direction(shares_w_per_mk: np.ndarray) -> dict[str, np.ndarray]:
    """Name the principal axes; those that symmetry makes equal are drawn once."""
    groups: list[list[int]] = []
    totals = shares_w_per_mk.sum(axis=0)
    for axis in range(3):
        if groups and abs(totals[groups[-1][0]] - totals[axis]) <= SAME_KAPPA * totals[0]:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    if len(groups) == 1:
        return {"κ": shares_w_per_mk.mean(axis=1)}
    words = ("κ max", "κ mid", "κ min")
    return {" = ".join(words[axis] for axis in group): shares_w_per_mk[:, group].mean(axis=1) for group in groups}


def _names(rows: Sequence[Row]) -> list[str]:
    """Names for the points of known crystals, each once: of the crystal itself rather than of one that is the same."""
    own = {row.id for row in rows if row.source.startswith("known")}
    names = []
    for row in rows:
        name = row.id if row.id in own else row.known_as if row.known_as not in own else ""
        names.append(name)
        own.add(name)
    return names


def _label(row: Row) -> str:
    return f"{row.id} ({row.known_as})" if row.known_as and row.known_as != row.id else row.id


def _heading(row: Row) -> str:
    group = f"{group_symbol(row.space_group_number)}, " if row.space_group_number else ""
    return f"{_label(row)}\n{group}κ max {kappa_text(row.kappa_rta_max_w_per_mk)} W/(m·K)"


def _column(rows: Sequence[Row], name: str) -> np.ndarray:
    """One column of the rows as floats, NaN where nothing is known."""
    return np.array([np.nan if getattr(row, name) is None else getattr(row, name) for row in rows], dtype=float)

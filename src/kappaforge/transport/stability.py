"""Which frequencies are imaginary, and whether that makes a crystal unstable."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from phonopy import Phonopy
from phonopy.harmonic.dynmat_to_fc import get_commensurate_points

from kappaforge.transport.failure import TransportError
from kappaforge.transport.follow import MOST_CELLS, ImaginaryMode, mode_in_words, one_of_degenerate, small_waves
from kappaforge.transport.record import Clock, KappaRecord, Mesh
from kappaforge.transport.settings import KappaSettings

SAME_FREQUENCY_THZ = 1e-4
"""Modes that symmetry makes degenerate differ by round-off only."""


def spectrum(phonopy: Phonopy, mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies at the q points that fit into the supercell and on a mesh that keeps the symmetry.

    Returns
    -------
    q_points, frequencies_thz
        In fractional coordinates, (n, 3), Γ first; shape (n, n_bands), imaginary ones negative.
    """
    exact = get_commensurate_points(phonopy.supercell_matrix)
    sampled = phonopy.run_mesh(list(mesh), is_mesh_symmetry=True, is_gamma_center=True)
    solved = phonopy.run_qpoints(np.concatenate([np.zeros((1, 3)), exact])).frequencies
    away = [np.abs(points).max(axis=1) > 1e-8 for points in (exact, sampled.qpoints)]
    q_points = [np.zeros((1, 3)), exact[away[0]], sampled.qpoints[away[1]]]
    frequencies = [solved[:1], solved[1:][away[0]], sampled.frequencies[away[1]]]
    return np.concatenate(q_points), np.concatenate(frequencies)


def stability_steps(
    record: KappaRecord, phonopy: Phonopy, settings: KappaSettings, clock: Clock
) -> Iterator[KappaRecord]:
    """Yield the record with what phonons say, before and after stability is judged.

    Raises
    ------
    TransportError
        Of an unstable crystal, after the record with the mode to follow.
    """
    with clock.part("stability"):
        assert record.mesh is not None, "the meshes come first"
        q_points, frequencies = spectrum(phonopy, record.mesh)
    record = replace(record, min_frequency_thz=float(frequencies.min()), max_frequency_thz=float(frequencies.max()))
    yield record
    if reason := imaginary_mode(q_points, frequencies, settings):
        with clock.part("stability"):
            record = replace(record, imaginary=followable_mode(phonopy, settings))
        yield record
        raise TransportError("unstable", reason)


def imaginary_mode(q_points: np.ndarray, frequencies_thz: np.ndarray, settings: KappaSettings) -> str:
    """Return the most imaginary mode in words; empty where all are real within the tolerances.

    Parameters
    ----------
    q_points
        Shape (n, 3), fractional; the first is Γ.
    frequencies_thz
        Shape (n, n_bands); imaginary ones negative. The three smallest at Γ are the acoustic ones.
    """
    allowed = np.full(frequencies_thz.shape, settings.imaginary_tolerance_thz)
    allowed[0, np.argsort(np.abs(frequencies_thz[0]), kind="stable")[:3]] = settings.acoustic_tolerance_thz
    imaginary = np.where(frequencies_thz < -allowed, frequencies_thz, 0.0)
    if not imaginary.any():
        return ""
    point, band = np.unravel_index(np.argmin(imaginary), imaginary.shape)
    kind = "acoustic " if point == 0 and allowed[point, band] == settings.acoustic_tolerance_thz else ""
    return (
        f"imaginary {kind}{mode_in_words(int(band), imaginary[point, band], q_points[point])}; "
        f"{np.count_nonzero(imaginary)} of {imaginary.size} modes are imaginary"
    )


def followable_mode(phonopy: Phonopy, settings: KappaSettings) -> ImaginaryMode | None:
    """Return the most imaginary mode that fits into a supercell small enough; None where all those are real.

    Small enough has up to `MOST_CELLS` primitive cells and `follow_max_atoms` atoms; one cell always is. Of modes that
    are equally imaginary, as those of a star are, the first one in the order of `small_waves` is taken.
    """
    primitive = phonopy.primitive
    numerators, n_cells = small_waves(max(1, min(MOST_CELLS, settings.follow_max_atoms // len(primitive))))
    q_points = numerators / n_cells[:, None]
    solved = phonopy.run_qpoints(q_points, with_eigenvectors=True)
    frequencies, eigenvectors = solved.frequencies.copy(), solved.eigenvectors
    assert eigenvectors is not None
    frequencies[0, np.argsort(np.abs(frequencies[0]), kind="stable")[:3]] = 0.0  # to translate leads nowhere
    lowest = frequencies.min(axis=1)
    if not lowest.min() < -settings.imaginary_tolerance_thz:
        return None
    point = int(np.flatnonzero(lowest < lowest.min() + SAME_FREQUENCY_THZ)[0])
    same = frequencies[point] < lowest[point] + SAME_FREQUENCY_THZ
    q = q_points[point]
    return ImaginaryMode(
        q=q,
        n_cells=int(n_cells[point]),
        band=int(np.argmin(frequencies[point])),
        frequency_thz=float(lowest[point]),
        eigenvector=one_of_degenerate(
            eigenvectors[point][:, same], q, np.asarray(primitive.cell), np.asarray(primitive.scaled_positions)
        ),
    )

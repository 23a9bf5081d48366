"""A closer look at the best conductors: their dispersion, and how far the phonons go that carry the heat."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np

from kappaforge.campaign.candidate import guarded_conductivity
from kappaforge.campaign.phonons import PhononSettings, phonons_of
from kappaforge.crystal import Crystal
from kappaforge.potentials.base import Potential
from kappaforge.relax.settings import RelaxSettings
from kappaforge.screen.settings import ScreenSettings
from kappaforge.store.evidence import BestPhonons
from kappaforge.transport.record import Mesh
from kappaforge.transport.settings import KappaSettings

BEST_VERSION = 1
"""Raise it when the same arguments give another record."""

TENSOR = ((0, 5, 4), (5, 1, 3), (4, 3, 2))
"""Places of a tensor's elements in phono3py's order of six."""


def best_phonons(
    crystal: Crystal,
    potential: Potential,
    compared_to: Potential | None,
    relax_settings: RelaxSettings,
    kappa_settings: KappaSettings,
    symmetry_settings: ScreenSettings,
    mesh: Mesh,
) -> BestPhonons:
    """Compute the dispersion of a crystal, and κ(RTA) mode by mode.

    Parameters
    ----------
    crystal
        At the potential's minimum.
    compared_to
        Another potential, whose dispersion at its own minimum goes beside.
    mesh
        The finest that κ was computed on. The paper's protocol and phono3py's collisions give no modes.
    """
    settings = PhononSettings(kappa_settings.force_constants, stability=kappa_settings)
    found = phonons_of(crystal, potential, relax_settings, settings, symmetry_settings, compared_to=compared_to)
    record = BestPhonons(id=crystal.id, potential=potential.name, reason=found.reason)
    if found.dispersion is not None:
        path = found.dispersion
        record = replace(
            record,
            distances_per_ang=path.distances_per_ang,
            frequencies_thz=path.frequencies_thz,
            segments=path.segments,
            labels=path.labels,
            label_rows=path.label_rows,
        )
    if found.comparison is not None and found.comparison.frequencies_thz is not None:
        record = replace(record, compared_to=found.comparison.potential, compared_thz=found.comparison.frequencies_thz)
    if kappa_settings.method == "paper" or kappa_settings.collisions == "phono3py":
        return record
    alone = replace(kappa_settings, level="rta", mesh=mesh, more_temperatures_k=(), coherence=False)
    with TemporaryDirectory() as folder:
        kappa = guarded_conductivity(crystal, potential, alone, Path(folder))
        files = sorted(Path(folder).glob("*.hdf5"))
        if not files:
            reason = kappa if isinstance(kappa, str) else kappa.reason
            return replace(record, reason="; ".join(filter(None, (record.reason, reason))))
        lengths_ang, shares = _modes(files[0])
    return replace(
        record,
        temperature_k=kappa_settings.temperature_k,
        mean_free_paths_ang=lengths_ang,
        mode_kappas_w_per_mk=shares,
    )


def _modes(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return mean free paths, and the shares of the modes in κ along its principal axes."""
    with h5py.File(file) as stored:
        linewidths_thz = stored["gamma"][0]
        speeds_thz_ang = np.linalg.norm(stored["group_velocity"][:], axis=-1)
        # phono3py divides by the number of points after the sum over modes
        tensors = stored["mode_kappa"][0][..., TENSOR] / np.prod(stored["mesh"][:])
    _, axes = np.linalg.eigh(tensors.sum(axis=(0, 1)))
    shares = np.einsum("qbij,ia,ja->qba", tensors, axes, axes)[..., ::-1].reshape(-1, 3)
    scattered = linewidths_thz > 0
    lifetimes_ps = np.where(scattered, 1 / (4 * np.pi * np.where(scattered, linewidths_thz, 1.0)), np.nan)
    return (speeds_thz_ang * lifetimes_ps).ravel(), shares

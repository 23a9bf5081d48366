"""The steps as tasks: importable functions of plain arguments, which any worker can run.

A potential travels by name, and the worker loads it once; a model learned on the way travels itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kappaforge.campaign.best import best_phonons
from kappaforge.campaign.candidate import CandidateRecord, kappa_of
from kappaforge.campaign.minimum import relax_one
from kappaforge.campaign.naming import CrystalName, names_of
from kappaforge.campaign.phonons import PhononSettings, PhononsRecord, phonons_of
from kappaforge.campaign.trials import Trial, member_settings, member_trial, wider_trial
from kappaforge.crystal import Crystal
from kappaforge.describe.map import tsne_map
from kappaforge.describe.settings import DescribeSettings
from kappaforge.describe.soap import average_soap
from kappaforge.errors import KappaforgeError
from kappaforge.generate import registry as generators
from kappaforge.generate.base import Proposal
from kappaforge.generate.settings import GenerateSettings
from kappaforge.label import registry as labelers
from kappaforge.label.base import Label
from kappaforge.label.settings import LabelSettings
from kappaforge.packed import PackedCrystals
from kappaforge.potentials import registry as potentials
from kappaforge.potentials.base import Batch, Potential
from kappaforge.relax.relaxer import RelaxRecord, relax
from kappaforge.relax.settings import RelaxSettings
from kappaforge.screen.settings import ScreenSettings
from kappaforge.screen.symmetry import SymmetryRecord, symmetry
from kappaforge.screen.unique import group_packed, match_packed
from kappaforge.screen.unique import reduce_cells as reduce_each
from kappaforge.store.evidence import BestPhonons, Parity
from kappaforge.transport.record import Mesh
from kappaforge.transport.settings import KappaSettings
from kappaforge.transport.variations import Variation

if TYPE_CHECKING:  # they bring torch, which only some campaigns need
    from kappaforge.learn.loop import TrainingJob
    from kappaforge.potentials.allegro_model import AllegroModel

__all__ = [
    "compare_to_labels",
    "compute_best",
    "compute_kappa",
    "compute_member_kappa",
    "compute_phonons",
    "compute_wider_kappa",
    "find_symmetry",
    "generate",
    "group_crystals",
    "kappa_version",
    "label",
    "map_features",
    "match_crystals",
    "name_crystals",
    "reduce_cells",
    "relax_batch",
    "soap",
    "steady_settings",
    "train",
]

LABELS_AT_ONCE = 64

KAPPA_VERSION, EXTRAPOLATED_VERSION = 5, 6
"""Of `compute_kappa`, on one mesh and extrapolated: raise them when the same arguments give another record."""


def kappa_version(settings: KappaSettings) -> int:
    """Return the version of `compute_kappa` by these settings."""
    return EXTRAPOLATED_VERSION if settings.extrapolates else KAPPA_VERSION


def generate(settings: GenerateSettings, seed: int, first: int, n: int) -> list[Proposal]:
    """Propose the crystals number `first` to `first + n - 1`."""
    return generators.load(settings.generator, settings).sample(n, first=first, seed=seed)


def relax_batch(crystals: Sequence[Crystal], potential: str, settings: RelaxSettings) -> list[RelaxRecord]:
    """Relax a batch; where the potential raises on one of the crystals, each for itself."""
    loaded = potentials.load(potential)
    try:
        return relax(crystals, loaded, settings)
    except (KappaforgeError, OSError):
        raise
    except Exception:  # it does not say on which
        return [relax_one(crystal, loaded, settings) for crystal in crystals]


def find_symmetry(crystals: Sequence[Crystal], settings: ScreenSettings) -> list[SymmetryRecord]:
    """Find the symmetry of each crystal."""
    return [symmetry(crystal, settings) for crystal in crystals]


def name_crystals(crystals: Sequence[Crystal], settings: ScreenSettings) -> list[CrystalName]:
    """Name each crystal."""
    return names_of(crystals, settings)


def reduce_cells(crystals: Sequence[Crystal]) -> PackedCrystals:
    """Find the reduced primitive cell of each crystal."""
    return reduce_each(crystals)


def group_crystals(crystals: PackedCrystals, settings: ScreenSettings) -> np.ndarray:
    """Group crystals, shape (n_crystals,)."""
    return group_packed(crystals, settings)


def match_crystals(crystals: PackedCrystals, known: PackedCrystals, settings: ScreenSettings) -> np.ndarray:
    """Find for each crystal the first known one that is the same, or -1, shape (n_crystals,)."""
    return match_packed(crystals, known, settings)


def soap(crystals: Sequence[Crystal], settings: DescribeSettings, species: tuple[str, ...]) -> np.ndarray:
    """Describe a batch, shape (n_crystals, n_features)."""
    return average_soap(crystals, settings, species)


def map_features(features: np.ndarray, settings: DescribeSettings, seed: int) -> np.ndarray:
    """Map features to the plane, shape (n_crystals, 2)."""
    return tsne_map(features, settings, seed)


def compute_kappa(
    crystal: Crystal,
    potential: str | AllegroModel,
    relax_settings: RelaxSettings,
    kappa_settings: KappaSettings,
    symmetry_settings: ScreenSettings,
    relaxed: bool = True,
    modes_folder: Path | None = None,
) -> CandidateRecord:
    """Take one candidate to κ, relaxed tightly first or as it is."""
    return kappa_of(
        crystal,
        _loaded(potential),
        relax_settings,
        kappa_settings,
        symmetry_settings,
        relaxed=relaxed,
        modes_folder=modes_folder,
    )


def steady_settings(crystal: Crystal, settings: KappaSettings) -> KappaSettings:
    """Find settings whose supercells are the same for all members of a committee."""
    return member_settings(crystal, settings)


def compute_member_kappa(
    crystal: Crystal,
    member: str | AllegroModel,
    relax_settings: RelaxSettings,
    settings: KappaSettings,
    symmetry_settings: ScreenSettings,
) -> Trial:
    """Take one crystal to κ by one member of a committee."""
    return member_trial(crystal, _loaded(member), relax_settings, settings, symmetry_settings)


def compute_wider_kappa(
    crystal: Crystal, potential: str | AllegroModel | Potential, settings: KappaSettings, what: Variation
) -> Trial:
    """Compute κ of a crystal at rest with larger supercells or a wider cutoff."""
    return wider_trial(crystal, _loaded(potential), settings, what)


def compute_phonons(
    crystal: Crystal,
    potential: str | AllegroModel,
    compared_to: str | AllegroModel | None,
    relax_settings: RelaxSettings,
    settings: PhononSettings,
    symmetry_settings: ScreenSettings,
    relaxed: bool = True,
) -> PhononsRecord:
    """Compute the phonons of one crystal, relaxed tightly first or as it is; compare them to another potential's."""
    other = None if compared_to is None else _loaded(compared_to)
    return phonons_of(
        crystal, _loaded(potential), relax_settings, settings, symmetry_settings, relaxed=relaxed, compared_to=other
    )


def compute_best(
    crystal: Crystal,
    potential: str | AllegroModel,
    compared_to: str | AllegroModel | None,
    relax_settings: RelaxSettings,
    kappa_settings: KappaSettings,
    symmetry_settings: ScreenSettings,
    mesh: Mesh,
) -> BestPhonons:
    """Look closer at one of the best conductors, which is at rest."""
    other = None if compared_to is None else _loaded(compared_to)
    return best_phonons(crystal, _loaded(potential), other, relax_settings, kappa_settings, symmetry_settings, mesh)


def compare_to_labels(name: str, labels: Sequence[Label], potential: str | AllegroModel) -> Parity:
    """Compare a potential to labels, all of which are ok; `name` says which they are."""
    loaded = _loaded(potential)
    energies, forces = [], []
    for start in range(0, len(labels), LABELS_AT_ONCE):
        some = labels[start : start + LABELS_AT_ONCE]
        batch = Batch.of([label.crystal for label in some])
        found = loaded.compute(batch)
        truth = np.array([label.energy_ev for label in some], dtype=float)
        energies.append(np.stack([truth, found.energies_ev]) / batch.counts)
        told = np.concatenate([np.asarray(label.forces_ev_per_ang) for label in some])
        forces.append(np.stack([told.ravel(), found.forces_ev_per_ang.ravel()]))
    return Parity(loaded.name, name, np.concatenate(energies, axis=1), np.concatenate(forces, axis=1))


def label(crystal: Crystal, settings: LabelSettings) -> Label:
    """Label one crystal."""
    return labelers.load(settings).label(crystal)


def train(job: TrainingJob, checkpoint: Path) -> AllegroModel:
    """Train one model; a kill costs at most the epoch under way."""
    from kappaforge.potentials.training import train

    training = train(
        job.labels,
        job.validation,
        model=job.model,
        settings=job.settings,
        seed=job.seed,
        checkpoint=checkpoint,
    )
    return training.model


def _loaded(potential: str | AllegroModel | Potential) -> Potential:
    if isinstance(potential, str):
        return potentials.load(potential)
    if isinstance(potential, Potential):
        return potential
    from kappaforge.potentials.allegro import AllegroPotential
    from kappaforge.potentials.model_file import model_digest

    return AllegroPotential(f"learned-{model_digest(potential)[:8]}", potential)

"""The tasks of a generator's evaluation, each with the CPU time it took."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.generate import registry as generators
from kappaforge.generate.base import LearnedGenerator, Proposal
from kappaforge.generate.metrics.fingerprint import structure_fingerprint
from kappaforge.generate.metrics.matching import distances_to_nearest
from kappaforge.generate.metrics.validity import RawQuality, compositionally_valid, raw_quality, structurally_valid
from kappaforge.generate.perturbed import perturb
from kappaforge.generate.settings import GenerateSettings
from kappaforge.potentials import registry as potentials
from kappaforge.potentials.base import Batch
from kappaforge.relax.relaxer import RelaxRecord, relax
from kappaforge.relax.settings import RelaxSettings


def cpu_seconds() -> float:
    """Return the CPU time of this process and of the children it has waited for, s."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


@dataclass(frozen=True)
class Proposed:
    """Proposals and the CPU time they took; loading the generator is not counted."""

    proposals: tuple[Proposal, ...]
    cpu_seconds: float


@dataclass(frozen=True)
class Relaxed:
    """Relaxations and the CPU time they took; loading the potential is not counted."""

    records: tuple[RelaxRecord, ...]
    cpu_seconds: float


@dataclass(frozen=True, eq=False)
class Described:
    """One crystal as it was generated.

    Parameters
    ----------
    quality
        Distances and neighbours.
    structurally_valid, compositionally_valid
        In CDVAE's sense.
    fingerprint
        Shape (61,); None where there is none, or the crystal is not valid.
    """

    quality: RawQuality
    structurally_valid: bool
    compositionally_valid: bool | None
    fingerprint: np.ndarray | None


def propose(settings: GenerateSettings, seed: int, first: int, n: int) -> Proposed:
    """Propose the crystals number `first` to `first + n - 1`."""
    generator = generators.load(settings.generator, settings)
    start = cpu_seconds()
    proposals = generator.sample(n, first=first, seed=seed)
    return Proposed(tuple(proposals), cpu_seconds() - start)


def propose_perturbed(parents: Sequence[Crystal], seed: int, first: int) -> Proposed:
    """Propose a perturbed crystal for each of the parents."""
    start = cpu_seconds()
    proposals = perturb(parents, first=first, seed=seed)
    return Proposed(tuple(proposals), cpu_seconds() - start)


def relax_timed(crystals: Sequence[Crystal], potential: str, settings: RelaxSettings) -> Relaxed:
    """Relax a batch."""
    loaded = potentials.load(potential)
    start = cpu_seconds()
    records = relax(crystals, loaded, settings)
    return Relaxed(tuple(records), cpu_seconds() - start)


def describe(crystals: Sequence[Crystal]) -> list[Described]:
    """Describe crystals as they were generated."""
    described = []
    for crystal in crystals:
        valid = structurally_valid(crystal)
        fingerprint = structure_fingerprint(crystal) if valid else None
        described.append(Described(raw_quality(crystal), valid, compositionally_valid(crystal), fingerprint))
    return described


def energies_ev_per_atom(crystals: Sequence[Crystal], potential: str) -> np.ndarray:
    """Return the energies of crystals as they are, shape (n_crystals,)."""
    batch = Batch.of(crystals)
    energies: np.ndarray = potentials.load(potential).compute(batch).energies_ev / batch.counts
    return energies


def nearest(references: Sequence[Crystal], made: Sequence[Crystal]) -> list[float | None]:
    """Return the distance from each reference to the nearest crystal made."""
    return distances_to_nearest(references, made)


def reconstruct(settings: GenerateSettings, crystals: Sequence[Crystal], seed: int) -> list[Crystal | None]:
    """Encode crystals and decode them again, None where nothing came out; only learned generators can."""
    generator = generators.load(settings.generator, settings)
    if not isinstance(generator, LearnedGenerator):
        raise InputError(f"generator {settings.generator!r} is not a learned one, so that it cannot reconstruct")
    return [proposal.crystal for proposal in generator.reconstruct(crystals, seed=seed)]

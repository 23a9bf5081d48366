"""Shapes, noise and loss weights of the autoencoder, and how its decoder samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from kappaforge.errors import InputError

MAX_ATOMIC_NUMBER = 100
"""Elements the model can tell apart, as published: hydrogen to fermium."""


def _check_positive(settings: Any, section: str) -> None:
    where = f"[cdvae.{section}]" if section else "[cdvae]"
    for name, value in asdict(settings).items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            allowed = value >= 0 if name in ("before_skip", "after_skip", "teacher_forcing_epochs") else value > 0
            if not allowed:
                raise InputError(f"{where} {name}: expected a positive number, got {value}")


def _digest(settings: Any) -> str:
    return hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class EncoderSettings:
    """Shape of the encoder, DimeNet++ (arXiv 2011.14115); the defaults are the published ones.

    Parameters
    ----------
    hidden, triplet, basis, atom
        Widths of the messages, of what passes between them, of the projected basis, and of the atoms' outputs.
    blocks
        Rounds of messages.
    radial, spherical
        Numbers of radial and angular basis functions.
    before_skip, after_skip, output_layers
        Depths inside each block.
    cutoff_ang, neighbours
        Edges reach so far, and to so many nearest neighbours of either end.
    """

    hidden: int = 128
    triplet: int = 64
    basis: int = 8
    atom: int = 256
    blocks: int = 4
    radial: int = 6
    spherical: int = 7
    before_skip: int = 1
    after_skip: int = 2
    output_layers: int = 3
    cutoff_ang: float = 7.0
    neighbours: int = 20

    def __post_init__(self) -> None:
        _check_positive(self, "encoder")


@dataclass(frozen=True)
class DecoderSettings:
    """Shape of the decoder, GemNet-T with direct forces (arXiv 2106.08903); the defaults are the published ones.

    Parameters
    ----------
    hidden, triplet, bilinear, radial_projection, angular_projection
        Widths of atoms and edges, of what passes between edges before and after the bilinear layer, and of the
        projected bases.
    blocks
        Rounds of messages.
    radial, spherical
        Numbers of radial and angular basis functions.
    before_skip, after_skip, after_concat, atom_layers
        Depths inside each block.
    cutoff_ang, neighbours
        Edges reach so far, and to so many nearest neighbours of either end.
    energy_branch
        Build the per-atom energies of GemNet's output blocks. The published decoder has them, a fifth of its
        parameters, but nothing reads their result; they stay frozen here and only make the sizes comparable.
    """

    hidden: int = 128
    triplet: int = 64
    bilinear: int = 64
    radial_projection: int = 16
    angular_projection: int = 16
    blocks: int = 3
    radial: int = 128
    spherical: int = 7
    before_skip: int = 1
    after_skip: int = 2
    after_concat: int = 1
    atom_layers: int = 3
    cutoff_ang: float = 7.0
    neighbours: int = 20
    energy_branch: bool = True

    def __post_init__(self) -> None:
        _check_positive(self, "decoder")


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of the loss; the defaults are the published ones."""

    num_atoms: float = 1.0
    coordinates: float = 10.0
    types: float = 1.0
    lattice: float = 10.0
    composition: float = 1.0
    kl: float = 0.01
    property: float = 1.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value >= 0:
                raise InputError(f"[cdvae.weights] {name}: expected 0 or more, got {value}")


@dataclass(frozen=True)
class CdvaeSettings:
    """The whole autoencoder; the defaults are the published ones for carbon-24.

    Parameters
    ----------
    encoder, decoder, weights
        Parts.
    latent, head_hidden
        Widths of the latent vector and of the heads' hidden layer.
    max_atoms
        Most atoms in a cell.
    levels
        Number of noise levels, from the largest to the smallest in equal ratios.
    sigma_max_ang, sigma_min_ang
        Largest and smallest noise of the positions in Å.
    type_sigma_max, type_sigma_min
        Largest and smallest weight of the predicted composition in the noise of the elements.
    teacher_forcing_epochs
        So long the decoder is trained in the true cells, then in the predicted ones.
    predict_property
        Add a head that learns one property per crystal from the latent vector.
    """

    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    decoder: DecoderSettings = field(default_factory=DecoderSettings)
    weights: LossWeights = field(default_factory=LossWeights)
    latent: int = 256
    head_hidden: int = 256
    max_atoms: int = 24
    levels: int = 50
    sigma_max_ang: float = 10.0
    sigma_min_ang: float = 0.01
    type_sigma_max: float = 5.0
    type_sigma_min: float = 0.01
    teacher_forcing_epochs: int = 1000
    predict_property: bool = False

    def __post_init__(self) -> None:
        _check_positive(self, "")
        for name in ("sigma", "type_sigma"):
            unit = "_ang" if name == "sigma" else ""
            low, high = getattr(self, f"{name}_min{unit}"), getattr(self, f"{name}_max{unit}")
            if low > high:
                raise InputError(f"[cdvae] {name}_min{unit}: expected {name}_max{unit} ({high}) or less, got {low}")

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all settings."""
        return _digest(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CdvaeSettings:
        """Return the settings that `dataclasses.asdict` took apart; raises `InputError` where they do not fit."""
        parts = {"encoder": EncoderSettings, "decoder": DecoderSettings, "weights": LossWeights}
        try:
            return cls(**{name: parts[name](**v) if name in parts else v for name, v in values.items()})
        except TypeError as error:
            raise InputError(f"[cdvae] settings of another version: {error}") from None


@dataclass(frozen=True)
class LangevinSettings:
    """Annealed Langevin dynamics; the defaults are the published ones.

    Parameters
    ----------
    steps_per_level
        Steps, each one call of the decoder, at every noise level.
    step_rate
        Step size in Å² at the smallest noise level; it grows with the square of the noise.
    first_sigma_ang
        Skip levels above it. Where the noise is wider than the cell, positions are uniform before and after.
    """

    steps_per_level: int = 100
    step_rate: float = 1e-4
    first_sigma_ang: float = 10.0

    def __post_init__(self) -> None:
        _check_positive(self, "langevin")

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all settings."""
        return _digest(self)


PRESETS = {
    "paper": CdvaeSettings(),
    "small": CdvaeSettings(
        encoder=EncoderSettings(hidden=64, triplet=32, atom=128, blocks=2, output_layers=2, neighbours=12),
        decoder=DecoderSettings(
            hidden=64,
            triplet=32,
            bilinear=32,
            angular_projection=8,
            blocks=2,
            radial=64,
            atom_layers=2,
            neighbours=12,
            energy_branch=False,
        ),
        latent=128,
        head_hidden=128,
    ),
}
"""``paper``: the published sizes. ``small``: about nine times cheaper, trains on one core."""

"""Settings of the flow's network."""

from __future__ import annotations

from dataclasses import dataclass

from kappaforge.errors import InputError


@dataclass(frozen=True)
class FlowSettings:
    """The shape of the network and what it is shown.

    Parameters
    ----------
    layers
        Rounds of messages.
    scalars, vectors, tensors
        Channels that turn like a number, a vector, and a traceless symmetric tensor.
    radials
        Radial functions.
    reach
        Radius of an atom's neighbourhood in units of the cube root of the volume per atom: 2 holds 34 neighbours on
        average at any density.
    latent
        Numbers that a crystal is encoded by; 0 for a flow without encoder.
    encoder_layers
        Rounds of messages of the encoder.
    kl_weight
        Weight of the latent's distance from a normal distribution in the loss.
    unguided
        Share of the crystals that are shown without their latent, so that it is not needed to sample.
    symmetric
        Share of the crystals whose way keeps their space group; the others' starts at random positions.
    strain_spread
        Standard deviation of the random start's strain away from the reference cell.
    volume_spread
        Standard deviation of the logarithm of its volume.
    """

    layers: int = 4
    scalars: int = 64
    vectors: int = 32
    tensors: int = 16
    radials: int = 12
    reach: float = 2.0
    latent: int = 32
    encoder_layers: int = 2
    kl_weight: float = 0.01
    unguided: float = 0.7
    symmetric: float = 0.7
    strain_spread: float = 0.2
    volume_spread: float = 0.1

    def __post_init__(self) -> None:
        for name in ("layers", "scalars", "vectors", "tensors", "radials", "encoder_layers"):
            if getattr(self, name) < 1:
                raise InputError(f"[flow] {name}: expected 1 or more, got {getattr(self, name)}")
        if self.latent < 0:
            raise InputError(f"[flow] latent: expected 0 or more, got {self.latent}")
        for name in ("reach", "strain_spread", "volume_spread"):
            if not 0 < getattr(self, name) <= 10:
                raise InputError(f"[flow] {name}: expected above 0 and up to 10, got {getattr(self, name)}")
        for name in ("unguided", "symmetric"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"[flow] {name}: expected a share from 0 to 1, got {getattr(self, name)}")
        if not self.kl_weight >= 0:
            raise InputError(f"[flow] kl_weight: expected 0 or more, got {self.kl_weight}")

"""The shape of an Allegro model and how it is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kappaforge.errors import InputError

PRECISIONS = ("float32", "float64")
SCHEDULES = ("cosine", "plateau")


def _require_count(field: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{field}: expected a whole number of at least {least}, got {value!r}")


def _require_number(field: str, value: object, low: float, high: float, *, inclusive: bool = False) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and value < high
    if not number or not (low < value or (inclusive and low == value)):  # type: ignore[operator]
        bounds = f"{'at least' if inclusive else 'above'} {low:g}" + (f" and below {high:g}" if high < math.inf else "")
        raise InputError(f"{field}: expected a number {bounds}, got {value!r}")


@dataclass(frozen=True)
class AllegroSettings:
    """The shape of an Allegro model (doi 10.1038/s41467-023-36329-y); the defaults are the preset ``fast``.

    Parameters
    ----------
    layers
        Number of tensor-product layers.
    l_max
        Highest rotation order of the features.
    odd_features
        Whether features that change sign under inversion are kept beside the even ones.
    tensor_features
        Channels of each rotation order.
    scalar_features
        Channels of the invariant track.
    cutoff_ang
        Radius of an atom's neighbourhood, Å.
    bessels
        Number of radial basis functions.
    envelope_power
        p of the polynomial envelope; the larger, the later it falls.
    two_body_hidden, latent_hidden, readout_hidden
        Widths of the hidden layers (SiLU) of the networks on edge lengths, of each layer, and of edge energies. The
        layers of one network must have the same width; empty for a linear map.
    core_repulsion
        Add the screened repulsion of the nuclei below 1.25 Å (`kappaforge.potentials.core`): atoms that no label has so
        near then still repel each other, and relaxations do not collapse.
    """

    layers: int = 1
    l_max: int = 2
    odd_features: bool = True
    tensor_features: int = 8
    scalar_features: int = 32
    cutoff_ang: float = 4.5
    bessels: int = 8
    envelope_power: float = 6.0
    two_body_hidden: tuple[int, ...] = (32,)
    latent_hidden: tuple[int, ...] = (32,)
    readout_hidden: tuple[int, ...] = (32,)
    core_repulsion: bool = False

    def __post_init__(self) -> None:
        for field in ("layers", "tensor_features", "scalar_features", "bessels"):
            _require_count(f"[allegro] {field}", getattr(self, field), 1)
        _require_count("[allegro] l_max", self.l_max, 0)
        for field in ("odd_features", "core_repulsion"):
            if not isinstance(getattr(self, field), bool):
                raise InputError(f"[allegro] {field}: expected true or false, got {getattr(self, field)!r}")
        _require_number("[allegro] cutoff_ang", self.cutoff_ang, 0, math.inf)
        _require_number("[allegro] envelope_power", self.envelope_power, 2, math.inf, inclusive=True)
        for field in ("two_body_hidden", "latent_hidden", "readout_hidden"):
            widths = tuple(getattr(self, field))
            object.__setattr__(self, field, widths)
            for width in widths:
                _require_count(f"[allegro] {field}", width, 1)
            if len(set(widths)) > 1:
                raise InputError(f"[allegro] {field}: expected layers of one width, got {list(widths)}")


PRESETS = {
    "fast": AllegroSettings(),
    "paper": AllegroSettings(
        layers=3,
        l_max=3,
        tensor_features=16,
        scalar_features=128,
        cutoff_ang=5.5,
        envelope_power=48.0,
        two_body_hidden=(128, 128),
        latent_hidden=(),
        readout_hidden=(128, 128, 128),
    ),
}
"""``paper`` is the model of doi 10.1038/s41524-025-01592-8 as nearly as nequip-allegro 0.8 expresses it.

The publication's networks [128,128,128] and [128] count their output layer, which is linear here as it was there. Its
network of edge energies tapers, [256,128,64]; here the layers have one width, their geometric mean. And the edge
energies are now read from the scalars of all layers, not of the last alone: 313,728 parameters where the publication
has 232,776."""


@dataclass(frozen=True)
class TrainingSettings:
    """How a model is fitted to energies and forces.

    The loss is the mean square of the energies' errors per atom (eV) times `energy_weight` plus the mean square of the
    force components' errors (eV/Å) times `force_weight`; see `force_knee_ev_per_ang` for the weights of crystals.

    Parameters
    ----------
    epochs
        Passes over the training set.
    batch_size
        Crystals per step.
    learning_rate
        Of Adam, at the start.
    schedule
        ``cosine``: down to zero at the last epoch; ``plateau``: halved when the validation loss (without a validation
        set, the training loss) has not fallen for `patience` epochs.
    patience
        Epochs, for ``plateau``.
    energy_weight, force_weight
        Weights in the loss.
    force_knee_ev_per_ang
        Where above 0, the squared errors of a crystal whose force components have the root mean square F are divided
        by 1 + (F / knee)²: absolute errors count where forces are small, relative ones where they are large. Otherwise
        strongly distorted crystals drown the small displacements that decide phonons.
    averaging
        Decay per step of the exponential moving average of the weights; the averaged weights become the model.
    precision
        ``float32`` or ``float64``, in training and of the trained model; edge vectors and sums over atoms are always
        double.
    """

    epochs: int = 100
    batch_size: int = 8
    learning_rate: float = 0.005
    schedule: str = "cosine"
    patience: int = 20
    energy_weight: float = 1.0
    force_weight: float = 1.0
    force_knee_ev_per_ang: float = 0.0
    averaging: float = 0.99
    precision: str = "float32"

    def __post_init__(self) -> None:
        for field in ("epochs", "batch_size", "patience"):
            _require_count(f"[training] {field}", getattr(self, field), 1)
        _require_number("[training] learning_rate", self.learning_rate, 0, math.inf)
        for field in ("energy_weight", "force_weight", "force_knee_ev_per_ang"):
            _require_number(f"[training] {field}", getattr(self, field), 0, math.inf, inclusive=True)
        if self.energy_weight + self.force_weight == 0:
            raise InputError("[training] energy_weight and force_weight: one of them must be above 0")
        _require_number("[training] averaging", self.averaging, 0, 1, inclusive=True)
        for field, known in (("schedule", SCHEDULES), ("precision", PRECISIONS)):
            if getattr(self, field) not in known:
                raise InputError(f"[training] {field}: expected {' or '.join(known)}, got {getattr(self, field)!r}")

"""Settings of the selection."""

import math
from dataclasses import dataclass

from kappaforge.errors import InputError


@dataclass(frozen=True)
class SelectSettings:
    """How many crystals get their κ computed, and which; the defaults are the paper's.

    Parameters
    ----------
    benchmarks
        Number of crystals picked by farthest-point sampling.
    neighbours
        Number of nearest neighbours followed up around each benchmark of ultrahigh κ.
    ultrahigh_kappa_w_per_mk
        From this κ on (largest eigenvalue, W/(m·K)) a benchmark counts as ultrahigh.
    known
        Ids of the library crystals that are benchmarks in any case.
    rest
        Whether all other candidates go up the ladder too (`kappaforge.campaign.ladder`), each as far as its κ may be
        ultrahigh.
    """

    benchmarks: int = 50
    neighbours: int = 10
    ultrahigh_kappa_w_per_mk: float = 800.0
    known: tuple[str, ...] = ("diamond", "lonsdaleite", "bct-C4", "Z-carbon", "AA-T12")
    rest: bool = False

    def __post_init__(self) -> None:
        for name in ("benchmarks", "neighbours"):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= 0):
                raise InputError(f"select.{name}: expected a whole number of 0 or more, got {value!r}")
        kappa = self.ultrahigh_kappa_w_per_mk
        if not (math.isfinite(kappa) and kappa >= 0):
            raise InputError(f"select.ultrahigh_kappa_w_per_mk: expected a number of 0 or more, got {kappa!r}")
        if not isinstance(self.rest, bool):
            raise InputError(f"select.rest: expected true or false, got {self.rest!r}")
        if isinstance(self.known, str) or not all(isinstance(name, str) for name in self.known):
            raise InputError(f"select.known: expected a list of crystal ids, got {self.known!r}")
        object.__setattr__(self, "known", tuple(self.known))

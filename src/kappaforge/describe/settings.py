"""Settings of the description and the map."""

import math
from dataclasses import dataclass

from kappaforge.errors import InputError


@dataclass(frozen=True)
class DescribeSettings:
    """The SOAP vectors and their map; the defaults are the paper's.

    Parameters
    ----------
    cutoff_ang
        Radius of an atom's environment in Å; above 1.
    sigma_ang
        Width of the Gaussian put on each atom, in Å.
    n_max
        Number of radial functions.
    l_max
        Highest degree of the spherical harmonics, up to 20.
    perplexity
        Perplexity of t-SNE, about the number of neighbours each point keeps.
    """

    cutoff_ang: float = 5.0
    sigma_ang: float = 0.5
    n_max: int = 6
    l_max: int = 6
    perplexity: float = 10.0

    def __post_init__(self) -> None:
        for name, lowest in (("cutoff_ang", 1.0), ("sigma_ang", 0.0), ("perplexity", 0.0)):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > lowest):
                raise InputError(f"describe.{name}: expected a number above {lowest:g}, got {value!r}")
        for name, low, high in (("n_max", 1, 100), ("l_max", 0, 20)):
            value = getattr(self, name)
            if not (isinstance(value, int) and low <= value <= high):
                raise InputError(f"describe.{name}: expected a whole number from {low} to {high}, got {value!r}")

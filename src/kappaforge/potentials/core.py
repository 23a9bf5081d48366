"""What keeps atoms apart where no label is."""

from __future__ import annotations

from typing import Any

from nequip.data import AtomicDataDict
from nequip.nn.pair_potential import ZBL

REACH_ANG = 1.25
"""Å; there the repulsion has faded to nothing. Carbon's shortest bond, the triple one, has 1.20 Å: all others feel none
of it. Reaching over them, which the package's own does, it has to be unlearned first: after equal seconds of training,
errors were half as large again."""

ENVELOPE_POWER = 2.0


class CoreRepulsion(ZBL):
    """The screened repulsion of two nuclei (Ziegler, Biersack and Littmark, 1985) at very short distances alone.

    Parameters
    ----------
    cutoff_ang
        The model's, which the lengths of edges are given in units of.
    options
        As of nequip's module.
    """

    def __init__(self, cutoff_ang: float, **options: Any) -> None:
        super().__init__(units="metal", polynomial_cutoff_p=ENVELOPE_POWER, **options)
        self.lengths_per_reach = cutoff_ang / REACH_ANG

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """Add the repulsion to the energies of the atoms."""
        lengths = data[AtomicDataDict.NORM_LENGTH_KEY]
        data[AtomicDataDict.NORM_LENGTH_KEY] = lengths * self.lengths_per_reach
        data = super().forward(data)
        data[AtomicDataDict.NORM_LENGTH_KEY] = lengths
        return data

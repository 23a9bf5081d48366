"""A fingerprint of the local structure: CrystalNN's coordination numbers and order parameters, averaged over the atoms.

It is matminer's ``CrystalNNFingerprint.from_preset("ops")``, which CDVAE's coverage is measured with, from pymatgen's
parts alone: matminer would bring a dozen packages for these lines.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
from pymatgen.core.local_env import CN_OPT_PARAMS, CrystalNN, LocalStructOrderParams

from kappaforge.crystal import Crystal

MAX_NEIGHBOURS = 24
MORE_ORDER_PARAMETERS = {
    1: ("sgl_bd",),
    9: ("q2", "q4", "q6"),
    10: ("q2", "q4", "q6"),
    11: ("q2", "q4", "q6"),
    12: ("q2", "q4", "q6"),
}
"""By coordination number, those that have no entry among pymatgen's parameters; they come after these."""


def structure_fingerprint(crystal: Crystal) -> np.ndarray | None:
    """Return the fingerprint of a crystal, or None where CrystalNN finds no environment for an atom.

    Parameters
    ----------
    crystal
        In any of its cells.

    Returns
    -------
    np.ndarray or None
        Shape (61,). For each coordination number from 1 to 24 its likelihood and the order parameters times it, mean
        over the atoms (doi 10.1021/acs.inorgchem.0c02996; CDVAE: arXiv 2110.06197, app. D).
    """
    structure = crystal.to_pymatgen()
    finder = CrystalNN()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it asks for oxidation states
            sites = [_site_fingerprint(finder, structure, index) for index in range(len(structure))]
    except (ValueError, RuntimeError, IndexError, ArithmeticError):  # no Voronoi cell, or nothing within its cutoff
        return None
    return np.mean(sites, axis=0)


def _site_fingerprint(finder: CrystalNN, structure: Any, index: int) -> list[float]:
    neighbours = finder.get_nn_data(structure, index)
    values: list[float] = []
    for count in range(1, MAX_NEIGHBOURS + 1):
        weight = float(neighbours.cn_weights.get(count, 0.0))
        values.append(weight)
        for order_parameter in _order_parameters(count):
            value = None
            if weight:
                sites: Any = [structure[index], *(each["site"] for each in neighbours.cn_nninfo[count])]
                found = order_parameter.get_order_parameters(sites, 0, indices_neighs=list(range(1, len(sites))))
                value = found[0]
            values.append(weight * (value or 0.0))
    return values


@cache
def _order_parameters(count: int) -> tuple[LocalStructOrderParams, ...]:
    """Return the order parameters of a coordination number, in matminer's order."""
    known: dict[str, list[Any]] = dict(CN_OPT_PARAMS.get(count, {}))
    tuned = [
        LocalStructOrderParams([entry[0]], parameters=[entry[1] if len(entry) > 1 else None])
        for entry in known.values()
    ]
    more = [LocalStructOrderParams([name], parameters=[None]) for name in MORE_ORDER_PARAMETERS.get(count, ())]
    return (*tuned, *more)

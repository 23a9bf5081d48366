"""One vector per crystal: the SOAP power spectrum averaged over its atoms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from ase.data import atomic_numbers
from dscribe.descriptors import SOAP

from kappaforge.crystal import Crystal
from kappaforge.describe.settings import DescribeSettings
from kappaforge.errors import InputError


def average_soap(
    crystals: Sequence[Crystal], settings: DescribeSettings, species: Iterable[str] | None = None
) -> np.ndarray:
    """Return the averaged SOAP vector of each crystal, scaled to unit length.

    The power spectrum of each atom's environment is averaged over the atoms (dscribe's "outer" average; Bartók et al.,
    doi 10.1103/PhysRevB.87.184115). "Inner" averaging, of the density coefficients before they are squared, would mix
    environments that differ only by rotation, such as those of diamond's two atoms.

    The unit length, as in the normalised SOAP kernel (De et al., doi 10.1039/c6cp00415f), lets Euclidean distances
    compare structures: without it 97 % of the variance over AIRSS carbon follows the density alone, and diamond
    stretched by 2 % is nearly as far from diamond as the median crystal.

    A row depends on its own crystal and the list of species only, and not on the cell in which the crystal is given.

    Parameters
    ----------
    crystals
        In any of their cells.
    settings
        Cutoff, width and size of the basis.
    species
        Symbols of all elements that may occur; those of the crystals by default. Only vectors of the same species,
        in any order, can be compared.

    Returns
    -------
    np.ndarray
        Shape (n_crystals, n_features), float64, with m (m + 1) / 2 · (l_max + 1) features where
        m = n_max · n_species.

    Raises
    ------
    InputError
        Where a crystal holds an element that is not among the species, or an unknown symbol is.
    """
    present = frozenset().union(*(crystal.elements for crystal in crystals))
    listed = present if species is None else frozenset(species)
    if unknown := sorted(listed - atomic_numbers.keys()):
        raise InputError(f"species: expected symbols of elements, got {', '.join(unknown)}")
    if missing := sorted(present - listed):
        raise InputError(f"species: {', '.join(missing)} occur in the crystals but not in {', '.join(sorted(listed))}")
    if not listed:
        raise InputError("species: expected crystals or at least one element, got neither")

    soap = SOAP(
        species=sorted(listed, key=atomic_numbers.__getitem__),
        r_cut=settings.cutoff_ang,
        n_max=settings.n_max,
        l_max=settings.l_max,
        sigma=settings.sigma_ang,
        periodic=True,
        average="outer",
    )
    rows = np.empty((len(crystals), soap.get_number_of_features()))
    for row, crystal in zip(rows, crystals, strict=True):
        row[:] = soap.create_single(crystal.to_ase())
        row /= np.linalg.norm(row)
    return rows

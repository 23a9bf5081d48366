"""The minimum of energies and forces without stress."""

import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons

sys.path.append(str(Path(__file__).parents[1] / "tools"))

import dft_minimum


@pytest.mark.parametrize(
    ("name", "n_strains"), [("diamond", 1), ("bct-C4", 2), ("polytype-9R", 2), ("Z-carbon", 3), ("M-carbon", 4)]
)
def test_strains_that_keep_the_symmetry_are_as_many_as_the_lattice_is_free(name: str, n_strains: int) -> None:
    (crystal,) = [entry.crystal for entry in known_carbons() if entry.name == name]
    assert len(dft_minimum.symmetric_strains(crystal)) == n_strains


@pytest.mark.parametrize(
    "atoms", [bulk("Cu", "hcp", a=2.57, c=4.15), bulk("Al"), bulk("Cu", "hcp", a=2.57, c=4.15).repeat((1, 1, 2))]
)
def test_minimum_without_stress_is_that_with_stress(atoms: Atoms) -> None:
    atoms.positions[0, 2] += 0.02 * (len(atoms) == 2)
    energy, found, off = dft_minimum.minimum(Crystal.from_ase(atoms), EMT())
    atoms.calc = EMT()
    BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-4)
    assert energy == pytest.approx(atoms.get_potential_energy(), abs=2e-4 * len(atoms))
    assert off == pytest.approx(0, abs=1e-3 * len(atoms))
    np.testing.assert_allclose(found.cell.cellpar(), atoms.cell.cellpar(), rtol=2e-3)

import numpy as np
from ase.build import bulk

from kappaforge.crystal import Crystal
from kappaforge.screen.energy import energies_above_lowest


def test_energies_are_compared_within_a_composition_whatever_the_cell() -> None:
    zincblende, rocksalt = bulk("BN", "zincblende", 3.6), bulk("BN", "rocksalt", 3.5)
    atoms = [bulk("C", "diamond", 3.57), zincblende.repeat((2, 1, 1)), rocksalt, bulk("C", cubic=True, a=3.57)]
    crystals = [Crystal.from_ase(each) for each in atoms]
    above = energies_above_lowest(crystals, [-7.0, -8.0, -7.5, -7.4])
    np.testing.assert_allclose(above, [0.4, 0.0, 0.5, 0.0], atol=1e-12)


def test_lowest_is_sought_among_the_known_of_a_composition() -> None:
    boron_nitride, carbon = map(Crystal.from_ase, (bulk("BN", "zincblende", 3.6), bulk("C", "diamond", 3.57)))
    crystals = [carbon, carbon, boron_nitride, boron_nitride]
    above = energies_above_lowest(crystals, [-7.0, -9.0, -8.0, -8.5], [True, False, False, False])
    np.testing.assert_allclose(above, [0.0, -2.0, 0.5, 0.0], atol=1e-12)


def test_no_crystals_have_no_energies() -> None:
    assert energies_above_lowest([], []).shape == (0,)

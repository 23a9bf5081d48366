"""What relaxation changed, in cases with a known answer."""

import numpy as np
import pytest
from ase.build import bulk

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.screen.geometry import deviation


def test_nothing_moved_is_no_deviation(diamond):
    found = deviation(diamond, diamond)
    assert not found.lengths.any()
    assert not found.angles.any()
    assert not found.fractional.any()


def test_stretch_shows_in_its_length_alone():
    before = Crystal.from_ase(bulk("C", "sc", a=2.0), id="sc")
    after = before.moved_to(before.cell * [[1.0], [1.0], [1.25]], before.positions)
    found = deviation(before, after)
    assert found.id == "sc"
    assert found.lengths == pytest.approx([0.0, 0.0, 0.2])
    assert found.angles == pytest.approx(np.zeros(3))


def test_shear_shows_in_its_angle():
    before = Crystal.from_ase(bulk("C", "sc", a=2.0))
    after = before.moved_to(np.array([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [1.0, 0.0, np.sqrt(3.0)]]), before.positions)
    found = deviation(before, after)
    assert found.lengths == pytest.approx(np.zeros(3))
    assert found.angles == pytest.approx([0.0, (60 - 90) / 60, 0.0])


def test_atoms_move_by_the_shortest_way_without_the_common_drift(diamond):
    fractional = diamond.fractional + np.array([[0.1, 0.0, 0.0], [0.14, 1.0, -2.0]])
    found = deviation(diamond, diamond.moved_to(diamond.cell, fractional @ diamond.cell))
    assert found.fractional == pytest.approx(np.array([[-0.02, 0.0, 0.0], [0.02, 0.0, 0.0]]))


def test_other_atoms_are_refused(diamond):
    other = diamond.moved_to(diamond.cell, diamond.positions, np.array([6, 14]))
    with pytest.raises(InputError, match="expected the same atoms in the same order"):
        deviation(diamond, other)


def test_deviation_does_not_depend_on_the_cell(rng):
    cell = np.array([[3.0, 0.0, 0.0], [0.3, 3.6, 0.0], [-0.4, 0.5, 4.4]])
    sites = rng.random((3, 3))
    before = Crystal(cell, sites @ cell, np.array([6, 6, 7]))
    strained = cell @ (np.eye(3) + rng.normal(scale=0.03, size=(3, 3)))
    after = before.moved_to(strained, (sites + rng.normal(scale=0.02, size=(3, 3))) @ strained)
    found = deviation(before, after)
    skew = np.array([[1, 2, 0], [0, 1, 0], [3, 0, 1]])
    other = deviation(
        before.moved_to(skew @ before.cell, before.positions), after.moved_to(skew @ after.cell, after.positions)
    )
    assert np.sort(np.abs(other.lengths)) == pytest.approx(np.sort(np.abs(found.lengths)))
    assert np.sort(np.abs(other.fractional), axis=None) == pytest.approx(np.sort(np.abs(found.fractional), axis=None))
    assert np.abs(found.lengths).max() > 1e-3

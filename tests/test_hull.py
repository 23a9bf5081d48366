"""Energies above the hull, against a linear programme that mixes phases without knowing what a hull is."""

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from kappaforge.crystal import Crystal
from kappaforge.hull import Hull
from kappaforge.screen.energy import energies_above_lowest

ELEMENTS = ("B", "C", "N")


def crystal_of(counts: tuple[int, ...]) -> Crystal:
    symbols = [symbol for symbol, count in zip(ELEMENTS, counts, strict=True) for _ in range(count)]
    grid = np.indices((3, 3, 3)).reshape(3, -1).T[: len(symbols)] * 2.0
    return Crystal.from_ase(Atoms(symbols, positions=grid, cell=np.eye(3) * 6.0, pbc=True))


def mixture(counts: tuple[int, ...], known: list[tuple[int, ...]], energies: list[float]) -> float:
    """Lowest energy per atom of any mixture of the known phases with this composition."""
    shares = np.array(known, dtype=float)
    shares /= shares.sum(axis=1, keepdims=True)
    wanted = np.array(counts) / sum(counts)
    found = linprog(energies, A_eq=shares.T, b_eq=wanted, bounds=(0, None))
    assert found.status == 0
    return float(found.fun)


compositions = st.tuples(*[st.integers(0, 4)] * 3).filter(any)


@given(st.lists(st.tuples(compositions, st.floats(-8, -1)), max_size=6), compositions, st.floats(-8, -1))
@settings(max_examples=60, deadline=None)
def test_energy_above_the_hull_is_that_above_the_best_mixture(phases, counts, energy):
    phases = [*phases, *[(tuple(row), -5.0) for row in np.eye(3, dtype=int).tolist()]]
    known, energies = [list(part) for part in zip(*phases, strict=True)]
    hull = Hull([crystal_of(one) for one in known], energies)
    (above,) = hull.above_ev_per_atom([crystal_of(counts)], [energy])
    assert above == pytest.approx(energy - mixture(counts, known, energies), abs=1e-8)


def test_of_one_element_it_is_the_energy_above_the_lowest(rng):
    crystals = [crystal_of((0, n, 0)) for n in (1, 2, 3, 4)]
    energies = rng.uniform(-8, -7, 4)
    above = Hull(crystals[:2], energies[:2]).above_ev_per_atom(crystals, energies)
    np.testing.assert_allclose(above, energies_above_lowest(crystals, energies, [True, True, False, False]))
    assert min(above[:2]) == 0.0


def test_compound_without_all_its_elements_has_no_hull():
    hull = Hull([crystal_of((1, 0, 0)), crystal_of((1, 0, 1))], [-5.0, -7.0])
    assert np.isnan(hull.energy_ev_per_atom(crystal_of((1, 0, 2))))
    assert hull.energy_ev_per_atom(crystal_of((3, 0, 0))) == -5.0


def test_energies_that_are_not_finite_are_left_out():
    hull = Hull([crystal_of((0, 1, 0)), crystal_of((0, 2, 0))], [np.nan, -7.0])
    assert hull.energy_ev_per_atom(crystal_of((0, 5, 0))) == -7.0
    assert np.isnan(Hull([], []).energy_ev_per_atom(crystal_of((0, 1, 0))))

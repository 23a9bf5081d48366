"""The compiled site match against pymatgen's, and its parts against scipy and pymatgen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.core.structure_matcher import StructureMatcher
from scipy.optimize import linear_sum_assignment

from kappaforge.assignment import pairing
from kappaforge.cells import lll
from kappaforge.crystal import Crystal
from kappaforge.fit import FAR
from kappaforge.reduction import reduced_cell
from kappaforge.similar import Library, reduced_crystals


def random_crystal(rng, symbols, noise=0.6):
    n = len(symbols)
    cell = np.diag(rng.uniform(0.7, 1.6, size=3)) + rng.normal(scale=0.25, size=(3, 3))
    cell *= np.cbrt(6.0 * n / abs(np.linalg.det(cell)))
    grid = (np.arange(n)[:, None] + 0.5) * np.array([1, 0.618, 0.382]) / np.array([n, 1, 1])
    return Structure(cell, symbols, grid + rng.normal(scale=noise / n, size=(n, 3)))


def displaced(structure, distance_ang, rng):
    """Move every atom as far, into any direction; pymatgen's ``perturb`` draws anew in every run."""
    ways = rng.normal(size=(len(structure), 3))
    ways *= distance_ang / np.linalg.norm(ways, axis=1, keepdims=True)
    return Structure(structure.lattice, structure.species, structure.cart_coords + ways, coords_are_cartesian=True)


@pytest.mark.parametrize("tolerances", [(0.2, 0.3, 5.0), (0.3, 0.5, 10.0), (0.05, 0.1, 2.0)])
@pytest.mark.parametrize("symbols", [["C"], ["C"] * 2, ["C"] * 4, ["C"] * 7, ["B", "N"], ["Si"] * 2 + ["O"] * 4])
def test_fit_is_that_of_pymatgen(rng, tolerances, symbols):
    matcher = StructureMatcher(*tolerances, primitive_cell=False)
    n_matching = 0
    for _ in range(12):
        first = random_crystal(rng, symbols)
        second = displaced(first, rng.uniform(0.0, 2 * tolerances[1]), rng)
        second.apply_strain((0.4 * tolerances[0] * rng.uniform(-1, 1, size=3)).tolist())
        third = random_crystal(rng, symbols)
        for other in (second, third):
            pair = list(reduced_crystals([Crystal.from_pymatgen(first), Crystal.from_pymatgen(other)]))
            expected = matcher.fit(pair[0].structure, pair[1].structure, skip_structure_reduction=True)
            library = Library(*tolerances)
            library.add(pair[0])
            assert library.first_fitting(pair[1]) == (0 if expected else -1)
            n_matching += expected
    assert n_matching > 0


def test_needles_whose_bases_are_not_listed_match_as_with_pymatgen(rng):
    matcher = StructureMatcher(primitive_cell=False)
    needle = Structure(np.diag([1.3, 1.5, 60.0]), ["C"] * 3, [[0, 0, 0], [0.4, 0.3, 0.3], [0.1, 0.7, 0.55]])
    near, far = displaced(needle, 0.02, rng), needle.copy()
    far.translate_sites([1], [0.0, 0.0, 0.2])
    pair = list(reduced_crystals([Crystal.from_pymatgen(one) for one in (needle, near, far)]))
    library = Library(0.2, 0.3, 5.0)
    library.add(pair[0])
    for other in pair[1:]:
        expected = matcher.fit(pair[0].structure, other.structure, skip_structure_reduction=True)
        assert (library.first_fitting(other) == 0) == expected
    assert library.first_fitting(pair[1]) == 0


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 12), forbidden=st.floats(0.0, 0.8), whole=st.booleans())
@settings(max_examples=60, deadline=None)
def test_pairing_is_that_of_scipy_ties_included(seed, n, forbidden, whole):
    rng = np.random.default_rng(seed)
    costs = rng.integers(0, 4, size=(n, n)).astype(float) if whole else rng.random((n, n))
    costs[rng.random((n, n)) < forbidden] = FAR
    assert np.array_equal(pairing(costs), linear_sum_assignment(costs)[1])


def test_lll_keeps_the_lattice_and_is_as_short_as_pymatgens(rng):
    for _ in range(30):
        cell = rng.normal(size=(3, 3)) + np.diag([2.0, 2.0, 2.0])
        cell[2] += 5 * cell[0] - 3 * cell[1]
        short, change = lll(cell)
        assert np.allclose(change @ cell, short)
        assert round(abs(np.linalg.det(change))) == 1
        lengths = np.sort(Lattice(cell).get_lll_reduced_lattice().lengths)
        assert np.allclose(np.sort(np.linalg.norm(short, axis=1)), lengths)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 8), noise=st.sampled_from([0.0, 0.05, 0.2]))
@settings(max_examples=25, deadline=None)
def test_reduced_cell_is_primitive_where_pymatgens_is(seed, n, noise):
    rng = np.random.default_rng(seed)
    structure = random_crystal(rng, ["C"] * n)
    structure.make_supercell([[1, 1, 0], [0, 2, 0], [0, 1, 1]])
    structure = displaced(structure, noise, rng)
    shuffled = Structure.from_sites([structure[int(place)] for place in rng.permutation(len(structure))])
    expected = shuffled.get_reduced_structure("niggli").get_primitive_structure()
    cell, sites, numbers = reduced_cell(Crystal.from_pymatgen(shuffled))
    assert len(numbers) == len(expected)
    assert np.allclose(np.linalg.norm(cell, axis=1), expected.lattice.lengths, rtol=1e-4)
    assert (sites >= 0).all()
    assert (sites < 1).all()

"""Weights of tetrahedra against phono3py's own function, and the triangulation against what defines it."""

import numpy as np
import phonors
import pytest
from phonopy.phonon.grid import BZGrid
from phonopy.phonon.tetrahedron_method import get_tetrahedra_relative_gr_grid_address

from kappaforge.transport.tetrahedra import Tetrahedra, on_shell, selling_superbase, tetrahedra_around_a_point

N_BANDS = 3
CELLS = {
    "face-centred": np.ones((3, 3)) - np.eye(3),
    "body-centred tetragonal": np.array([[-1.0, 1, 1.4], [1, -1, 1.4], [1, 1, -1.4]]),
    "hexagonal": np.array([[1, 0, 0], [-0.5, np.sqrt(3) / 2, 0], [0, 0, 1.6]]),
    "simple cubic": np.eye(3),
    "triclinic": np.array([[1, 0.1, 0.2], [0.3, 1.2, 0.1], [-0.2, 0.4, 0.9]]),
}


def bz_grid(name: str) -> BZGrid:
    """Return a grid of a crystal with one atom in the cell."""
    from phonopy.structure.atoms import PhonopyAtoms
    from phonopy.structure.symmetry import Symmetry

    atom = PhonopyAtoms(numbers=[6], cell=CELLS[name], scaled_positions=[[0.0, 0, 0]])
    dataset = Symmetry(atom).dataset
    return BZGrid([5, 5, 5], lattice=atom.cell, symmetry_dataset=dataset, is_time_reversal=True, lang="Rust")


def phonopys(grid: BZGrid) -> Tetrahedra:
    """Return phonopy's own tetrahedra, averaged over the point group."""
    every = get_tetrahedra_relative_gr_grid_address(grid, True)
    corners = every[:, np.any(every != 0, axis=(0, 2))]
    steps, places = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    return Tetrahedra(steps, places.reshape(-1, 3), np.full(len(every), 4 / len(every)))


def neighbours(grid: BZGrid, steps: np.ndarray) -> np.ndarray:
    addresses = (grid.addresses[grid.grg2bzg][:, None] + steps) % grid.D_diag
    first, second, _ = grid.D_diag
    return (addresses @ np.array([1, first, first * second])).astype(np.int32)


@pytest.mark.parametrize("name", CELLS)
def test_superbase_is_obtuse_and_spans_the_lattice(name: str) -> None:
    lattice = np.linalg.inv(CELLS[name]) @ np.array([[1, 4, 0], [0, 1, -3], [2, 0, 1]])
    superbase = selling_superbase(lattice)
    vectors = superbase @ lattice.T
    assert np.abs(superbase.sum(axis=0)).max() == 0
    assert abs(round(np.linalg.det(superbase[:3]))) == 1
    assert (vectors @ vectors.T)[np.triu_indices(4, 1)].max() < 1e-6


@pytest.mark.parametrize("name", CELLS)
def test_tetrahedra_have_the_symmetry_and_the_volume(name: str) -> None:
    grid = bz_grid(name)
    tetrahedra = tetrahedra_around_a_point(grid)
    corners = tetrahedra.steps[tetrahedra.corners]
    volumes = np.abs(np.linalg.det(corners)) * np.linalg.det(np.linalg.inv(grid.P))
    np.testing.assert_allclose(np.abs(volumes), 1.0)  # six in each cell of the grid
    assert tetrahedra.shares.sum() == pytest.approx(4.0)  # each cell has four corners in the mean
    shares = {
        frozenset(map(tuple, each)): share for each, share in zip(corners.tolist(), tetrahedra.shares, strict=True)
    }
    for rotation in grid.rotations:
        turned = (corners @ rotation.T).tolist()
        for each, share in zip(turned, tetrahedra.shares, strict=True):
            assert shares[frozenset(map(tuple, each))] == pytest.approx(share)


@pytest.mark.parametrize("name", CELLS)
def test_tetrahedra_do_not_depend_on_the_basis(name: str) -> None:
    """Their edges in Å⁻¹ are the same in a sheared cell of the same crystal."""
    sheared = CELLS | {"sheared": np.array([[1, 1, 0], [0, 1, -1], [0, 0, 1]]) @ CELLS[name]}
    found = []
    for cells, key in ((CELLS, name), (sheared, "sheared")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(CELLS, key, cells[key])
            grid = bz_grid(key)
        tetrahedra = tetrahedra_around_a_point(grid)
        corners = (tetrahedra.steps @ np.linalg.inv(grid.P).T @ grid.microzone_lattice.T)[tetrahedra.corners]
        edges = np.linalg.norm(corners[:, [0, 1, 2, 0, 1, 2]] - corners[:, [1, 2, 0, 2, 0, 1]], axis=2).sum(axis=1)
        order = np.lexsort((tetrahedra.shares, edges.round(9)))
        found.append((edges[order], tetrahedra.shares[order]))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other)


@pytest.mark.parametrize("name", CELLS)
def test_weights_are_those_of_phono3py_for_its_tetrahedra(name: str, rng: np.random.Generator) -> None:
    grid = bz_grid(name)
    frequencies = np.sort(rng.uniform(1.0, 5.0, size=(125, N_BANDS)), axis=1)
    ones, twos = rng.integers(125, size=(2, 40))
    targets = np.sort(rng.uniform(2.0, 9.0, size=N_BANDS))
    weights = np.zeros((3, len(ones), N_BANDS, N_BANDS, N_BANDS))
    in_zone = np.stack([np.zeros_like(ones), *(grid.grg2bzg[each] for each in (ones, twos))], axis=1)
    phonors.triplets_integration_weights(
        weights,
        np.zeros(weights.shape[1:], dtype="byte"),
        targets,
        get_tetrahedra_relative_gr_grid_address(grid, True),
        grid.D_diag,
        np.ascontiguousarray(in_zone),
        np.ascontiguousarray(frequencies[grid.bzg2grg]),
        np.ascontiguousarray(frequencies[grid.bzg2grg]),
        grid.addresses,
        grid.gp_map,
        2,  # gp_map is of the dense kind
        3,
    )
    decay, difference, everything = weights
    tetrahedra = phonopys(grid)
    near = neighbours(grid, tetrahedra.steps), neighbours(grid, -tetrahedra.steps)
    for one, two, expected in (
        (1.0, 1.0, decay),
        (-1.0, 1.0, (everything - decay + difference) / 2),
        (1.0, -1.0, (everything - decay - difference) / 2),
    ):
        places, density = on_shell(
            one, two, targets, ones, twos, frequencies, *near, tetrahedra.corners, tetrahedra.shares
        )
        found = np.zeros_like(expected)
        found[tuple(places)] = density
        assert len(density) > 100
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_density_of_all_points_is_one_state() -> None:
    """Summed over the grid and over frequencies, δ counts each pair of bands once."""
    grid = bz_grid("body-centred tetragonal")
    tetrahedra = tetrahedra_around_a_point(grid)
    near = neighbours(grid, tetrahedra.steps), neighbours(grid, -tetrahedra.steps)
    waves = np.cos(2 * np.pi * grid.addresses[grid.grg2bzg] / 5).sum(axis=1)
    frequencies = np.stack([5 + waves, 12 + waves / 2], axis=1)
    points = np.arange(125)
    targets = np.linspace(5.0, 30.0, 5001)
    places, density = on_shell(
        1.0, 1.0, targets, points, points, frequencies, *near, tetrahedra.corners, tetrahedra.shares
    )
    for bands in ((0, 0), (0, 1), (1, 1)):
        chosen = (places[2] == bands[0]) & (places[3] == bands[1])
        assert density[chosen].sum() * (targets[1] - targets[0]) / 125 == pytest.approx(1.0, rel=1e-3)

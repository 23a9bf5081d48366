"""Averaged SOAP against numerical quadrature, and its invariances."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.io import read
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial.legendre import Legendre
from scipy.linalg import inv, sqrtm
from scipy.special import ive

from kappaforge.crystal import Crystal
from kappaforge.describe.settings import DescribeSettings
from kappaforge.describe.soap import average_soap
from kappaforge.errors import InputError

PAPER = DescribeSettings()
BNN = Atoms(
    "BNN",
    positions=[[0.0, 0.0, 0.0], [1.3, 0.2, 0.0], [0.4, 1.5, 1.1]],
    cell=[[2.9, 0.0, 0.0], [0.3, 3.1, 0.0], [0.2, 0.5, 3.3]],
    pbc=True,
)
"""Three inequivalent atoms of two elements without any symmetry."""


def soap_by_quadrature(atoms, settings, species):
    """The averaged power spectrum with nothing of dscribe: radial integrals by quadrature, angles by Legendre's sums.

    The density expands in radial functions orthonormalised from r^l exp(-α r²) that decay to 1e-3 at equidistant
    radii; by the addition theorem Σ_m c_nlm c_n'lm is a double sum over the neighbours with P_l(cos θ).
    """
    r = np.linspace(0, 4 * settings.cutoff_ang, 3001)
    eta = 0.5 / settings.sigma_ang**2
    reach = settings.cutoff_ang + settings.sigma_ang * np.sqrt(-2 * np.log(1e-3))
    radii = np.linspace(1, settings.cutoff_ang, settings.n_max)
    spectra = []
    for centre in atoms.positions:
        shifts = np.array(list(np.ndindex(11, 11, 11))) - 5
        vectors = (shifts @ atoms.cell.array)[:, None] + atoms.positions - centre
        distances = np.linalg.norm(vectors, axis=-1)
        near = distances <= reach
        elements = np.broadcast_to(atoms.numbers, near.shape)[near]
        vectors, distances = vectors[near], distances[near]
        units = vectors / np.maximum(distances, 1e-9)[:, None]
        x = np.maximum(2 * eta * np.outer(distances, r), 1e-12)
        gaussians = np.exp(-eta * (r - distances[:, None]) ** 2) * np.sqrt(np.pi / (2 * x))
        blocks = {}
        for l in range(settings.l_max + 1):  # noqa: E741
            alphas = -np.log(1e-3 / radii**l) / radii**2
            primitives = r**l * np.exp(-np.outer(alphas, r**2))
            overlap = np.trapezoid(primitives[:, None] * primitives * r**2, r)
            radial = np.real(sqrtm(inv(overlap))) @ primitives
            c = 4 * np.pi * np.trapezoid(radial * (gaussians * ive(l + 0.5, x))[:, None] * r**2, r)
            angular = Legendre.basis(l)(np.clip(units @ units.T, -1, 1))
            prefactor = np.pi * np.sqrt(8 / (2 * l + 1)) * (2 * l + 1) / (4 * np.pi)
            for a in species:
                for b in species:
                    pairs = angular[np.ix_(elements == a, elements == b)]
                    blocks[l, a, b] = prefactor * c[elements == a].T @ pairs @ c[elements == b]
        upper = np.triu_indices(settings.n_max)
        spectra.append(
            np.concatenate(
                [
                    blocks[l, a, b][upper] if a == b else blocks[l, a, b].ravel()
                    for i, a in enumerate(species)
                    for b in species[i:]
                    for l in range(settings.l_max + 1)  # noqa: E741
                ]
            )
        )
    average = np.mean(spectra, axis=0)
    return average / np.linalg.norm(average)


@pytest.mark.parametrize(
    ("atoms", "settings"),
    [
        (BNN, DescribeSettings(n_max=4, l_max=3)),
        (BNN, DescribeSettings(cutoff_ang=3.5, sigma_ang=0.4, n_max=3, l_max=4)),
        (bulk("C", "diamond", a=3.567), PAPER),
    ],
)
def test_soap_equals_numerical_quadrature(atoms, settings):
    row = average_soap([Crystal.from_ase(atoms)], settings)[0]
    assert row == pytest.approx(soap_by_quadrature(atoms, settings, sorted(set(atoms.numbers))), abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_atoms=st.integers(1, 5))
def test_soap_does_not_depend_on_cell_order_or_place(seed, n_atoms):
    rng = np.random.default_rng(seed)
    cell = 3.0 * np.eye(3) + rng.normal(scale=0.4, size=(3, 3))
    atoms = Atoms(rng.choice([5, 7], n_atoms), scaled_positions=rng.uniform(size=(n_atoms, 3)), cell=cell, pbc=True)
    basis = [[1, 1, 0], [0, 1, -1], [0, 0, rng.integers(1, 3)]]
    other = make_supercell(atoms, basis)
    other = other[rng.permutation(len(other))]
    other.rotate(rng.uniform(0, 360), rng.normal(size=3), rotate_cell=True)
    other.positions += rng.normal(scale=10, size=3)
    rows = average_soap([Crystal.from_ase(atoms), Crystal.from_ase(other)], PAPER, species=["N", "B"])
    assert rows[1] == pytest.approx(rows[0], abs=1e-10)


def test_row_does_not_depend_on_the_other_crystals(diamond):
    silicon, nitride = Crystal.from_ase(bulk("Si", "diamond", a=5.43)), Crystal.from_ase(BNN)
    together = average_soap([nitride, diamond, silicon], PAPER, species=["C", "Si", "B", "N"])
    alone = average_soap([diamond], PAPER, species=["N", "B", "Si", "C"])
    assert np.array_equal(together[1], alone[0])


def test_rows_are_float64_of_unit_length(diamond):
    rows = average_soap([diamond, diamond], PAPER)
    assert rows.dtype == np.float64
    assert rows.shape == (2, 147)  # 6·7/2 pairs of radial functions × 7 degrees
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0)
    assert average_soap([], PAPER, species=["C", "N"]).shape == (0, 546)


def test_polytypes_of_diamond_lie_closer_to_it_than_most_of_carbon24(diamond, shared_data):
    others = read(shared_data / "carbon24" / "carbon24_cdvae_val_test_4062.extxyz.gz", ":200")
    polytypes = read(shared_data / "reference" / "diamond_polytypes_generated.extxyz.gz", ":")
    rows = average_soap([diamond, *map(Crystal.from_ase, polytypes + others)], PAPER)
    distances = np.linalg.norm(rows[1:] - rows[0], axis=1)
    assert distances[: len(polytypes)].max() < np.quantile(distances[len(polytypes) :], 0.1)


@pytest.mark.parametrize(
    ("species", "message"),
    [(["B"], "species: N occur in the crystals but not in B"), (["B", "N", "Xx1"], "species: expected symbols .* Xx1")],
)
def test_species_that_do_not_fit_are_named(species, message):
    with pytest.raises(InputError, match=message):
        average_soap([Crystal.from_ase(BNN)], PAPER, species=species)


def test_nothing_to_describe_is_an_input_error():
    with pytest.raises(InputError, match="expected crystals or at least one element"):
        average_soap([], PAPER)


@pytest.mark.parametrize(
    ("field", "value"),
    [("cutoff_ang", 1.0), ("sigma_ang", 0.0), ("n_max", 0), ("l_max", 21), ("l_max", 2.0), ("perplexity", np.inf)],
)
def test_describe_settings_name_the_bad_field(field, value):
    with pytest.raises(InputError, match=f"describe.{field}: expected .*, got "):
        DescribeSettings(**{field: value})

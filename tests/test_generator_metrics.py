"""Metrics of generated crystals against matminer's numbers, pymatgen pair by pair, and cases known by heart."""

import numpy as np
import pytest
from ase.build import bulk
from pymatgen.core import Lattice, Structure
from pymatgen.core.structure_matcher import StructureMatcher

from kappaforge.bonds import neighbour_counts
from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.generate.metrics.distributions import Coverage, coverage, wasserstein
from kappaforge.generate.metrics.fingerprint import structure_fingerprint
from kappaforge.generate.metrics.matching import distances_to_nearest, match_rate, reconstruction
from kappaforge.generate.metrics.validity import compositionally_valid, raw_quality, structurally_valid

# Entries that are not zero of matminer 0.10.1's CrystalNNFingerprint.from_preset("ops"), mean over the sites.
MATMINER = {
    "diamond": {12: 1.0, 13: 0.07996807, 14: 1.0, 15: 0.00702456, 16: 0.23425359, 17: 0.24520956},
    "graphite": {8: 1.0, 9: 1.0, 10: 0.28141273, 11: 0.03555034},
    "fcc": {44: 0.86735322, 45: 0.86735322, 47: 0.16561299, 48: 0.49831546},
    "rock salt": {22: 1.0, 23: 0.20006794, 24: 1.0, 25: 0.5},
    "low symmetry": {
        0: 0.13887112, 1: 0.13887112, 2: 0.15540508, 3: 0.01177357, 4: 0.02283493, 5: 0.06658017, 6: 0.03944584,
        7: 0.03328507, 8: 0.32436965, 9: 0.10957841, 10: 0.13865467, 11: 0.06564921, 12: 0.28356424, 13: 0.10497595,
        14: 0.09857292, 15: 0.12080361, 16: 0.129733, 17: 0.10829447, 18: 0.08302862, 19: 0.03228067, 20: 0.03491102,
        21: 0.03811666, 22: 0.01476129, 23: 0.00453981, 24: 0.00581242, 25: 0.00879419,
    },
}  # fmt: skip
LOW_SYMMETRY = [[0.1, 0.2, 0.3], [0.45, 0.7, 0.15], [0.8, 0.35, 0.6], [0.3, 0.9, 0.75], [0.65, 0.1, 0.95]]


def named(name):
    structures = {
        "diamond": Structure.from_spacegroup(227, Lattice.cubic(3.567), ["C"], [[0, 0, 0]]),
        "graphite": Structure.from_spacegroup(
            194, Lattice.hexagonal(2.464, 6.711), ["C", "C"], [[0, 0, 0.25], [1 / 3, 2 / 3, 0.25]]
        ),
        "fcc": Structure.from_spacegroup(225, Lattice.cubic(3.0), ["C"], [[0, 0, 0]]),
        "rock salt": Structure.from_spacegroup(225, Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
        "low symmetry": Structure(Lattice.from_parameters(3.1, 3.6, 4.2, 83, 97, 108), ["C"] * 5, LOW_SYMMETRY),
    }
    return Crystal.from_pymatgen(structures[name], id=name)


def disguised(crystal, rng, noise_ang=0.0):
    """The same crystal rotated, shifted, permuted, in another cell, and rattled."""
    order = rng.permutation(len(crystal))
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    cell = np.array([[1, 1, 0], [0, 1, 0], [0, 1, 1]]) @ crystal.cell @ rotation
    positions = crystal.positions[order] @ rotation + rng.normal(size=3)
    positions = positions + rng.normal(scale=noise_ang, size=positions.shape)
    return Crystal(cell, positions, crystal.numbers[order])


@pytest.fixture
def polymorphs():
    return [
        Crystal.from_ase(bulk("C", "diamond", a=3.567)),
        Crystal.from_ase(bulk("C", "sc", a=1.8)),
        named("graphite"),
        named("low symmetry"),
    ]


@pytest.mark.parametrize("name", sorted(MATMINER))
def test_fingerprint_is_matminers(name):
    expected = np.zeros(61)
    expected[list(MATMINER[name])] = list(MATMINER[name].values())
    assert structure_fingerprint(named(name)) == pytest.approx(expected, abs=2e-8)


def test_fingerprint_does_not_see_the_cell(rng):
    crystal = named("low symmetry")
    assert structure_fingerprint(disguised(crystal, rng)) == pytest.approx(structure_fingerprint(crystal), abs=1e-6)


def test_coverage_of_a_set_by_itself_is_complete(polymorphs):
    fingerprints = [structure_fingerprint(crystal) for crystal in polymorphs]
    assert coverage(fingerprints, fingerprints) == Coverage(1.0, 1.0)


def test_coverage_counts_both_ways():
    made, test = [np.zeros(2), np.full(2, 5.0), None, np.array([0.0, 0.1])], [np.zeros(2), np.full(2, 9.0), None]
    assert coverage(made, test) == Coverage(recall=0.5, precision=0.5)
    assert coverage(made, test, cutoff=100.0) == Coverage(recall=1.0, precision=0.75)
    assert coverage([None], test) == Coverage(0.0, 0.0)
    with pytest.raises(InputError, match="coverage needs"):
        coverage([], test)


def test_wasserstein_of_shifted_values_is_the_shift(rng):
    values = rng.normal(size=50)
    assert wasserstein(values, rng.permutation(values)) == pytest.approx(0)
    assert wasserstein(values, values + 0.7) == pytest.approx(0.7)
    assert wasserstein([*values, np.nan], values) == pytest.approx(0)
    assert np.isnan(wasserstein([np.nan], values))


def test_reconstruction_meets_disguised_copies(polymorphs, rng):
    result = reconstruction([disguised(crystal, rng) for crystal in polymorphs], polymorphs)
    assert result.rate == 1
    assert result.rmse == pytest.approx(0, abs=1e-6)


def test_reconstruction_is_cdvaes(polymorphs, rng):
    made = [*(disguised(polymorphs[index], rng, 0.1) for index in (0, 2, 0, 1)), None]
    originals = [polymorphs[index] for index in (0, 1, 0, 1, 0)]
    matcher = StructureMatcher(stol=0.5, angle_tol=10, ltol=0.3)
    pairs = [(one.to_pymatgen(), other.to_pymatgen()) for one, other in zip(made[:-1], originals[:-1], strict=True)]
    distances = [found[0] for one, other in pairs if (found := matcher.get_rms_dist(one, other))]
    assert 0 < len(distances) < 4
    result = reconstruction(made, originals)
    assert result.rate == len(distances) / 5
    assert result.rmse == pytest.approx(np.mean(distances))
    assert result.corrected_rmse == pytest.approx((sum(distances) + 0.5 * (5 - len(distances))) / 5)


def test_reconstruction_of_overlapping_atoms_does_not_match(diamond):
    close = Crystal(diamond.cell, [[0, 0, 0], [0.2, 0, 0]], [6, 6])
    assert reconstruction([close], [diamond]).rate == 0
    with pytest.raises(InputError, match="one reconstruction for each of the 2"):
        reconstruction([diamond], [diamond, diamond])


def test_nearest_is_the_smallest_over_all_pairs(polymorphs, rng):
    """METRe looks at every pair; so does this, by pymatgen."""
    made = [disguised(crystal, rng, noise) for crystal in polymorphs[:3] for noise in (0.15, 0.05)]
    matcher = StructureMatcher(stol=0.5, angle_tol=10, ltol=0.3)
    expected = [
        min(
            (found[0] for one in made if (found := matcher.get_rms_dist(one.to_pymatgen(), reference.to_pymatgen()))),
            default=None,
        )
        for reference in polymorphs
    ]
    distances = distances_to_nearest(polymorphs, made)
    assert [distance is None for distance in distances] == [False, False, False, True]
    assert distances[:3] == pytest.approx(expected[:3], abs=1e-6)
    assert expected[3] is None


def test_order_and_copies_of_what_was_made_do_not_matter(polymorphs, rng):
    made = [disguised(crystal, rng, 0.05) for crystal in polymorphs[:2]]
    once = distances_to_nearest(polymorphs, made)
    assert distances_to_nearest(polymorphs, [*made[::-1], *made]) == pytest.approx(once, abs=1e-9)


def test_metre_counts_references_and_corrects_for_those_missed():
    result = match_rate([0.1, None, 0.3, None])
    assert (result.rate, result.n) == (0.5, 4)
    assert result.rmse == pytest.approx(0.2)
    assert result.corrected_rmse == pytest.approx((0.1 + 0.3 + 0.5 + 0.5) / 4)
    assert np.isnan(match_rate([None]).rmse)
    with pytest.raises(InputError, match="nothing to match"):
        match_rate([])


def test_validity_sees_images_of_the_atom_itself():
    assert structurally_valid(Crystal(np.eye(3) * 1.0, [[0, 0, 0]], [6]))
    assert not structurally_valid(Crystal(np.diag([0.4, 3.0, 3.0]), [[0, 0, 0]], [6]))
    assert not structurally_valid(Crystal(np.eye(3) * 3.0, [[0, 0, 0], [0, 0, 2.7]], [6, 6]))


def test_composition_is_judged_for_one_element_only(diamond):
    assert compositionally_valid(diamond) is True
    assert compositionally_valid(named("rock salt")) is None


def test_raw_quality_of_carbon(diamond):
    quality = raw_quality(diamond)
    assert quality.shortest_distance_ang == pytest.approx(3.567 * np.sqrt(3) / 4)
    assert (quality.apart, quality.coordinated) == (True, True)
    assert raw_quality(named("graphite")).coordinated is True
    crowded = raw_quality(Crystal.from_ase(bulk("C", "sc", a=1.5)))
    assert (crowded.apart, crowded.coordinated) == (True, False), "six neighbours"
    assert raw_quality(Crystal.from_ase(bulk("C", "diamond", a=2.7))).apart is False, "1.17 Å"


def test_raw_quality_of_other_elements_goes_by_radii():
    sparse, dense = (Crystal.from_ase(bulk("NaCl", "rocksalt", a=a)) for a in (5.64, 4.2))
    assert (raw_quality(sparse).apart, raw_quality(dense).apart) == (True, False)
    assert raw_quality(sparse).coordinated is None


def test_neighbours_of_known_crystals(diamond):
    assert neighbour_counts(diamond).tolist() == [4, 4]
    assert neighbour_counts(named("graphite")).tolist() == [3] * 4

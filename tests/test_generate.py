"""Every generator keeps the promises of `Generator`; the random one also its own."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import spglib
from ase.data import covalent_radii

from kappaforge.crystal import Crystal
from kappaforge.dataset.distances import shortest_distance_ang
from kappaforge.errors import InputError
from kappaforge.generate.attempt import compatible, covalent_spheres_ang3
from kappaforge.generate.base import Generator, Proposal, proposal_id
from kappaforge.generate.pattern import pattern_of
from kappaforge.generate.registry import load
from kappaforge.generate.settings import GenerateSettings

SETTINGS = GenerateSettings(min_atoms=2, max_atoms=6)


def fingerprints(proposals: list[Proposal]) -> list[tuple]:
    """All that must not change, to the last bit."""
    return [
        (p.id, p.status, p.reason, p.space_group_number, p.crystal.cell.tobytes(), p.crystal.positions.tobytes())
        if p.crystal
        else (p.id, p.status, p.reason, p.space_group_number)
        for p in proposals
    ]


def operations(crystal, symprec=1e-3):
    cell = (crystal.cell, crystal.fractional, crystal.numbers)
    return spglib.get_symmetry_dataset(cell, symprec=symprec)


@pytest.fixture(params=["random", "flow", "cdvae"])
def name(request) -> str:
    """Each kind of generator in turn, by the name that loads it."""
    return "random" if request.param == "random" else str(request.getfixturevalue(f"small_{request.param}"))


@pytest.fixture
def settings(name) -> GenerateSettings:
    # the thousands of steps and second tries of a CDVAE would take minutes
    return replace(SETTINGS, steps=50, max_attempts=1) if "cdvae" in name else SETTINGS


@pytest.fixture
def generator(name, settings) -> Generator:
    return load(name, settings)


@pytest.fixture
def generator_of_groups(generator) -> Generator:
    """Those generators that know space groups."""
    if generator.name == "cdvae":
        with pytest.raises(InputError, match="without space groups"):
            generator.sample(1, spacegroup=194)
        pytest.skip("it works without space groups, and says so")
    return generator


def test_generator_meets_the_protocol(name, settings, generator):
    assert isinstance(generator, Generator)
    assert generator.batch >= 1
    assert generator.digest == load(name, settings).digest
    assert generator.digest != load(name, replace(settings, max_atoms=7)).digest
    assert generator.digest == load(name, replace(settings, n=3)).digest


def test_generator_gives_the_same_crystals_again(name, settings, generator):
    once = generator.sample(6, seed=3)
    again = load(name, settings).sample(6, seed=3)
    assert fingerprints(once) == fingerprints(again)
    assert fingerprints(once) != fingerprints(generator.sample(6, seed=4))


def test_generator_numbers_do_not_depend_on_the_batch(generator):
    whole = fingerprints(generator.sample(8, seed=1))
    pieces = generator.sample(3, first=5, seed=1) + generator.sample(1, first=4, seed=1) + generator.sample(4, seed=1)
    assert sorted(fingerprints(pieces)) == sorted(whole)
    assert [fingerprint[0] for fingerprint in whole] == [proposal_id(i) for i in range(8)]


def test_generator_proposals_are_complete_records(generator):
    for proposal in generator.sample(12, seed=2):
        assert proposal.status in ("ok", "failed")
        assert (proposal.status == "ok") == (proposal.crystal is not None) == (proposal.reason == "")
        if proposal.crystal:
            assert proposal.crystal.id == proposal.id
            assert proposal.crystal.source
            assert proposal.crystal.elements == {"C"}
            assert 2 <= len(proposal.crystal) <= 6
            assert shortest_distance_ang(proposal.crystal) > 1.0


def test_generator_respects_number_of_atoms_and_space_group(generator_of_groups):
    proposals = generator_of_groups.sample(6, seed=0, num_atoms=4, spacegroup=194)
    crystals = [proposal.crystal for proposal in proposals if proposal.crystal]
    assert len(crystals) >= 3
    for crystal in crystals:
        assert len(crystal) == 4
        found = operations(crystal)
        assert len(found.rotations) % 24 == 0, "the 24 operations of P6_3/mmc are among the crystal's"
        assert found.number >= 194
        assert len(found.mapping_to_primitive) == len(set(found.mapping_to_primitive)), "the cell is primitive"


def test_generator_reports_the_impossible_as_failed(generator_of_groups):
    # Ia-3d has no site for 5 atoms of a primitive cell
    (proposal,) = generator_of_groups.sample(1, num_atoms=5, spacegroup=230)
    assert proposal.status == "failed"
    assert proposal.crystal is None
    assert "\n" not in proposal.reason


@pytest.mark.parametrize("wrong", [{"n": -1}, {"first": -1}, {"seed": -1}, {"num_atoms": 0}, {"spacegroup": 231}])
def test_generator_refuses_arguments_out_of_range(generator, wrong):
    with pytest.raises(InputError):
        generator.sample(**({"n": 1} | wrong))


def test_unknown_generator_is_an_input_error_with_a_suggestion():
    with pytest.raises(InputError, match=r"unknown 'randm' \(did you mean 'random'\?\)"):
        load("randm")


def test_random_crystals_have_the_operations_of_their_space_group():
    proposals = load("random", GenerateSettings(max_atoms=10)).sample(25, seed=11)
    crystals = {p.id: p for p in proposals if p.crystal}
    assert len(crystals) >= 24
    for p in crystals.values():
        asked = spglib.get_spacegroup_type(_first_hall_number(p.space_group_number))
        order = len(spglib.get_symmetry_from_database(asked.hall_number)["rotations"])
        order //= {"P": 1, "A": 2, "B": 2, "C": 2, "I": 2, "F": 4, "R": 3}[asked.international_short[0]]
        assert len(operations(p.crystal).rotations) % order == 0, p.space_group_number


def _first_hall_number(number: int) -> int:
    return next(hall for hall in range(1, 531) if spglib.get_spacegroup_type(hall).number == number)


def test_random_crystals_keep_density_and_distances():
    crystals = [p.crystal for p in load("random", SETTINGS).sample(25, seed=5) if p.crystal]
    assert len(crystals) >= 24
    for crystal in crystals:
        assert 2.2 <= crystal.density_g_per_cm3 <= 3.65
        assert shortest_distance_ang(crystal) >= 0.8 * 2 * covalent_radii[6] - 1e-9


def test_random_crystals_of_a_fixed_formula():
    settings = GenerateSettings(elements=("B", "N"), formula="BN", min_atoms=2, max_atoms=6)
    crystals = [p.crystal for p in load("random", settings).sample(8, seed=0) if p.crystal]
    assert len(crystals) >= 7
    for crystal in crystals:
        assert (crystal.numbers == 5).sum() == (crystal.numbers == 7).sum() == len(crystal) / 2


def test_random_crystals_of_free_composition_hold_every_element():
    settings = GenerateSettings(elements=("B", "C", "N"), min_atoms=3, max_atoms=6)
    crystals = [p.crystal for p in load("random", settings).sample(8, seed=0) if p.crystal]
    assert len(crystals) >= 7
    assert all(crystal.elements == {"B", "C", "N"} for crystal in crystals)
    assert len({crystal.formula for crystal in crystals}) > 2


def test_attempts_end_in_time_in_any_thread():
    generator = load("random", replace(SETTINGS, max_seconds_per_attempt=1e-9, max_attempts=3))
    results: list[Proposal] = []
    thread = threading.Thread(target=lambda: results.extend(generator.sample(2)))
    thread.start()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert [proposal.status for proposal in results] == ["failed", "failed"]
    assert "stopped after 1e-09 s" in results[0].reason


def test_crystals_too_dense_to_exist_fail_after_bounded_work():
    settings = GenerateSettings(volume_factor=(0.3, 0.3), max_attempts=2, max_placements=5)
    proposals = load("random", settings).sample(3)
    assert {proposal.status for proposal in proposals} == {"failed"}
    assert all("last of 2 attempts" in proposal.reason for proposal in proposals)


def test_threads_do_not_disturb_each_other():
    expected = fingerprints(load("random", SETTINGS).sample(6, seed=9))
    results: list[list[Proposal]] = []
    threads = [
        threading.Thread(target=lambda: results.append(load("random", SETTINGS).sample(6, seed=9))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [fingerprints(result) for result in results] == [expected] * 3


def test_compatible_space_groups_are_those_with_fitting_sites():
    assert compatible(227, (2,)), "diamond: 8a of Fd-3m"
    assert not compatible(227, (1,)), "the smallest orbit of Fd-3m has two atoms in the primitive cell"
    assert not compatible(230, (5,))


def test_covalent_spheres_add_up():
    radii = covalent_radii[[6, 7]]
    expected = 4 / 3 * np.pi * (2 * radii[0] ** 3 + radii[1] ** 3)
    assert covalent_spheres_ang3({"C": 2, "N": 1}) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"n": 0}, "n: "),
        ({"min_atoms": 5, "max_atoms": 4}, "max_atoms: "),
        ({"elements": ()}, "elements: "),
        ({"elements": ("C", "C")}, "elements: "),
        ({"space_groups": (0,)}, "space_groups: "),
        ({"volume_factor": (2.0, 1.0)}, "volume_factor: "),
        ({"min_distance_factor": 0.0}, "min_distance_factor: "),
        ({"max_seconds_per_attempt": float("nan")}, "max_seconds_per_attempt: "),
    ],
)
def test_settings_name_the_wrong_field(wrong, named):
    with pytest.raises(InputError, match=named):
        GenerateSettings(**wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"elements": ("Cx",)}, "unknown 'Cx'"),
        ({"formula": "SiC"}, "expected a formula of C, got 'SiC'"),
        ({"formula": "C("}, "expected a formula"),
        ({"elements": ("B", "N"), "formula": "B2N3", "min_atoms": 2, "max_atoms": 4}, "a multiple of 5"),
        ({"elements": ("B", "C", "N"), "min_atoms": 1, "max_atoms": 2}, "at least 3"),
    ],
)
def test_random_generator_refuses_settings_it_cannot_follow(wrong, message):
    with pytest.raises(InputError, match=message):
        load("random", GenerateSettings(**wrong))


@pytest.mark.parametrize("old", [True, False])
def test_overlapping_atoms_have_no_pattern_in_either_mode_of_spglib(monkeypatch, old):
    """Importing phonopy, as every campaign does, makes spglib raise where it returned None."""
    monkeypatch.delenv("SPGLIB_OLD_ERROR_HANDLING", raising=False)
    monkeypatch.setattr(spglib.error, "OLD_ERROR_HANDLING", old)
    assert pattern_of(Crystal(np.eye(3) * 3, [[0, 0, 0], [0, 0, 0.05]], [6, 6])) is None

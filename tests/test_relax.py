"""Relaxation against ASE, energy–volume curves and finite differences, and what becomes of hopeless crystals."""

import os
import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE
from ase.spacegroup.symmetrize import check_symmetry, prep_symmetry, symmetrize_rank1, symmetrize_rank2
from ase.units import GPa
from matscipy.calculators.manybody import Manybody
from matscipy.calculators.manybody.explicit_forms.tersoff_brenner import Brenner_PRB_42_9458_C_II, TersoffBrenner
from scipy.optimize import minimize_scalar

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.potentials.base import Batch, Potential, UnsupportedElementError
from kappaforge.potentials.registry import load
from kappaforge.relax.coordinates import Coordinates
from kappaforge.relax.relaxer import relax
from kappaforge.relax.settings import MINIMISERS, RelaxSettings
from kappaforge.relax.symmetry import symmetrised

SETTINGS = RelaxSettings(fmax_ev_per_ang=1e-3, stress_max_gpa=0.02)


@pytest.fixture(scope="module")
def potential():
    return load("brenner")


def lonsdaleite() -> Atoms:
    scaled = [[1 / 3, 2 / 3, 0.06], [2 / 3, 1 / 3, 0.56], [2 / 3, 1 / 3, 0.94], [1 / 3, 2 / 3, 0.44]]
    return Atoms("C4", cell=[[2.5, 0, 0], [-1.25, 2.5 * 0.75**0.5, 0], [0, 0, 4.2]], scaled_positions=scaled, pbc=True)


def bct_c4() -> Atoms:
    scaled = [[0.18, 0.18, 0], [0.82, 0.82, 0], [0.68, 0.32, 0.5], [0.32, 0.68, 0.5]]
    scaled += [[0.18, 0.82, 0], [0.82, 0.18, 0], [0.68, 0.68, 0.5], [0.32, 0.32, 0.5]]
    return Atoms("C8", cell=[4.4, 4.4, 2.5], scaled_positions=scaled, pbc=True)


def shaken(atoms: Atoms, seed: int, strain: float = 0.03, distance: float = 0.08) -> Crystal:
    rng = np.random.default_rng(seed)
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain * rng.normal(size=(3, 3))), scale_atoms=True)
    atoms.positions += distance * rng.normal(size=atoms.positions.shape)
    return Crystal.from_ase(atoms, id=f"shaken-{seed}")


@pytest.fixture(scope="module")
def crystals() -> list[Crystal]:
    starts = [bulk("C", "diamond", a=3.6), lonsdaleite(), bct_c4(), bulk("C", "diamond", a=3.5) * (2, 1, 1)]
    return [shaken(atoms, seed) for seed, atoms in enumerate(starts)]


def assert_same_records(records, others):
    for one, other in zip(records, others, strict=True):
        np.testing.assert_array_equal(one.crystal.cell, other.crystal.cell)
        np.testing.assert_array_equal(one.crystal.positions, other.crystal.positions)
        assert one.energy_ev_per_atom == other.energy_ev_per_atom
        assert (one.status, one.reason, one.steps) == (other.status, other.reason, other.steps)


def test_relaxer_finds_the_minima_that_ase_finds(crystals, potential):
    for record, crystal in zip(relax(crystals, potential, SETTINGS), crystals, strict=True):
        atoms = crystal.to_ase()
        atoms.calc = Manybody(**TersoffBrenner(Brenner_PRB_42_9458_C_II))
        assert FIRE(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-3, steps=600)
        assert (record.status, record.reason) == ("ok", "")
        assert record.energy_ev_per_atom == pytest.approx(atoms.get_potential_energy() / len(atoms), abs=1e-4)
        np.testing.assert_allclose(
            np.sort(record.crystal.to_ase().cell.lengths()), np.sort(atoms.cell.lengths()), atol=5e-3
        )
        assert record.crystal.volume_ang3 == pytest.approx(atoms.get_volume(), rel=1e-3)


def test_record_tells_the_truth_about_its_crystal(crystals, potential):
    for record, crystal in zip(relax(crystals, potential, SETTINGS), crystals, strict=True):
        energies, forces, stresses = potential.compute(Batch.of([record.crystal]))
        assert record.energy_ev_per_atom == pytest.approx(energies[0] / len(crystal), abs=1e-10)
        assert record.fmax_ev_per_ang == pytest.approx(np.linalg.norm(forces, axis=1).max(), abs=1e-8)
        assert record.stress_max_gpa == pytest.approx(np.abs(stresses).max() / GPa, abs=1e-6)
        assert record.fmax_ev_per_ang <= SETTINGS.fmax_ev_per_ang
        assert record.stress_max_gpa <= SETTINGS.stress_max_gpa
        assert record.id == record.crystal.id == crystal.id
        assert record.crystal.parents == (crystal.digest,)


def test_lattice_constant_is_the_minimum_of_an_energy_volume_curve(diamond, potential):
    def energy(lattice_constant: float) -> float:
        return potential.compute(Batch.of([Crystal.from_ase(bulk("C", "diamond", a=lattice_constant))])).energies_ev[0]

    minimum = minimize_scalar(energy, bounds=(3.3, 3.8), method="bounded", options={"xatol": 1e-7}).x
    (record,) = relax([diamond], potential, SETTINGS.tightened())
    assert record.crystal.volume_ang3 ** (1 / 3) * 4 ** (1 / 3) == pytest.approx(minimum, abs=1e-4)


def test_pressure_squeezes_to_minus_the_slope_of_the_energy_volume_curve(potential):
    crystal, pressure_gpa = Crystal.from_ase(bulk("C", "diamond", a=3.567)), 50.0
    settings = replace(SETTINGS.tightened(), pressure_gpa=pressure_gpa)
    free, squeezed, pulled = (
        relax([crystal], potential, replace(settings, pressure_gpa=pressure))[0].crystal
        for pressure in (0.0, pressure_gpa, -pressure_gpa)
    )
    assert squeezed.volume_ang3 < free.volume_ang3 < pulled.volume_ang3
    sides = [squeezed.moved_to(squeezed.cell * scale, squeezed.positions * scale) for scale in (1 - 1e-4, 1 + 1e-4)]
    energies = potential.compute(Batch.of(sides)).energies_ev
    slope_gpa = (energies[1] - energies[0]) / (sides[1].volume_ang3 - sides[0].volume_ang3) / GPa
    assert -slope_gpa == pytest.approx(pressure_gpa, abs=0.05)


@pytest.mark.parametrize("minimiser", MINIMISERS)
@pytest.mark.parametrize("keep_symmetry", [False, True])
def test_company_does_not_change_a_result_by_a_bit(crystals, potential, minimiser, keep_symmetry):
    settings = replace(SETTINGS, minimiser=minimiser, keep_symmetry=keep_symmetry)
    longest = max(record.steps for record in relax(crystals, potential, settings))
    settings = replace(settings, max_steps=longest - 1)
    alone = [relax([crystal], potential, settings)[0] for crystal in crystals]
    assert {record.status for record in alone} == {"ok", "unconverged"}
    assert_same_records(relax(crystals, potential, settings), alone)
    assert_same_records(relax(crystals, potential, settings, atoms_at_once=8), alone)
    assert_same_records(relax(crystals[::-1], potential, settings, atoms_at_once=12), alone[::-1])


@dataclass
class Watched:
    """A potential that notes the number of atoms of each batch."""

    potential: Potential
    atoms: list[int]

    def __getattr__(self, name):
        return getattr(self.potential, name)

    def compute(self, batch: Batch):
        self.atoms.append(len(batch.numbers))
        return self.potential.compute(batch)


def test_crystals_enter_where_others_leave(crystals, potential):
    watched, stream, at_once = Watched(potential, []), crystals[:2] * 4, 8
    records = relax(stream, watched, SETTINGS, atoms_at_once=at_once)
    assert [record.id for record in records] == [crystal.id for crystal in stream]
    largest = max(len(crystal) for crystal in stream)
    assert max(watched.atoms) <= at_once
    full = [at_once - largest < atoms for atoms in watched.atoms]
    assert full == sorted(full, reverse=True)
    assert sum(watched.atoms) == sum(
        len(crystal) * (record.steps + 1) for crystal, record in zip(stream, records, strict=True)
    )


def test_crystal_larger_than_the_room_relaxes_alone(crystals, potential):
    watched = Watched(potential, [])
    assert {record.status for record in relax(crystals[:3], watched, SETTINGS, atoms_at_once=1)} == {"ok"}
    assert sorted(set(watched.atoms)) == sorted({len(crystal) for crystal in crystals[:3]})


@pytest.mark.parametrize("minimiser", MINIMISERS)
def test_hopeless_crystals_fail_with_their_reason_and_cost_no_other(crystals, potential, minimiser):
    settings = replace(SETTINGS, minimiser=minimiser, max_volume_ratio=1.3)
    far = Crystal(9 * np.eye(3), np.array([[0, 0, 0], [1.4, 0, 0], [4.5, 4.5, 4.5]]), np.full(3, 6), id="apart")
    near = Crystal(4 * np.eye(3), np.array([[0, 0, 0], [0.3, 0, 0]]), np.full(2, 6), id="near")
    on_top = Crystal(4 * np.eye(3), np.zeros((2, 3)), np.full(2, 6), id="on top")
    swollen = Crystal.from_ase(bulk("C", "diamond", a=4.1), id="swollen")
    records = relax([far, near, crystals[0], on_top, swollen], potential, settings, atoms_at_once=4)
    assert [record.status for record in records] == ["failed", "failed", "ok", "failed", "failed"]
    assert "an atom is farther than 6 Å from all others" in records[0].reason
    assert "two atoms are 0.30 Å apart" in records[1].reason
    assert "no finite answer after 0 steps" in records[3].reason
    assert "the volume changed by a factor of 0." in records[4].reason
    assert_same_records([records[2]], relax([crystals[0]], potential, settings))


@pytest.mark.parametrize("minimiser", MINIMISERS)
def test_crystal_pulled_apart_fails_with_its_volume(potential, minimiser):
    settings = replace(SETTINGS, minimiser=minimiser, pressure_gpa=-2000.0)
    (record,) = relax([Crystal.from_ase(bulk("C", "diamond", a=3.567))], potential, settings)
    assert record.status == "failed"
    assert re.match(r"the volume changed by a factor of [5-9]", record.reason)


def test_all_minimisers_find_the_same_minima(crystals, potential):
    found = [relax(crystals, potential, replace(SETTINGS, minimiser=minimiser)) for minimiser in MINIMISERS]
    for fire, both, lbfgs in zip(*found, strict=True):
        assert fire.status == both.status == lbfgs.status == "ok"
        assert lbfgs.energy_ev_per_atom == pytest.approx(fire.energy_ev_per_atom, abs=1e-4)
        assert both.energy_ev_per_atom == pytest.approx(fire.energy_ev_per_atom, abs=1e-4)
        assert lbfgs.steps <= both.steps < fire.steps


def test_other_calculators_relax_as_well():
    record, other = relax(
        [shaken(bulk("Cu", "fcc", a=3.7), 1), shaken(bulk("Al", "fcc", a=4.1), 2)],
        load("ase:ase.calculators.emt:EMT"),
        SETTINGS,
    )
    assert record.status == other.status == "ok"
    assert record.crystal.volume_ang3 == pytest.approx(3.59**3 / 4, rel=0.01)


def test_relaxer_waits_for_the_stress_where_symmetry_holds_the_forces_at_zero(potential):
    swollen = Crystal.from_ase(bulk("C", "diamond", a=3.7))
    (record,) = relax([swollen], potential, replace(SETTINGS, max_steps=0))
    assert record.fmax_ev_per_ang < 1e-10
    assert record.status == "unconverged"
    assert relax([swollen], potential, SETTINGS)[0].steps > 0


def test_relaxer_reports_what_remains_at_the_last_step(crystals, potential):
    (record,) = relax(crystals[:1], potential, replace(SETTINGS, max_steps=3))
    assert (record.status, record.steps) == ("unconverged", 3)
    assert f"fmax is {record.fmax_ev_per_ang:.2g} eV/Å (wanted 0.001)" in record.reason
    assert f"stress is {record.stress_max_gpa:.2g} GPa off (wanted 0.02)" in record.reason
    assert record.crystal.digest != crystals[0].digest


def test_crystal_that_is_relaxed_already_comes_back_unchanged(crystals, potential):
    (first,) = relax(crystals[:1], potential, SETTINGS)
    (second,) = relax([first.crystal], potential, SETTINGS)
    assert (second.status, second.steps) == ("ok", 0)
    assert second.crystal is first.crystal


@pytest.mark.parametrize(
    ("distance", "reason"), [(0.0, "no finite answer after 0 steps"), (0.3, "two atoms are 0.30 Å apart after 0 steps")]
)
def test_overlapping_atoms_fail_alone(crystals, potential, distance, reason):
    overlapping = Crystal(4 * np.eye(3), np.array([[0, 0, 0], [distance, 0, 0]]), np.array([6, 6]), id="overlapping")
    records = relax([overlapping, crystals[0]], potential, SETTINGS)
    assert [record.status for record in records] == ["failed", "ok"]
    assert reason in records[0].reason
    assert records[0].crystal is overlapping


def test_collapsing_crystal_fails_with_its_volume(potential):
    settings = replace(SETTINGS, max_volume_ratio=1.05)
    (record,) = relax([Crystal.from_ase(bulk("C", "diamond", a=3.8))], potential, settings)
    assert record.status == "failed"
    assert "the volume changed by a factor of 0." in record.reason


def test_unknown_element_stops_before_anything_is_relaxed(crystals, potential):
    with pytest.raises(UnsupportedElementError, match="does not know Si"):
        relax([crystals[0], Crystal.from_ase(bulk("Si"))], potential, SETTINGS)


def test_no_crystals_give_no_records(potential):
    assert relax([], potential, SETTINGS) == []


@pytest.mark.parametrize("atoms", [lonsdaleite(), bct_c4(), bct_c4() * (1, 1, 2)], ids=["lonsdaleite", "bct", "bct x2"])
def test_kept_symmetry_is_exact_after_a_noisy_start(atoms, potential):
    noisy = shaken(atoms, 3, strain=0.0, distance=1e-3)
    number = check_symmetry(atoms, 1e-3).number
    assert check_symmetry(noisy.to_ase(), 1e-5).number != number
    (record,) = relax([noisy], potential, SETTINGS.tightened())
    assert record.status == "ok"
    assert check_symmetry(record.crystal.to_ase(), 1e-6).number == number


def test_symmetry_averages_equal_those_of_ase(rng):
    crystal, projector = symmetrised(Crystal.from_ase(bct_c4()), 1e-3)
    cell, inverse = crystal.cell, np.linalg.inv(crystal.cell)
    rotations, translations, images = prep_symmetry(crystal.to_ase(), 1e-3)
    forces, stress = rng.normal(size=(8, 3)), rng.normal(size=(3, 3))
    expected = symmetrize_rank1(cell, inverse, forces, rotations, translations, images)
    np.testing.assert_allclose(projector.forces(forces), expected, atol=1e-12)
    np.testing.assert_allclose(projector.stress(stress), symmetrize_rank2(cell, inverse, stress, rotations), atol=1e-12)


def test_crystal_without_a_space_group_is_left_as_it_is():
    overlapping = Crystal(4 * np.eye(3), np.zeros((2, 3)), np.array([6, 6]))
    crystal, projector = symmetrised(overlapping, 1e-2)
    assert crystal is overlapping
    np.testing.assert_array_equal(projector.vectors, np.eye(6))


def test_keeping_symmetry_leaves_the_error_handling_of_spglib_alone():
    before = os.environ.get("SPGLIB_OLD_ERROR_HANDLING")
    symmetrised(Crystal.from_ase(bct_c4()), 1e-3)
    assert os.environ.get("SPGLIB_OLD_ERROR_HANDLING") == before


def test_row_forces_are_minus_the_gradient_of_the_enthalpy(potential, rng):
    pressure, step = 0.3, 1e-5
    start = Coordinates.of(Batch.of([shaken(bct_c4(), 1), shaken(bulk("C", "diamond", a=3.5), 2)]))
    start = start.moved(0.1 * rng.normal(size=start.rows.shape))
    cells = start.rows[~start.is_atom].reshape(-1, 3, 3)
    start.rows[~start.is_atom] = (cells + cells.transpose(0, 2, 1)).reshape(-1, 3)

    def enthalpies(coordinates: Coordinates) -> np.ndarray:
        geometry = coordinates.geometry()
        return potential.compute(geometry).energies_ev + pressure * np.abs(np.linalg.det(geometry.cells))

    _, forces, stresses = potential.compute(start.geometry())
    downhill = start.forces(forces, stresses + pressure * np.eye(3))
    direction = rng.normal(size=start.rows.shape)
    slopes = (enthalpies(start.moved(step * direction)) - enthalpies(start.moved(-step * direction))) / (2 * step)
    np.testing.assert_allclose(np.bincount(start.owner, -(downhill * direction).sum(axis=1)), slopes, rtol=1e-6)


def test_undeformed_coordinates_are_the_crystals_themselves(crystals):
    batch = Batch.of(crystals)
    geometry = Coordinates.of(batch).geometry()
    np.testing.assert_array_equal(geometry.cells, batch.cells)
    np.testing.assert_array_equal(geometry.positions, batch.positions)


def test_settings_know_their_minimisers():
    with pytest.raises(InputError, match=r"\[relax\] minimiser: unknown 'bfgs'.*lbfgs"):
        RelaxSettings(minimiser="bfgs")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("fmax_ev_per_ang", 0.0),
        ("stress_max_gpa", -1.0),
        ("symprec", float("nan")),
        ("pressure_gpa", float("inf")),
        ("max_steps", 2.5),
        ("max_volume_ratio", 1.0),
    ],
)
def test_settings_name_the_value_they_refuse(key, value):
    with pytest.raises(InputError, match=rf"\[relax\] {key}: expected .* got {value}"):
        RelaxSettings(**{key: value})


def test_tightened_settings_are_never_looser():
    assert RelaxSettings().tightened().fmax_ev_per_ang == 1e-4
    assert RelaxSettings(fmax_ev_per_ang=1e-6).tightened().fmax_ev_per_ang == 1e-6
    assert RelaxSettings().tightened().keep_symmetry

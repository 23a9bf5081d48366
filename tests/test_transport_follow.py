"""Following imaginary modes: what a mode is, where it leads, and what the record says of it."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write
from ase.units import _amu, _e
from phonopy import Phonopy
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from kappaforge.campaign import candidate
from kappaforge.campaign.candidate import CandidateRecord, candidate_columns, kappa_of
from kappaforge.cli.main import app
from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.potentials.base import Batch, Potential
from kappaforge.potentials.registry import load
from kappaforge.relax.settings import RelaxSettings
from kappaforge.screen.settings import ScreenSettings
from kappaforge.store.codec import decode, encode
from kappaforge.transport.conductivity import conductivity
from kappaforge.transport.follow import ImaginaryMode, displaced_along, one_of_degenerate, small_waves
from kappaforge.transport.force_constants import phonopy_with
from kappaforge.transport.order_settings import ForceConstantSettings
from kappaforge.transport.orders import order2
from kappaforge.transport.primitive import primitive_crystal
from kappaforge.transport.settings import KappaSettings, PaperProtocol

FORCES = ForceConstantSettings(fc2_face_distance_ang=6.0, displacement_ang=0.01, way="finite")
HARMONIC = KappaSettings(level="harmonic", mesh_length_ang=11.0, force_constants=FORCES)
FOLLOW = replace(HARMONIC, follow_imaginary=3)
EV_PER_AMU_ANG2_THZ2 = _amu * 1e-20 * 1e24 / _e


def taken(crystal: Crystal, potential: Potential, settings: KappaSettings = FOLLOW) -> CandidateRecord:
    return kappa_of(crystal, potential, RelaxSettings(), settings, ScreenSettings())


def energy_ev(crystal: Crystal, potential: Potential) -> float:
    return float(potential.compute(Batch.of([crystal])).energies_ev[0])


@pytest.fixture(scope="module")
def brenner() -> Potential:
    return load("brenner")


@pytest.fixture(scope="module")
def emt() -> Potential:
    return load("ase:ase.calculators.emt:EMT")


@pytest.fixture(scope="module")
def simple_cubic() -> Crystal:
    return Crystal.from_ase(bulk("C", "sc", a=1.8), id="sc")


@pytest.fixture(scope="module")
def unstable(simple_cubic: Crystal, brenner: Potential) -> CandidateRecord:
    return taken(simple_cubic, brenner, HARMONIC)


@pytest.fixture(scope="module")
def followed(simple_cubic: Crystal, brenner: Potential) -> CandidateRecord:
    return taken(simple_cubic, brenner)


@pytest.fixture(scope="module")
def alloy(emt: Potential) -> tuple[Crystal, Phonopy]:
    """Ordered CuAu, whose two masses differ, away from its minimum, with force constants as far as forces reach."""
    primitive = primitive_crystal(Crystal.from_ase(bulk("CuAu", "zincblende", a=5.6)), 1e-3)
    second = order2(primitive, emt, replace(FORCES, fc2_face_distance_ang=14.0, displacement_ang=0.002))
    phonopy = phonopy_with(primitive.crystal, second.choice.matrix)
    phonopy.force_constants = second.fc2
    return primitive.crystal, phonopy


def modes(phonopy: Phonopy, crystal: Crystal, n_cells: int) -> list[ImaginaryMode]:
    """One mode at each small q that needs so many cells, whether imaginary or not."""
    found = []
    for numerators, cells in zip(*small_waves(n_cells), strict=True):
        if cells == n_cells:
            q = numerators / cells
            solved = phonopy.run_qpoints([q], with_eigenvectors=True)
            band = 4 if n_cells == 1 else len(found) % 6
            (frequencies,), (vectors,) = solved.frequencies, solved.eigenvectors
            same = np.abs(frequencies - frequencies[band]) < 1e-4
            vector = one_of_degenerate(vectors[:, same], q, crystal.cell, phonopy.primitive.scaled_positions)
            found.append(
                ImaginaryMode(q=q, n_cells=n_cells, band=band, frequency_thz=frequencies[band], eigenvector=vector)
            )
    return found


def test_small_waves_are_all_points_of_each_order_once():
    """Points of order n on the torus are as many as Jordan's totient J₃ says: 1, 7, 26, 56."""
    numerators, n_cells = small_waves(4)
    points = {tuple((sign * k % n / n).tolist()) for k, n in zip(numerators, n_cells, strict=True) for sign in (1, -1)}
    assert len(points) == 1 + 7 + 26 + 56
    assert np.bincount(n_cells).tolist() == [0, 1, 7, 13, 28]
    assert not numerators[0].any()


@pytest.mark.parametrize("n_cells", [1, 2, 3, 4])
def test_energy_along_a_mode_is_that_of_its_frequency(alloy, emt, n_cells):
    """½ ω² Σ m u² to second order, in the smallest supercell, for every kind of q."""
    crystal, phonopy = alloy
    at_rest = energy_ev(crystal, emt)
    for mode in modes(phonopy, crystal, n_cells)[::3]:
        amplitude_ang = 0.01
        displaced = {sign: displaced_along(crystal, mode, sign * amplitude_ang) for sign in (1, -1)}
        assert len(displaced[1]) == n_cells * len(crystal)
        assert displaced[1].volume_ang3 == pytest.approx(n_cells * crystal.volume_ang3)
        moves = (displaced[1].positions - displaced[-1].positions) / 2
        assert np.linalg.norm(moves, axis=1).max() == pytest.approx(amplitude_ang)
        masses = displaced[1].to_ase().get_masses()
        omega2 = np.sign(mode.frequency_thz) * (2 * np.pi * mode.frequency_thz) ** 2
        expected = 0.5 * omega2 * (masses * (moves**2).sum(axis=1)).sum() * EV_PER_AMU_ANG2_THZ2
        changes = [energy_ev(each, emt) - n_cells * at_rest for each in displaced.values()]
        assert np.mean(changes) == pytest.approx(expected, rel=5e-3, abs=2e-7)


def test_combination_of_degenerate_modes_does_not_depend_on_basis_phase_or_frame(alloy, rng):
    crystal, phonopy = alloy
    fractional = np.array(phonopy.primitive.scaled_positions)
    q = np.array([0.25, 0.25, 0.25])
    vectors = phonopy.run_qpoints([q], with_eigenvectors=True).eigenvectors[0][:, :2]
    mixed = vectors @ np.linalg.qr(rng.normal(size=(2, 2)) + 1j * rng.normal(size=(2, 2)))[0]
    ours = one_of_degenerate(vectors, q, crystal.cell, fractional)
    np.testing.assert_allclose(one_of_degenerate(mixed, q, crystal.cell, fractional), ours, atol=1e-10)
    turn = Rotation.from_euler("xyz", [20, 50, -35], degrees=True).as_matrix()
    turned = np.einsum("ij,ajm->aim", turn, mixed.reshape(-1, 3, 2)).reshape(-1, 2)
    np.testing.assert_allclose(
        one_of_degenerate(turned, q, crystal.cell @ turn.T, fractional), ours @ turn.T, atol=1e-10
    )


def test_unstable_record_holds_the_mode_and_its_energy_falls_as_the_frequency_says(unstable, brenner):
    record = unstable.kappa
    mode = record.imaginary
    assert (unstable.status, record.status) == ("unstable", "unstable")
    assert (mode.n_cells, mode.q.tolist()) == (2, [0.5, 0.5, 0.5])
    assert mode.words in record.reason
    assert mode.frequency_thz == pytest.approx(record.min_frequency_thz)
    displaced = displaced_along(record.crystal, mode, 0.01)
    moves = displaced.positions - displaced_along(record.crystal, mode, 0.0).positions
    fall = energy_ev(displaced, brenner) - 2 * energy_ev(record.crystal, brenner)
    mass = record.crystal.to_ase().get_masses()[0]
    expected = -0.5 * (2 * np.pi * mode.frequency_thz) ** 2 * mass * (moves**2).sum() * EV_PER_AMU_ANG2_THZ2
    assert fall == pytest.approx(expected, rel=0.02)
    (again,) = decode(encode((record,)))
    np.testing.assert_array_equal(again.imaginary.eigenvector, mode.eigenvector)


def test_simple_cubic_carbon_is_followed_to_a_stable_crystal_of_lower_energy(unstable, followed):
    assert unstable.followed == ()
    assert followed.status == "ok"
    assert followed.kappa.min_frequency_thz > -1e-3
    assert followed.relaxation.energy_ev_per_atom < unstable.relaxation.energy_ev_per_atom - 1
    assert followed.id == "sc"
    (step,) = followed.followed
    assert step.startswith(unstable.kappa.imaginary.words + ": space group 221 → 227, −2.0")
    assert step.endswith(" eV/atom")
    assert candidate_columns(followed)["followed"] == step
    np.testing.assert_allclose(followed.relaxation.crystal.cell, followed.crystal.cell)


def test_following_is_deterministic_and_the_same_in_another_frame(simple_cubic, brenner, followed):
    again = taken(simple_cubic, brenner)
    assert again.crystal.digest == followed.crystal.digest
    assert again.followed == followed.followed
    turn = Rotation.from_euler("xyz", [20, 50, -35], degrees=True).as_matrix()
    turned = taken(simple_cubic.moved_to(simple_cubic.cell @ turn.T, simple_cubic.positions), brenner)
    assert turned.followed == followed.followed


def test_metal_may_lose_symmetry_on_the_way_and_takes_as_many_steps_as_allowed(emt):
    """EMT's bcc copper goes to a close packing; simple cubic needs a second step to get there."""
    bcc = taken(Crystal.from_ase(bulk("Cu", "bcc", a=2.87), id="bcc"), emt)
    assert bcc.status == "ok"
    assert bcc.kappa.symmetry_operations < 48
    assert bcc.relaxation.energy_ev_per_atom < -0.005
    simple = Crystal.from_ase(bulk("Cu", "sc", a=2.4), id="sc")
    once = taken(simple, emt, replace(FOLLOW, follow_imaginary=1))
    assert (once.status, len(once.followed)) == ("unstable", 1)
    both = taken(simple, emt)
    assert both.status == "ok"
    assert both.followed[:1] == once.followed
    assert len(both.followed) == 2
    assert both.relaxation.energy_ev_per_atom == pytest.approx(bcc.relaxation.energy_ev_per_atom, abs=1e-4)


def test_mode_that_fits_no_allowed_supercell_is_not_followed(simple_cubic, brenner):
    record = taken(simple_cubic, brenner, replace(FOLLOW, follow_max_atoms=1))
    assert record.status == "unstable"
    assert record.kappa.imaginary is None
    assert record.followed == ()
    assert record.reason.endswith("no imaginary mode fits into a supercell that is small enough to follow it")


def test_mode_that_leads_back_leaves_the_crystal_as_it_was(diamond, brenner, monkeypatch):
    """As a mode does that is imaginary by an error of the force constants only."""
    mode = ImaginaryMode(
        q=np.zeros(3), n_cells=1, band=0, frequency_thz=-0.1, eigenvector=np.array([[1, 0, 0], [-1, 0, 0]]) / 2**0.5
    )

    def wrong(*arguments):
        return replace(conductivity(*arguments), status="unstable", reason="wrong", imaginary=mode)

    monkeypatch.setattr(candidate, "conductivity", wrong)
    record = taken(diamond, brenner)
    assert record.status == "unstable"
    assert record.followed == ()
    assert record.reason == "wrong; following mode 1 of 0.100i THz at q = (0, 0, 0) led to no lower energy"
    np.testing.assert_allclose(record.crystal.cell, taken(diamond, brenner, HARMONIC).crystal.cell)


def test_relaxation_that_fails_on_the_way_is_told(unstable, brenner):
    settings = RelaxSettings(max_steps=30, minimiser="fire")
    record = kappa_of(unstable.crystal, brenner, settings, FOLLOW, ScreenSettings())
    assert record.status == "unstable"
    assert "; following mode 1 of " in record.reason
    assert "ended unconverged: after 30 steps" in record.reason
    assert record.kappa.space_group_number == 221


def test_papers_protocol_names_the_mode_too(simple_cubic, brenner):
    paper = PaperProtocol(supercell=(2, 2, 2))
    record = conductivity(simple_cubic, brenner, replace(HARMONIC, method="paper", paper=paper))
    assert record.status == "unstable"
    assert record.imaginary.q.tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("name", "value"), [("follow_imaginary", -1), ("follow_imaginary", 1.5), ("follow_max_atoms", 0)]
)
def test_settings_refuse_what_is_no_number_of_times_or_atoms(name, value):
    with pytest.raises(InputError, match=rf"\[kappa\] {name}: expected a whole number from"):
        replace(KappaSettings(), **{name: value})


def test_command_prints_the_path_and_the_bonding(tmp_path):
    write(tmp_path / "POSCAR", bulk("C", "sc", a=1.8), format="vasp")
    command = ["kappa", str(tmp_path / "POSCAR"), "--potential", "brenner", "--level", "harmonic"]
    told = CliRunner().invoke(app, [*command, "--fc2-distance", "6", "--follow", "1"])
    assert told.exit_code == 0, told.output
    assert "followed mode 1 of 22." in told.stdout
    assert "space group 221 → 227, −2.0" in told.stdout
    assert "no κ" not in told.stdout
    assert "3D, 4 neighbours" in told.stdout
    refused = CliRunner().invoke(app, [*command, "--follow", "1", "--no-relax"])
    assert isinstance(refused.exception, InputError)
    assert "--follow" in str(refused.exception)

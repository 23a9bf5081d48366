"""The error bar of κ: committees whose κ are known beforehand, wider settings, and who is asked."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kappaforge.campaign import tasks
from kappaforge.campaign.candidate import CandidateRecord, kappa_of
from kappaforge.campaign.error_bar import ErrorBar, error_bars, error_columns, may_reach
from kappaforge.campaign.memo import Memo
from kappaforge.campaign.progress import Silence
from kappaforge.campaign.trials import Trial, member_trial, wider_trial
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.engine.settings import EngineSettings
from kappaforge.errors import InputError
from kappaforge.potentials.registry import available, committee, load
from kappaforge.relax.settings import RelaxSettings
from kappaforge.screen.settings import ScreenSettings
from kappaforge.store.row import Row
from kappaforge.store.run_folder import DATABASE, RunFolder
from kappaforge.transport.error_settings import ErrorBarSettings
from kappaforge.transport.order_settings import ForceConstantSettings
from kappaforge.transport.plans import plan2, plan3
from kappaforge.transport.primitive import primitive_crystal
from kappaforge.transport.settings import KappaSettings
from kappaforge.transport.supercells import smallest_supercell
from kappaforge.transport.variations import STRAIN, steady, wider

CARBONS = {entry.name: entry.crystal for entry in known_carbons()}
FORCES = ForceConstantSettings(
    fc2_face_distance_ang=5.0, fc3_face_distance_ang=5.0, fc3_cutoff_ang=2.0, displacement_ang=0.01, way="finite"
)
KAPPA = KappaSettings(mesh=(5, 5, 5), force_constants=FORCES)
COMMITTEE_ONLY = ErrorBarSettings(fit_cutoff_ang=2.7)


def in_process(
    step: str, version: int, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], digest: str
) -> list[Any]:
    return [function(*each) for each in arguments]


@pytest.fixture(scope="module")
def diamond_record() -> CandidateRecord:
    """Diamond by Brenner's potential, as the last rung has it but for its size, at three temperatures."""
    # those at which potentials 0.8 and 1.25 times as strong have the same occupations as this one
    settings = replace(KAPPA, more_temperatures_k=(300 / np.sqrt(0.8), 300 / np.sqrt(1.25)))
    return kappa_of(CARBONS["diamond"], load("brenner"), RelaxSettings(), settings, ScreenSettings())


def bar_by(
    record: CandidateRecord,
    members: Sequence[str],
    settings: ErrorBarSettings = COMMITTEE_ONLY,
    run=in_process,
    kappa: KappaSettings = KAPPA,
) -> ErrorBar:
    (bar,) = error_bars(
        run,
        [record],
        "brenner",
        load("brenner").digest,
        members,
        settings,
        relax=RelaxSettings(),
        kappa=kappa,
        screen=ScreenSettings(),
    )
    assert bar is not None
    return bar


def test_identical_members_have_no_spread(diamond_record: CandidateRecord) -> None:
    bar = bar_by(diamond_record, ["brenner"] * 2)
    assert (bar.committee_spread, bar.n_stable, bar.notes) == (0.0, 2, "")


def test_members_displace_only_pairs_within_their_own_cutoff(diamond_record: CandidateRecord) -> None:
    kappa = replace(KAPPA, force_constants=replace(FORCES, fc3_cutoff_ang=3.0))
    as_kappa = ErrorBarSettings(fit_cutoff_ang=4.5)  # a fit takes longer
    near = replace(as_kappa, fc3_cutoff_ang=2.0)
    displacements = [
        bar_by(diamond_record, ["brenner"], each, kappa=kappa).members[0].n_displacements for each in (near, as_kappa)
    ]
    nearest = bar_by(diamond_record, ["brenner"], as_kappa).members[0].n_displacements  # within 2 Å for κ itself too
    assert displacements[0] == nearest < displacements[1]


def test_spread_of_scaled_members_is_that_of_the_scaling_law(diamond_record: CandidateRecord) -> None:
    """Forces times f: ω and v go with √f, linewidths at the temperature √f T not at all, so κ(f, √f T) = f κ(1, T)."""
    assert diamond_record.kappa is not None
    at = {solution.temperature_k: solution for solution in diamond_record.kappa.solutions}
    finite = replace(KAPPA, extrapolate=False)
    kappas = []
    for factor, name in ((0.8, "four_fifths"), (1.25, "five_quarters")):
        member = load(f"ase:scaled_potentials:{name}")
        trial = member_trial(diamond_record.crystal, member, RelaxSettings(), finite, ScreenSettings())
        expected = factor * np.linalg.eigvalsh(at[300 / np.sqrt(factor)].kappa_lbte_w_per_mk)[-1]
        assert trial.kappa_w_per_mk == pytest.approx(expected, rel=1e-4)
        kappas.append(expected)
    bar = bar_by(diamond_record, [f"ase:scaled_potentials:{name}" for name in ("four_fifths", "five_quarters")])
    assert bar.committee_spread == pytest.approx(np.std(np.log(kappas), ddof=1), rel=0.02)
    assert bar.committee_w_per_mk == pytest.approx(bar.committee_spread * bar.kappa_w_per_mk)
    assert bar.committee_spread > 0.2


def test_unstable_member_is_counted_and_shown(diamond_record: CandidateRecord) -> None:
    bar = bar_by(diamond_record, ["brenner", "ase:scaled_potentials:once", "ase:scaled_potentials:upside_down"])
    assert (bar.n_stable, len(bar.members)) == (2, 3)
    assert bar.committee_spread == pytest.approx(0, abs=1e-3), "of those in which it is stable"
    assert (bar.members[2].status, bar.members[2].kappa_w_per_mk) == ("unstable", None)
    assert bar.notes.startswith(
        "1 of 3 members of the committee without κ; ase:scaled_potentials:upside_down: unstable, imaginary mode"
    )


def test_lone_stable_member_tells_no_spread_and_the_row_says_so() -> None:
    members = (Trial("a", "ok", kappa_w_per_mk=90.0), Trial("b", "unstable", "imaginary mode of −2.00 THz"))
    bar = ErrorBar(100.0, 90.0, members=members)
    assert (bar.committee_spread, bar.total_w_per_mk) == (None, None)
    row = Row(id="x", **error_columns(bar))
    assert (row.kappa_committee_spread, row.kappa_error_w_per_mk) == (None, None)
    assert (row.kappa_committee_members, row.kappa_committee_stable) == (2, 1)
    assert "b: unstable, imaginary mode of −2.00 THz" in row.kappa_error_notes


def test_errors_add_up_as_independent_ones() -> None:
    wider = (Trial("supercells", "ok", kappa_w_per_mk=88.0), Trial("cutoff", "ok", kappa_w_per_mk=81.0))
    members = tuple(Trial(str(kappa), "ok", kappa_w_per_mk=kappa) for kappa in (60.0, 60.0 * np.exp(0.2)))
    bar = ErrorBar(200.0, 80.0, 10.0, wider, members)
    assert bar.parts_w_per_mk == pytest.approx(
        {"mesh": 10.0, "supercells": 20.0, "cutoff": 2.5, "committee": 200 * 0.2 / np.sqrt(2)}
    )
    assert bar.total_w_per_mk == pytest.approx(np.sqrt(10**2 + 20**2 + 2.5**2 + 800))
    columns = error_columns(bar)
    assert columns["kappa_supercell_error_w_per_mk"] == pytest.approx(20)
    assert columns["kappa_cutoff_error_w_per_mk"] == pytest.approx(2.5)
    failed = replace(bar, wider=(Trial("cutoff", "failed", "too much memory"),))
    assert failed.cutoff_w_per_mk is None
    assert "cutoff: failed, too much memory" in failed.notes


def test_cutoff_beyond_the_potentials_reach_has_no_error(diamond_record: CandidateRecord) -> None:
    """Brenner's forces couple no atoms but those that share a neighbour: at most 2.6 Å apart in diamond."""
    crystal, brenner = diamond_record.crystal, load("brenner")
    few = replace(KAPPA, mesh=(3, 3, 3), level="rta")
    changes = {}
    for cutoff_ang in (1.8, 3.0):  # bonds alone, and neighbours of neighbours
        settings = replace(few, force_constants=replace(FORCES, fc3_cutoff_ang=cutoff_ang))
        before = kappa_of(crystal, brenner, RelaxSettings(), settings, ScreenSettings(), relaxed=False)
        after = wider_trial(crystal, brenner, settings, "cutoff")
        assert before.kappa is not None
        assert after.n_displacements > before.kappa.n_displacements
        changes[cutoff_ang] = abs(after.kappa_w_per_mk / before.kappa.kappa_rta_max_w_per_mk - 1)
    assert changes[3.0] < 0.005 < changes[1.8]


def test_larger_supercells_are_larger_and_a_wider_cutoff_holds_more_pairs() -> None:
    primitive = primitive_crystal(CARBONS["bct-C4"], 1e-3)
    larger = wider(primitive, FORCES, "supercells")
    assert plan2(primitive, larger).choice.n_atoms > plan2(primitive, FORCES).choice.n_atoms
    assert plan3(primitive, larger).choice.n_atoms > plan3(primitive, FORCES).choice.n_atoms
    assert (larger.fc3_cutoff_ang, larger.way) == (FORCES.fc3_cutoff_ang, "finite")
    farther = wider(primitive, FORCES, "cutoff")
    before, after = plan3(primitive, FORCES), plan3(primitive, farther)
    assert after.choice.n_atoms == before.choice.n_atoms
    assert len(after.supercells) > len(before.supercells)
    nothing_new = replace(FORCES, fc3_cutoff_ang=1.0)  # 4/3 of which holds no neighbour either
    assert len(plan3(primitive, wider(primitive, nothing_new, "cutoff")).supercells) > len(
        plan3(primitive, nothing_new).supercells
    )
    everything = replace(FORCES, fc3_cutoff_ang=None)
    assert wider(primitive, everything, "cutoff") == everything
    fit = wider(primitive, replace(FORCES, way="fit", fc3_fit_cutoff_ang=2.7), "cutoff")
    assert (fit.fc3_fit_cutoff_ang, fit.fc3_cutoff_ang) == (pytest.approx(3.6), FORCES.fc3_cutoff_ang)


@pytest.mark.parametrize("name", ["diamond", "lonsdaleite", "bct-C4", "Z-carbon"])
def test_members_have_the_same_supercells_though_their_cells_differ(name: str) -> None:
    settings = ForceConstantSettings(fc2_face_distance_ang=7.0, fc3_face_distance_ang=6.0)
    kept = steady(primitive_crystal(CARBONS[name], 1e-3), settings)
    found = set()
    for strain in (-0.9 * STRAIN, 0.0, 0.9 * STRAIN):
        crystal = CARBONS[name]
        strained = crystal.moved_to(crystal.cell * (1 + strain), crystal.positions * (1 + strain))
        primitive = primitive_crystal(strained, 1e-3)
        distances = kept.fc2_face_distance_ang, kept.fc3_face_distance_ang
        found.add(tuple(smallest_supercell(primitive, distance).n_atoms for distance in distances))
    assert len(found) == 1


def test_only_crystals_that_may_reach_the_limit_matter(diamond_record: CandidateRecord) -> None:
    assert diamond_record.kappa is not None
    kappa = diamond_record.kappa.kappa_lbte_max_w_per_mk
    assert may_reach(diamond_record, kappa)
    assert not may_reach(diamond_record, kappa * 1.001)
    (solution, *_) = diamond_record.kappa.solutions
    unsure = replace(diamond_record.kappa, solutions=(replace(solution, mesh_error_w_per_mk=0.1 * kappa),))
    assert may_reach(replace(diamond_record, kappa=unsure), 1.09 * kappa)
    assert not may_reach(replace(diamond_record, status="unstable"), 1.0)


def test_record_without_kappa_has_no_error_bar(diamond_record: CandidateRecord) -> None:
    records = [replace(diamond_record, status="failed", kappa=None)]
    assert error_bars(
        in_process, records, "brenner", "", ["brenner"], ErrorBarSettings(cutoffs=True), relax=RelaxSettings(),
        kappa=KAPPA, screen=ScreenSettings(),
    ) == [None]  # fmt: skip


def test_potential_without_a_committee_gives_no_spread(diamond_record: CandidateRecord) -> None:
    assert committee("brenner") == committee("ase:ase.calculators.emt:EMT") == ()
    columns = error_columns(bar_by(diamond_record, committee("brenner")))
    assert columns["kappa_committee_spread"] is columns["kappa_committee_members"] is None


def test_committee_of_a_model_is_loaded_by_name(tmp_path: Path) -> None:
    members = committee("carbon")
    assert members == tuple(f"carbon-committee-{number}" for number in range(8))
    assert not set(members) & set(available()), "they are no potentials to choose"
    assert load(members[3]).name == members[3]
    for name in ("mine", "mine-committee-0", "mine-committee-2"):
        (tmp_path / f"{name}.safetensors").touch()
    with pytest.raises(InputError, match=r"mine-committee-1.safetensors is missing"):
        committee(str(tmp_path / "mine.safetensors"))
    (tmp_path / "mine-committee-2.safetensors").unlink()
    assert committee(str(tmp_path / "mine.safetensors")) == (str(tmp_path / "mine-committee-0.safetensors"),)


def test_settings_name_the_bad_value() -> None:
    with pytest.raises(InputError, match=r"\[error_bar\] fit_cutoff_ang: expected a positive"):
        ErrorBarSettings(fit_cutoff_ang=0.0)
    with pytest.raises(InputError, match=r"\[error_bar\] fc3_cutoff_ang: expected a positive"):
        ErrorBarSettings(fc3_cutoff_ang=-2.0)
    with pytest.raises(InputError, match=r"\[error_bar\] cutoffs: expected true or false, got 'no'"):
        ErrorBarSettings(cutoffs="no")  # type: ignore[arg-type]


MEMBERS = ("brenner", "ase:scaled_potentials:once")


def drive(folder: Path) -> ErrorBar:
    """Compute diamond and its error bar in a run folder."""
    few = replace(KAPPA, mesh=(3, 3, 3), level="rta")
    with RunFolder.open(folder, write=True) as run, Memo(run, EngineSettings("in-process"), Silence()) as memo:
        arguments = [(CARBONS["diamond"], "brenner", RelaxSettings(), few, ScreenSettings())]
        (record,) = memo.map("kappa", tasks.kappa_version(few), tasks.compute_kappa, arguments, load("brenner").digest)
        return bar_by(record, MEMBERS, replace(COMMITTEE_ONLY, cutoffs=True), memo.map, few)


def stored(folder: Path, step: str) -> dict[str, str]:
    with sqlite3.connect(folder / DATABASE) as connection:
        return dict(connection.execute("SELECT key, finished_at FROM tasks WHERE step = ?", (step,)))


def test_killed_run_goes_on_without_repeating_a_member(tmp_path: Path) -> None:
    program = f"from pathlib import Path; from test_error_bar import drive; drive(Path({str(tmp_path)!r}))"
    driver = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parent)
    deadline = time.monotonic() + 120
    while not ((tmp_path / DATABASE).exists() and _begun(tmp_path)):
        assert driver.poll() is None, "it ended before a member was done"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    before = stored(tmp_path, "committee")
    bar = drive(tmp_path)
    after = stored(tmp_path, "committee")
    assert before.items() <= after.items(), "none was computed again"
    assert len(after) == len(MEMBERS) == bar.n_stable
    assert len(stored(tmp_path, "wider")) == 2
    assert drive(tmp_path) == bar


def _begun(folder: Path) -> bool:
    try:
        return len(stored(folder, "committee")) > 0
    except sqlite3.OperationalError:  # its tables are not there yet
        return False

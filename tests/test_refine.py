"""Finer meshes: κ that matters is computed again until its mesh leaves little, and nothing else is."""

from dataclasses import replace

import pytest

from kappaforge.campaign.candidate import CandidateRecord, kappa_of
from kappaforge.campaign.error_bar import bar_of, of_record
from kappaforge.campaign.refine import FINER, refined
from kappaforge.crystal import Crystal
from kappaforge.potentials.registry import load
from kappaforge.relax.settings import RelaxSettings
from kappaforge.screen.settings import ScreenSettings
from kappaforge.transport.converged import confirmed
from kappaforge.transport.error_settings import ErrorBarSettings
from kappaforge.transport.order_settings import ForceConstantSettings
from kappaforge.transport.settings import KappaSettings

FORCES = ForceConstantSettings(
    fc2_face_distance_ang=6.0, fc3_face_distance_ang=5.0, fc3_cutoff_ang=2.0, displacement_ang=0.01, way="finite"
)
KAPPA = KappaSettings(mesh_length_ang=5.0, force_constants=FORCES)
TIGHT = ErrorBarSettings(mesh_tolerance=1e-6)
TABLES = {"relax": RelaxSettings(), "kappa": KAPPA, "screen": ScreenSettings()}


class Runs:
    """Runs tasks at once, and counts them."""

    def __init__(self) -> None:
        self.lengths_ang: list[float] = []

    def __call__(self, step, version, function, arguments, digest):
        self.lengths_ang += [each[3].mesh_length_ang for each in arguments]
        return [function(*each) for each in arguments]


@pytest.fixture(scope="module")
def record() -> CandidateRecord:
    from kappaforge.dataset.known_carbon import known_carbons

    diamond: Crystal = next(entry.crystal for entry in known_carbons() if entry.name == "diamond")
    return kappa_of(diamond, load("brenner"), RelaxSettings(), KAPPA, ScreenSettings())


def relative(record: CandidateRecord) -> float:
    bar = bar_of(record)
    assert bar.mesh_w_per_mk is not None
    return bar.mesh_w_per_mk / bar.kappa_w_per_mk


def test_meshes_become_finer_until_they_leave_little(record: CandidateRecord) -> None:
    runs = Runs()
    tolerance = relative(record) / 2
    (found,) = refined(runs, [record], "brenner", "", ErrorBarSettings(mesh_tolerance=tolerance), 1.0, **TABLES)
    assert runs.lengths_ang == pytest.approx([5.0 * FINER ** (n + 1) for n in range(len(runs.lengths_ang))])
    assert relative(found) <= tolerance or len(runs.lengths_ang) == ErrorBarSettings().mesh_times
    assert relative(found) < relative(record)
    assert found.relaxation is record.relaxation
    assert found.seconds > record.seconds


def test_error_of_finer_meshes_is_how_far_they_are_from_the_coarser_and_half_of_their_own_step(
    record: CandidateRecord,
) -> None:
    assert record.kappa is not None
    (solution,) = record.kappa.solutions
    before = replace(
        solution,
        kappa_rta_w_per_mk=0.9 * solution.kappa_rta_w_per_mk,
        kappa_lbte_w_per_mk=None if solution.kappa_lbte_w_per_mk is None else 0.9 * solution.kappa_lbte_w_per_mk,
    )
    half = 0.5 * (solution.mesh_step_w_per_mk or 0.0)
    assert half > 0
    assert confirmed(solution, solution).mesh_error_w_per_mk == pytest.approx(half)
    apart = 0.1 * bar_of(record).kappa_w_per_mk
    assert confirmed(before, solution).mesh_error_w_per_mk == pytest.approx(max(apart, half))


def test_what_does_not_matter_or_is_fine_enough_stays(record: CandidateRecord) -> None:
    runs = Runs()
    layers = replace(record, bonding=replace(record.bonding, dimensionality="2D"))
    for one, tolerance, limit in (
        (record, None, 1.0),
        (record, 10.0, 1.0),
        (record, 1e-6, 1e6),
        (layers, 1e-6, 1.0),
        (replace(record, status="unstable"), 1e-6, 1.0),
    ):
        assert refined(runs, [one], "brenner", "", ErrorBarSettings(mesh_tolerance=tolerance), limit, **TABLES) == [one]
    assert refined(runs, [record], "brenner", "", TIGHT, 1.0, **{**TABLES, "kappa": replace(KAPPA, mesh=(3, 3, 3))})
    assert runs.lengths_ang == []


def test_meshes_become_finer_as_often_as_asked_at_most(record: CandidateRecord) -> None:
    runs = Runs()
    refined(runs, [record], "brenner", "", replace(TIGHT, mesh_times=1), 1.0, **TABLES)
    assert runs.lengths_ang == pytest.approx([5.0 * FINER])


def test_mesh_without_memory_leaves_what_there_was(record: CandidateRecord) -> None:
    runs = Runs()
    kappa = replace(KAPPA, collision_memory_gib=1e-6)
    found = refined(runs, [record], "brenner", "", TIGHT, 1.0, **{**TABLES, "kappa": kappa})
    assert found == [record]
    assert len(runs.lengths_ang) == 1, "the next would have none either"


def test_error_bar_of_a_finer_mesh_keeps_relative_errors(record: CandidateRecord) -> None:
    bar = replace(bar_of(record), kappa_w_per_mk=100.0)
    moved = of_record(bar, record)
    assert moved.kappa_w_per_mk == bar_of(record).kappa_w_per_mk
    assert moved.coarse_w_per_mk == bar.coarse_w_per_mk

"""The ladder: who climbs, who stays behind and why; on regressions of its own making and on real crystals."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kappaforge.campaign.ladder import LadderSettings, _quick, climb, evenly, regression
from kappaforge.campaign.memo import Memo
from kappaforge.campaign.progress import Silence
from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.engine.settings import EngineSettings
from kappaforge.errors import InputError
from kappaforge.potentials.registry import load
from kappaforge.relax.settings import RelaxSettings
from kappaforge.screen.settings import ScreenSettings
from kappaforge.store.run_folder import RunFolder
from kappaforge.transport.error_settings import ErrorBarSettings
from kappaforge.transport.order_settings import ForceConstantSettings
from kappaforge.transport.settings import KappaSettings

FORCES = ForceConstantSettings(
    fc2_face_distance_ang=6.0, fc3_face_distance_ang=5.0, fc3_cutoff_ang=2.0, displacement_ang=0.01, way="finite"
)
KAPPA = KappaSettings(mesh_length_ang=6.0, extrapolate=False, force_constants=FORCES)


def test_regression_finds_a_power_law_and_its_scatter(rng: np.random.Generator) -> None:
    known = np.exp(rng.uniform(0, 3, 200))
    exact = regression(known, 5 * known**1.5, 2.0)
    assert exact is not None
    assert (exact.slope, exact(7.0)) == (pytest.approx(1.5), pytest.approx(5 * 7**1.5))
    assert exact.factor == pytest.approx(1.05)
    line = regression(known, 5 * known**1.5 * np.exp(rng.normal(scale=0.2, size=200)), 2.0)
    assert line is not None
    assert line.factor == pytest.approx(np.exp(2 * 0.2), rel=0.15)
    assert regression([1.0, 2.0], [3.0, 4.0], 2.0) is None


def test_calibration_takes_the_lowest_the_highest_and_even_ranks_between() -> None:
    known = {place: float((7 * place) % 50) for place in range(50)}
    chosen = evenly(known, 6)
    assert [known[place] for place in chosen] == [0, 10, 20, 29, 39, 49]
    assert sorted(evenly(known, 80)) == list(range(50))


@pytest.mark.parametrize(("name", "value"), [("limit_w_per_mk", 0.0), ("sigmas", float("nan")), ("calibration", 2)])
def test_settings_name_the_bad_field(name: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"ladder, {name}: expected .* got"):
        LadderSettings(**{name: value})


def climbed(
    folder: Path,
    crystals: list[Crystal],
    settings: LadderSettings,
    kappa: KappaSettings = KAPPA,
    members: tuple[str, ...] = (),
):
    brenner = load("brenner")
    folder.mkdir(exist_ok=True)
    with RunFolder.open(folder, write=True) as run:
        memo = Memo(run, EngineSettings("in-process"), Silence())
        return climb(
            memo,
            crystals,
            "brenner",
            brenner.digest,
            settings,
            relax=RelaxSettings(),
            kappa=kappa,
            screen=ScreenSettings(),
            errors=ErrorBarSettings(fit_cutoff_ang=2.7),
            members=members,
        )


def test_crystals_climb_while_they_may_matter_and_none_is_dropped_in_silence(tmp_path: Path) -> None:
    known = {entry.name: entry.crystal for entry in known_carbons()}
    names = ("diamond", "lonsdaleite", "bct-C4", "polytype-9R")
    unstable = Crystal(np.eye(3) * 1.9, np.zeros((1, 3)), np.array([6]), id="simple cubic")
    again = known["diamond"].moved_to(known["diamond"].cell[[1, 2, 0]], known["diamond"].positions)
    crystals = [*(known[name] for name in names), again, unstable]
    settings = LadderSettings(limit_w_per_mk=1e5, calibration=3)
    result = climbed(tmp_path / "run", crystals, settings)
    levels = [rung.level for rung in result.rungs]
    assert len(result.rungs) == len(crystals)
    assert all(rung.reason for rung in result.rungs if rung.level != "full")
    assert "imaginary mode" in result.rungs[5].reason
    assert result.rungs[4].reason == "same as diamond"
    assert levels.count("full") == 3, "those of the calibration"
    assert result.from_harmonic.n == result.from_rta.n == 3
    (left,) = (rung for rung in result.rungs[:4] if rung.level != "full")
    assert "below 100000" in left.reason
    assert left.expected_w_per_mk > 0
    for rung in result.rungs[:4]:
        assert rung.record.relaxation is not None
        if rung.level == "full":
            assert rung.record.kappa.kappa_lbte_max_w_per_mk > 0
    everything = climbed(tmp_path / "run", crystals, LadderSettings(1.0, calibration=3))
    assert [rung.level for rung in everything.rungs[:4]] == ["full"] * 4


def test_committee_is_asked_only_of_crystals_at_the_top_that_may_reach_the_limit(tmp_path: Path) -> None:
    known = {entry.name: entry.crystal for entry in known_carbons()}
    crystals = [known["diamond"], known["bct-C4"]]
    above = LadderSettings(1.0)
    members = ("brenner", "tersoff")
    found = [rung.record.kappa.kappa_lbte_max_w_per_mk for rung in climbed(tmp_path / "run", crystals, above).rungs]
    between = replace(above, limit_w_per_mk=float(np.mean(found)))
    rungs = climbed(tmp_path / "run", crystals, between, members=members).rungs
    bars = {rung.record.id: rung.error_bar for rung in rungs}
    (best,) = (name for name, bar in bars.items() if bar is not None)
    assert best == crystals[int(np.argmax(found))].id
    assert [trial.name for trial in bars[best].members] == ["brenner", "tersoff"]
    assert bars[best].committee_spread > 0.05


def test_second_rung_displaces_atoms_where_a_fit_would_have_no_memory(tmp_path: Path) -> None:
    diamond = next(entry.crystal for entry in known_carbons() if entry.name == "diamond")
    # enough for finite displacements, too little for the fit
    kappa = replace(KAPPA, force_constants=replace(FORCES, memory_gib=0.003))
    (rung,) = climbed(tmp_path / "run", [diamond], LadderSettings(1.0), kappa).rungs
    assert rung.record.status == "ok"
    assert rung.level == "full"
    fitted = replace(kappa, force_constants=replace(kappa.force_constants, way="fit", fc2_way="finite"))
    assert _quick(fitted, 4.0).force_constants.way == "finite"
    assert _quick(fitted, 4.0).force_constants.fc3_face_distance_ang == 4.0
    assert _quick(fitted, 99.0).force_constants.fc3_face_distance_ang == FORCES.fc3_face_distance_ang


def test_papers_method_has_no_ladder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has one rung"):
        climb(
            None,
            [],
            "brenner",
            "",
            LadderSettings(),
            relax=RelaxSettings(),
            kappa=KappaSettings(method="paper"),
            screen=ScreenSettings(),
            errors=ErrorBarSettings(),
            members=(),
        )


def test_crystals_without_a_positive_kappa_do_not_spoil_the_regression() -> None:
    line = regression([1.0, 2.0, 4.0, 0.0, 3.0], [2.0, 4.0, 8.0, 5.0, -1.0], 2.0)
    assert line is not None
    assert (line.n, line(3.0)) == (3, pytest.approx(6.0))
    assert line(0.0) == np.inf, "it climbs"
    assert regression([1.0, 2.0, 3.0], [1.0, float("nan"), -2.0], 2.0) is None

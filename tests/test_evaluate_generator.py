"""A whole evaluation, small, and its counts on crystals of which the answer is known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from kappaforge.campaign.evaluation import (
    EvaluationSettings,
    first_proposals,
    known_crystals,
    propose,
    propose_perturbed,
    relaxed_yield,
)
from kappaforge.campaign.evaluation_raw import reconstruction_rate
from kappaforge.campaign.evaluation_tasks import Proposed, reconstruct
from kappaforge.campaign.memo import Memo
from kappaforge.campaign.progress import Silence
from kappaforge.cli.main import app
from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.dataset.writers import write
from kappaforge.engine.settings import EngineSettings
from kappaforge.errors import InputError
from kappaforge.generate.base import Proposal, proposal_id
from kappaforge.generate.perturbed import parents_of, perturb
from kappaforge.generate.registry import load as load_generator
from kappaforge.generate.settings import GenerateSettings
from kappaforge.potentials.registry import load
from kappaforge.store.run_folder import RunFolder

EVALUATION = EvaluationSettings(batch_size=4)


@pytest.fixture
def memo(tmp_path):
    with RunFolder.open(tmp_path, write=True) as folder:
        yield Memo(folder, EngineSettings("in-process"), Silence())


@pytest.fixture(scope="module")
def carbons():
    return {entry.name: entry.crystal for entry in known_carbons()}


def proposed(crystals):
    """Proposals of these crystals in turn, None for a failed one, in batches of two that took 1 s each."""
    proposals = [
        Proposal(proposal_id(number), "failed", reason="test")
        if crystal is None
        else Proposal(proposal_id(number), "ok", replace(crystal, id=proposal_id(number)))
        for number, crystal in enumerate(crystals)
    ]
    return [Proposed(tuple(proposals[start : start + 2]), 1.0) for start in range(0, len(proposals), 2)]


def strained(crystal, factor, rng):
    """A supercell's worth of disguise would change nothing: a scaled, slightly rattled copy."""
    positions = crystal.positions * factor + rng.normal(scale=0.02, size=crystal.positions.shape)
    return Crystal(crystal.cell * factor, positions, crystal.numbers)


def test_yield_counts_what_is_known(memo, carbons, rng):
    brenner = load("brenner")
    known = known_crystals(memo, [carbons["diamond"], carbons["bct-C4"]], brenner, EVALUATION)
    low = Crystal(np.diag([2.4, 2.5, 2.6]), rng.uniform(size=(3, 3)) * 2.5, [6, 6, 6])
    made = [carbons["diamond"], strained(carbons["diamond"], 1.04, rng), None, carbons["lonsdaleite"], low]
    result = relaxed_yield(memo, "test", proposed(made), known, [carbons["bct-C4"]], brenner, EVALUATION)
    assert (result.generated, result.crystals) == (5, 4)
    assert result.converged >= 3
    assert result.distinct == result.distinct_novel
    assert result.symmetric - result.distinct_symmetric == 1, "diamond came twice"
    assert result.known == (("diamond", "g000000"),)
    assert result.missing == ("bct-C4",)
    assert [point.generated for point in result.curve] == [1, 2, 3, 4, 5]
    assert [point.distinct_symmetric_low for point in result.curve][:4] == [1, 1, 1, 2]
    assert result.curve[-1].distinct == result.distinct
    assert result.cpu_seconds_generate == 3.0
    assert result.cpu_seconds_relax > 0
    assert result.per_thousand(2) == 400
    assert result.per_cpu_hour(2) == pytest.approx(7200 / (3.0 + result.cpu_seconds_relax))


def test_what_the_data_hold_is_not_novel(memo, carbons):
    brenner = load("brenner")
    known = known_crystals(memo, [carbons["diamond"]], brenner, EVALUATION)
    batches = proposed([carbons["diamond"], carbons["bct-C4"]])
    result = relaxed_yield(memo, "test", batches, known, [carbons["diamond"]], brenner, EVALUATION)
    assert (result.distinct_symmetric, result.distinct_symmetric_novel) == (2, 1)


def test_minima_below_the_ground_state_are_false(memo, carbons):
    """With only simple cubic carbon known, diamond lies far below the ground state."""
    brenner = load("brenner")
    known = known_crystals(memo, [carbons["bc8"]], brenner, EVALUATION)
    batches = proposed([carbons["diamond"]])
    result = relaxed_yield(memo, "test", batches, known, [], brenner, EVALUATION)
    assert (result.distinct_symmetric, result.distinct_symmetric_low, result.distinct_symmetric_false) == (1, 0, 1)


def test_known_crystals_must_relax(memo):
    collapsed = Crystal(np.diag([1.0, 1.0, 1.2]), [[0, 0, 0], [0, 0, 0.3]], [6, 6])
    with pytest.raises(InputError, match="none of the known crystals relaxes"):
        known_crystals(memo, [collapsed], load("brenner"), EVALUATION)


def test_perturbed_crystals_do_not_depend_on_the_batch(carbons, memo):
    data = list(carbons.values())
    whole = perturb([data[index] for index in parents_of(len(data), 6, seed=3)], seed=3)
    late = perturb([data[index] for index in parents_of(len(data), 2, first=4, seed=3)], first=4, seed=3)
    assert [each.crystal.digest for each in whole[4:]] == [each.crystal.digest for each in late]
    assert [each.id for each in late] == ["g000004", "g000005"]
    assert len({each.crystal.digest for each in whole}) == 6
    batches = propose_perturbed(memo, data, 6, EvaluationSettings(seed=3, batch_size=4))
    assert [p.crystal.digest for batch in batches for p in batch.proposals] == [each.crystal.digest for each in whole]
    with pytest.raises(InputError, match="at least one training crystal"):
        parents_of(0, 1)


def test_proposals_are_cut_to_whole_batches(memo):
    batches = propose(memo, GenerateSettings(generator="random", max_atoms=4), 18, EVALUATION)
    assert [len(batch.proposals) for batch in batches] == [16, 2]
    assert [len(first_proposals(batches, n)) for n in (1, 16, 17, 18, 100)] == [1, 1, 2, 2, 2]
    assert all(batch.cpu_seconds > 0 for batch in batches)


def test_learned_generators_reconstruct(memo, small_flow, carbons):
    settings = GenerateSettings(generator=str(small_flow))
    test = [carbons["diamond"], carbons["bct-C4"], carbons["lonsdaleite"]]
    result = reconstruction_rate(memo, settings, load_generator(str(small_flow), settings).digest, test, 0)
    assert result.n == 3
    assert 0 <= result.rate <= 1
    assert result.corrected_rmse <= 0.5
    with pytest.raises(InputError, match="'random' is not a learned one"):
        reconstruct(GenerateSettings(generator="random"), test, 0)


def run(folder, *options):
    command = ["evaluate-generator", "random", "--run", str(folder), "-n", "12", "--controls", "4", "-w", "1"]
    result = CliRunner().invoke(app, [*command, "--potential", "brenner", "--max-atoms", "4", *options])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_command_evaluates_the_random_generator_and_resumes(tmp_path, carbons):
    test = tmp_path / "test.extxyz"
    write([carbons["diamond"], carbons["bct-C4"], carbons["graphite"]], test)
    answer = json.loads(run(tmp_path / "run", "--test", str(test), "--json"))
    assert answer["generator"] == "random"
    assert answer["potential"] == "brenner"
    raw = answer["raw"]["random"]
    assert raw["n"] == 12
    assert raw["structurally_valid"] == raw["apart"] == 1, "PyXtal keeps the atoms apart"
    assert 0 <= raw["coverage"]["recall"] <= 1
    assert raw["metre"]["n"] == 3
    assert raw["reconstruction"] is None, "the random generator cannot"
    assert [each["name"] for each in answer["relaxed"]] == ["random", "perturbed"]
    generated = answer["relaxed"][0]
    assert 0 < generated["distinct_symmetric"] <= generated["distinct"] <= generated["converged"] <= 12
    assert generated["curve"][-1]["distinct_symmetric"] == generated["distinct_symmetric"]
    assert answer["published_carbon_24"][0]["match_rate_percent"] == 55.22

    again = json.loads(run(tmp_path / "run", "--test", str(test), "--json"))
    assert again == answer, "CPU times too: everything was looked up"
    text = run(tmp_path / "run", "--test", str(test))
    assert "per CPU-hour" in text
    assert "the generator is not a learned one" in text
    assert "arXiv 2110.06197" in text


def test_command_wants_known_crystals_of_other_elements(tmp_path):
    with pytest.raises(InputError, match="--data: give the known crystals"):
        run(tmp_path / "run", "--elements", "Si", "--potential", "tersoff")

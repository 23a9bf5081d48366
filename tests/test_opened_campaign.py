"""A campaign's results in a notebook."""

from pathlib import Path

import numpy as np
import pytest

import kappaforge
from kappaforge.campaign.ledger import Ledger
from kappaforge.config import load_campaign
from kappaforge.crystal import Crystal
from kappaforge.errors import InputError
from kappaforge.store.published import PUBLISHED, LearningRound
from kappaforge.store.row import COLUMNS
from kappaforge.store.run_folder import RunFolder, StepProgress
from small_campaign import SMALL, make_run


@pytest.fixture
def run(tmp_path: Path, diamond: Crystal) -> Path:
    folder = make_run(tmp_path / "run", SMALL)
    other = Crystal(diamond.cell * 1.2, diamond.positions * 1.2, diamond.numbers, id="g000001", source="flow")
    good = Crystal(diamond.cell * 1.01, diamond.positions * 1.01, diamond.numbers, id="g000002", source="flow")
    ledger = Ledger()
    for crystal in (diamond, other, good):
        ledger.enter(crystal)
    tensor = np.diag([3.0, 2.0, 1.0])
    ledger.note("diamond", stage="kappa", space_group_number=227, kappa_rta_w_per_mk=tensor, kappa_rta_max_w_per_mk=3.0)
    ledger.note("g000002", stage="kappa", novel=True, kappa_rta_max_w_per_mk=5.0)
    ledger.note("g000001", reason="same as diamond", novel=False)
    ledger.passed("generate", 2)
    ledger.passed("unique", 1, ["duplicate"])
    ledger.rounds = [LearningRound(1, 10, ("diamond", "g000002"), np.array([3.0, 20.0]), ("g000002",))]
    with RunFolder.open(folder, write=True) as opened:
        opened.record_progress(StepProgress("generate", 3, 7, 1, 100.0, 110.0), 0)
        opened.keep(PUBLISHED, ledger.publish(load_campaign(folder / "campaign.toml"), {}))
    return folder


def test_table_has_every_crystal_ranked_with_typed_columns(run: Path) -> None:
    table = kappaforge.Campaign.open(run).table
    assert list(table.index) == ["g000002", "diamond", "g000001"]
    assert [table.index.name, *table.columns] == list(COLUMNS)
    assert table.kappa_rta_max_w_per_mk.dtype == "float64"
    assert np.isnan(table.kappa_rta_max_w_per_mk["g000001"])
    assert (table.space_group_number.dtype, table.space_group_number["diamond"]) == ("Int64", 227)
    assert table.novel.sum() == 1
    assert table.query("kappa_rta_max_w_per_mk > 4").index.tolist() == ["g000002"]
    np.testing.assert_array_equal(table.kappa_rta_w_per_mk["diamond"], np.diag([3.0, 2.0, 1.0]))


def test_other_tables_tell_counts_reasons_progress_and_rounds(run: Path) -> None:
    campaign = kappaforge.Campaign.open(str(run))
    assert campaign.counts.loc["unique"].to_dict() == {"crystals": 1, "left_here": 1}
    assert campaign.discards.to_dict("records") == [{"step": "unique", "reason": "duplicate", "crystals": 1}]
    assert campaign.progress.loc["generate"].to_dict() == {
        "done": 3,
        "total": 7,
        "tasks_per_s": pytest.approx(0.2),
        "remaining_s": pytest.approx(20.0),
    }
    rounds = campaign.rounds.set_index("id")
    assert rounds.added.to_dict() == {"diamond": False, "g000002": True}
    assert campaign.settings["potential"]["name"] == "brenner"
    assert campaign.versions["kappaforge"] == kappaforge.__version__
    assert campaign.driver is None


def test_crystals_come_as_atoms_with_what_is_known_of_them(run: Path, diamond: Crystal) -> None:
    campaign = kappaforge.Campaign.open(run)
    atoms = campaign.atoms("diamond")
    np.testing.assert_array_equal(atoms.positions, diamond.positions)
    assert atoms.pbc.all()
    assert (atoms.info["space_group_number"], atoms.info["kappa_rta_max_w_per_mk"]) == (227, 3.0)
    assert "kappa_lbte_max_w_per_mk" not in atoms.info, "nothing is known of it"
    assert [each.info["id"] for each in campaign.all_atoms()] == list(campaign.table.index)
    with pytest.raises(InputError, match=r"there is no crystal 'diamund' \(did you mean 'diamond'\?\)"):
        campaign.atoms("diamund")


def test_folders_without_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        kappaforge.Campaign.open(tmp_path / "nothing")
    folder = make_run(tmp_path / "run", SMALL)
    with pytest.raises(InputError, match="holds no results yet"):
        kappaforge.Campaign.open(folder)
    RunFolder.open(folder, write=True).close()
    with pytest.raises(InputError, match="nothing to show yet"):
        kappaforge.Campaign.open(folder)

"""Uniqueness and novelty in tasks: the same answers as at once, whatever the cut, and nothing done twice."""

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read

from kappaforge.campaign import distill
from kappaforge.campaign.memo import Memo
from kappaforge.campaign.progress import Silence
from kappaforge.crystal import Crystal
from kappaforge.engine.settings import EngineSettings
from kappaforge.packed import PackedCrystals
from kappaforge.screen.settings import ScreenSettings
from kappaforge.screen.unique import group, match, reduce_cells
from kappaforge.store.run_folder import RunFolder

PAPER = ScreenSettings()
IN_PROCESS = EngineSettings(executor="in-process")


@pytest.fixture(scope="module")
def crystals(shared_data):
    """Sixty crystals of carbon-24 and some of other elements."""
    atoms = read(shared_data / "carbon24" / "carbon24_cdvae_val_test_4062.extxyz.gz", ":60")
    others = [bulk("BN", "zincblende", a=3.6), bulk("Si", "diamond", a=5.43), bulk("BN", "zincblende", a=3.7)]
    return [Crystal.from_ase(one) for one in [*atoms, *others]]


@pytest.fixture
def small_cuts(monkeypatch):
    monkeypatch.setattr(distill, "CHUNK", 7)
    monkeypatch.setattr(distill, "PIECE", 2)
    monkeypatch.setattr(distill, "BLOCK", 5)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "run").mkdir()
    with RunFolder.open(tmp_path / "run", write=True) as opened:
        yield opened


def test_groups_in_pieces_are_those_at_once(crystals, folder, small_cuts):
    memo = Memo(folder, IN_PROCESS, Silence())
    labels = distill.groups(memo, "unique", distill.reduced(memo, "reduce", crystals), PAPER)
    assert np.array_equal(labels, group(crystals, PAPER))
    assert len(np.unique(labels)) < len(crystals)


def test_matches_in_pieces_are_those_at_once(crystals, folder, small_cuts):
    memo = Memo(folder, IN_PROCESS, Silence())
    new, known = crystals[20:], crystals[:20]
    found = distill.matches(
        memo, "novel", distill.reduced(memo, "reduce", new), distill.reduced(memo, "reduce", known), PAPER
    )
    assert np.array_equal(found, match(new, known, PAPER))
    assert 0 < (found >= 0).sum() < len(new)


def test_worker_processes_find_the_same(crystals, folder, small_cuts):
    memo = Memo(folder, EngineSettings(workers=2), Silence())
    new, known = crystals[50:], crystals[:50]
    found = distill.matches(memo, "novel", reduce_cells(new), reduce_cells(known), PAPER)
    assert np.array_equal(found, match(new, known, PAPER))


def test_more_crystals_do_not_repeat_the_comparisons_of_the_first(crystals, folder, small_cuts, monkeypatch, tmp_path):
    memo = Memo(folder, IN_PROCESS, Silence())
    distill.groups(memo, "unique", reduce_cells(crystals[:40]), PAPER)
    compared = []
    compare = distill.tasks.match_crystals

    def counted(new, known, settings):
        compared.append(len(new) * len(known))
        return compare(new, known, settings)

    monkeypatch.setattr(distill.tasks, "match_crystals", counted)
    labels = distill.groups(memo, "unique", reduce_cells(crystals), PAPER)
    grown = sum(compared)
    (tmp_path / "another").mkdir()
    with RunFolder.open(tmp_path / "another", write=True) as other:
        distill.groups(Memo(other, IN_PROCESS, Silence()), "unique", reduce_cells(crystals), PAPER)
    assert np.array_equal(labels, group(crystals, PAPER))
    assert 0 < grown < 0.8 * (sum(compared) - grown)


def test_a_second_run_computes_nothing(crystals, folder, small_cuts, monkeypatch):
    memo = Memo(folder, IN_PROCESS, Silence())
    first = distill.groups(memo, "unique", reduce_cells(crystals), PAPER)

    def never(*arguments):
        raise AssertionError("this has been computed")

    monkeypatch.setattr(distill.tasks, "match_crystals", never)
    monkeypatch.setattr(distill.tasks, "group_crystals", never)
    assert np.array_equal(distill.groups(memo, "unique", reduce_cells(crystals), PAPER), first)


def test_nothing_is_grouped_and_matched_to_nothing(folder):
    memo = Memo(folder, IN_PROCESS, Silence())
    nothing = distill.reduced(memo, "reduce", [])
    assert distill.groups(memo, "unique", nothing, PAPER).shape == (0,)
    assert distill.matches(memo, "novel", nothing, nothing, PAPER).shape == (0,)


def test_packed_crystals_come_out_as_they_went_in(crystals):
    packed = reduce_cells(crystals)
    places = np.array([5, 0, 61, 5])
    taken = list(packed.take(places))
    whole = list(packed)
    assert [one.index for one in taken] == [0, 1, 2, 3]
    for one, place in zip(taken, places, strict=True):
        assert np.array_equal(one.sites, whole[place].sites)
        assert np.array_equal(one.cell, whole[place].cell)
        assert one.composition == whole[place].composition
    again = PackedCrystals.joined([packed.take(np.arange(10)), packed.take(np.arange(10, len(packed)))])
    assert np.array_equal(again.sites, packed.sites)


def test_a_crystal_without_a_reduced_cell_keeps_its_place(crystals):
    packed = reduce_cells(crystals[:3])
    gap = PackedCrystals.of([one for one in packed if one.index != 1], 3)
    assert len(gap) == 3
    assert [one.index for one in gap] == [0, 2]
    assert np.array_equal(list(gap)[1].sites, list(packed)[2].sites)

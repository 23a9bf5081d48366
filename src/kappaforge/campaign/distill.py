"""Uniqueness and novelty of many crystals, in tasks that any number of workers may share.

Only crystals of the same composition can match. Of each composition a block is compared to the representatives found
before it, piece by piece, which is most of the work and in any order; what matched none of them is then grouped among
itself. A piece knows nothing of how many crystals follow, so that a campaign that grows repeats its last pieces at
most, and the groups are those of `kappaforge.screen.unique.group`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kappaforge.campaign import tasks
from kappaforge.campaign.memo import Memo
from kappaforge.crystal import Crystal
from kappaforge.packed import PackedCrystals
from kappaforge.screen.geometry import deviation
from kappaforge.screen.settings import ScreenSettings
from kappaforge.store.distillation import Distillation, stacked

CHUNK = 512
"""Crystals that are reduced in one task."""

PIECE = 2048
"""Crystals that are compared to known ones in one task, whose lattices it has to list first."""

BLOCK = 4 * PIECE
"""Crystals of one composition between two looks at what has become known."""

REDUCE_VERSION, GROUP_VERSION = 1, 2
"""Raise them when the same crystals are reduced or grouped otherwise."""


def reduced(memo: Memo, step: str, crystals: Sequence[Crystal]) -> PackedCrystals:
    """Return the crystals in their reduced primitive cells."""
    if not crystals:
        return tasks.reduce_cells(())
    arguments = [(tuple(crystals[start : start + CHUNK]),) for start in range(0, len(crystals), CHUNK)]
    return PackedCrystals.joined(memo.map(step, REDUCE_VERSION, tasks.reduce_cells, arguments))


def groups(memo: Memo, step: str, crystals: PackedCrystals, settings: ScreenSettings) -> np.ndarray:
    """Return the group of each crystal, named by the place of its first, shape (n_crystals,)."""
    labels = np.arange(len(crystals))
    members = crystals.places_by_composition()
    known = {composition: np.empty(0, dtype=np.int64) for composition in members}
    for start in range(0, max(map(len, members.values()), default=0), BLOCK):
        blocks = {one: places[start : start + BLOCK] for one, places in members.items() if len(places) > start}
        old = {one: (known[one], places) for one, places in blocks.items() if len(known[one])}
        for one, found in zip(old, _compare(memo, step, crystals, list(old.values()), settings), strict=True):
            same = found >= 0
            labels[blocks[one][same]] = found[same]
            blocks[one] = blocks[one][~same]
        new = sorted(blocks.items(), key=lambda item: -len(item[1]))  # the longest task first
        arguments = [(crystals.take(places), settings) for _, places in new]
        results = memo.map(f"{step}: new ones", GROUP_VERSION, tasks.group_crystals, arguments)
        for (one, places), found in zip(new, results, strict=True):
            labels[places] = places[found]
            known[one] = np.concatenate([known[one], places[found == np.arange(len(places))]])
    return labels


def matches(
    memo: Memo, step: str, crystals: PackedCrystals, reference: PackedCrystals, settings: ScreenSettings
) -> np.ndarray:
    """Return for each crystal the place of the first in the reference that is the same, or -1, shape (n_crystals,)."""
    found = np.full(len(crystals), -1)
    both = PackedCrystals.joined([reference, crystals])
    old, new = reference.places_by_composition(), crystals.places_by_composition()
    pairs = [(old[one], places + len(reference)) for one, places in new.items() if one in old]
    for (_, places), same in zip(pairs, _compare(memo, step, both, pairs, settings), strict=True):
        found[places - len(reference)] = same
    return found


def summary(generated: Sequence[Crystal], relaxed: Mapping[str, Crystal], novel: Sequence[bool | None]) -> Distillation:
    """Return growth curves and deviations of generated crystals.

    Parameters
    ----------
    generated
        In their order.
    relaxed
        Those that relaxed, by id.
    novel
        Whether each unique one is novel; None for the others, shape (n_generated,).
    """
    found = [deviation(crystal, relaxed[crystal.id]) for crystal in generated if crystal.id in relaxed]
    return Distillation(
        unique=np.array([answer is not None for answer in novel], dtype=bool),
        novel=np.array([bool(answer) for answer in novel], dtype=bool),
        lengths=stacked([one.lengths[None] for one in found]),
        angles=stacked([one.angles[None] for one in found]),
        sizes=np.array([len(one.fractional) for one in found], dtype=int),
        fractional=stacked([one.fractional for one in found]),
    )


def _compare(
    memo: Memo,
    step: str,
    crystals: PackedCrystals,
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    settings: ScreenSettings,
) -> list[np.ndarray]:
    """Return, for each pair of known places and new ones, the known place of the first match of each new one, or -1."""
    pieces = [
        (number, known, new[start : start + PIECE])
        for number, (known, new) in enumerate(pairs)
        for start in range(0, len(new), PIECE)
    ]
    pieces.sort(key=lambda piece: -len(piece[1]) * len(piece[2]))  # the longest task first; the sort is stable
    arguments = [(crystals.take(new), crystals.take(known), settings) for _, known, new in pieces]
    results = memo.map(step, GROUP_VERSION, tasks.match_crystals, arguments)
    found: list[list[np.ndarray]] = [[] for _ in pairs]
    for (number, known, _), same in zip(pieces, results, strict=True):
        found[number].append(np.where(same >= 0, known[same], -1))
    return [np.concatenate(parts) for parts in found]

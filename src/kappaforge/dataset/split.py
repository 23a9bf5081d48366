"""Lowest-energy fraction, and the split into training, validation and test."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np

from kappaforge.dataset.entry import DatasetEntry
from kappaforge.dataset.settings import check_fractions
from kappaforge.errors import InputError

Split = tuple[list[DatasetEntry], list[DatasetEntry], list[DatasetEntry]]


def lowest_energy(entries: Sequence[DatasetEntry], fraction: float) -> list[DatasetEntry]:
    """Return the given fraction of the entries, those lowest in energy per atom, in their order.

    Of equal energies the earlier entry stays; the number kept is rounded up (the paper's 10 % of 101,529 are 10,153).
    Meaningful for one composition only, as energies of different compositions do not compare.

    Raises
    ------
    InputError
        For a fraction outside (0, 1], or below 1 where an entry has no energy.
    """
    if not 0 < fraction <= 1:
        raise InputError(f"lowest_energy_fraction: expected above 0 and up to 1, got {fraction}")
    if fraction == 1:
        return list(entries)
    energies = [entry.energy_ev_per_atom for entry in entries]
    if None in energies:
        unlabelled = entries[energies.index(None)].crystal
        raise InputError(
            f"lowest_energy_fraction {fraction}: {unlabelled.id!r} of {unlabelled.source} has no energy; "
            "use 1.0 or a labelled data set"
        )
    n_kept = math.ceil(round(fraction * len(entries), 9))  # 0.1 * 30 is 3.0000000000000004
    kept = np.argsort(np.array(energies, dtype=float), kind="stable")[:n_kept]
    return [entries[index] for index in sorted(kept)]


def split(
    entries: Sequence[DatasetEntry],
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
) -> Split:
    """Split entries at random into training, validation and test.

    Parameters
    ----------
    entries
        The data set.
    fractions
        Of training, validation and test; they sum to one.
    seed
        Decides the split, together with the number of entries and the groups.
    groups
        A label for each entry; entries with equal labels stay together. With one label for each distinct structure,
        copies of one structure never lie on both sides, which a plain random split does not ensure.

    Returns
    -------
    tuple of three lists
        Each in the order of `entries`. Sizes follow the fractions to one entry without groups, and as closely as the
        groups allow with them.
    """
    check_fractions(fractions)
    if groups is not None and len(groups) != len(entries):
        raise InputError(f"groups: expected one label for each of the {len(entries)} entries, got {len(groups)}")
    members: defaultdict[Hashable, list[int]] = defaultdict(list)
    for index, label in enumerate(range(len(entries)) if groups is None else groups):
        members[label].append(index)
    shuffled = list(members.values())
    np.random.default_rng(seed).shuffle(shuffled)
    shuffled.sort(key=len, reverse=True)  # the large groups first, while every part still has room
    room = np.array(fractions) * len(entries)
    parts: tuple[list[int], ...] = ([], [], [])
    for group in shuffled:
        part = int(np.argmax(room))
        parts[part].extend(group)
        room[part] -= len(group)
    train, validation, test = ([entries[index] for index in sorted(part)] for part in parts)
    return train, validation, test

"""Stacking polytypes of diamond, from ideal tetrahedra."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError

BOND_ANG = 1.545
"""C–C bond length of diamond, Å."""


def polytype(word: str, *, bond_ang: float = BOND_ANG) -> Crystal:
    """Build a polytype of diamond in its primitive cell.

    Parameters
    ----------
    word
        Jagodzinski's symbol (doi 10.1107/S0365110X49000552): for each bilayer of one period, ``h`` where both
        neighbours lie alike and ``c`` where they do not. ``c`` is diamond, ``h`` lonsdaleite, ``hc`` 4H.
    bond_ang
        Bond length in Å; every angle is tetrahedral.

    Returns
    -------
    Crystal
        Two atoms for each bilayer, stacked along z; its id is `polytype_name`.
    """
    steps = _steps(word)
    side = bond_ang * np.sqrt(8 / 3)
    height = bond_ang * 4 / 3
    in_plane = side * np.array([[1, 0, 0], [-0.5, np.sqrt(3) / 2, 0]])
    shift = (in_plane[0] + 2 * in_plane[1]) / 3  # from a site A to B, from B to C, from C to A
    sites = np.cumsum([0, *steps])
    cell = np.array([*in_plane, (sites[-1] % 3) * shift + [0, 0, height * len(steps)]])
    lower = np.array([(site % 3) * shift + [0, 0, height * k] for k, site in enumerate(sites[:-1])])
    upper = lower + np.array([0, 0, bond_ang])
    positions = np.concatenate([lower, upper])
    return Crystal(cell, positions, np.full(len(positions), 6), id=f"polytype-{polytype_name(word)}-{word}")


def polytype_name(word: str) -> str:
    """Return Ramsdell's symbol: layers of the conventional cell and C, H or R, such as ``4H`` for ``hc``."""
    if set(word) == {"c"}:
        return "3C"
    steps = _steps(word)
    return f"{len(steps)}H" if sum(steps) % 3 == 0 else f"{3 * len(steps)}R"


def polytype_words(max_atoms: int) -> Iterator[str]:
    """Yield one word for each polytype with at most so many atoms in the primitive cell, the simplest first."""
    seen: set[str] = set()
    for length in range(1, max_atoms // 2 + 1):
        for letters in product("hc", repeat=length):
            word = "".join(letters)
            turned = {way[k:] + way[:k] for way in (word, word[::-1]) for k in range(length)}
            repeats = any(word == word[:k] * (length // k) for k in range(1, length) if length % k == 0)
            if not repeats and not turned & seen and 2 * len(_steps(word)) <= max_atoms:
                seen.add(word)
                yield word


def _steps(word: str) -> list[int]:
    """Shifts (+1 or −1) from each bilayer to the next over one period: ``h`` turns the direction, ``c`` keeps it."""
    if not word or set(word) - {"h", "c"}:
        raise InputError(f"polytype: expected a word of the letters h and c, got {word!r}")
    if word.count("h") % 2:
        word *= 2  # the direction comes back only after two words
    return [int(step) for step in np.cumprod([-1 if letter == "h" else 1 for letter in word])]

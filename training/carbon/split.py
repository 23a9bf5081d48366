"""Which labels test the `carbon` potential: the same crystals whatever is labelled later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from kappaforge.crystal import Crystal
from kappaforge.label.base import Label

SAME: dict[str, str] = json.loads(Path(__file__).with_name("same.json").read_text())
"""Names of parents that are another's crystal, and that other's; `same.py` made it."""

PARTS = 5
TESTS = 1
"""The part that is held out. Of the five this one has a crystal with supercells, Z-carbon, but not diamond."""


def parent(crystal: Crystal) -> str:
    """Return the crystal that a frame was made from, of which its source is ``<kind> <id>``."""
    name = crystal.source.split()[-1]
    return SAME.get(name, name)


def kind(crystal: Crystal) -> str:
    """Return how a frame was made from its parent."""
    return crystal.source.split()[0]


def is_held_out(name: str, part: int = TESTS) -> bool:
    """Tell whether all frames of that parent are for testing, or in another of the five parts."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % PARTS == part


def split(labels: Sequence[Label], part: int = TESTS) -> tuple[list[Label], list[Label]]:
    """Return the labels for training and those for testing."""
    held_out = [is_held_out(parent(label.crystal), part) for label in labels]
    return (
        [label for label, held in zip(labels, held_out, strict=True) if not held],
        [label for label, held in zip(labels, held_out, strict=True) if held],
    )

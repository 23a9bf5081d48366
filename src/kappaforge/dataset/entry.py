"""One entry of a data set: a crystal and what its source says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kappaforge.crystal import Crystal


@dataclass(frozen=True)
class DatasetEntry:
    """A crystal with its label.

    Parameters
    ----------
    crystal
        Its id is the material's id or the file's stem, its source the file's name.
    energy_ev_per_atom
        Energy (AIRSS: enthalpy) as the source gives it, eV/atom; None where it gives none. Energies of different
        sources do not share a zero.
    name
        The name it is known by, such as ``diamond``; empty for most.
    reference
        Where the geometry was published, such as a doi; empty where the source is all there is.
    """

    crystal: Crystal
    energy_ev_per_atom: float | None = None
    name: str = ""
    reference: str = ""


def unique_names(names: Sequence[str]) -> list[str]:
    """Return the names in order, those that came before with a suffix: ``a, a, b`` gives ``a, a-2, b``."""
    taken = set(names)
    seen: set[str] = set()
    unique = []
    for name in names:
        candidate, count = name, 1
        while candidate in seen or (count > 1 and candidate in taken):
            count += 1
            candidate = f"{name}-{count}"
        seen.add(candidate)
        unique.append(candidate)
    return unique


def with_unique_ids(entries: Sequence[DatasetEntry]) -> list[DatasetEntry]:
    """Return the entries with a suffix on every id that came before."""
    ids = unique_names([entry.crystal.id for entry in entries])
    return [
        entry if entry.crystal.id == unique else replace(entry, crystal=replace(entry.crystal, id=unique))
        for entry, unique in zip(entries, ids, strict=True)
    ]

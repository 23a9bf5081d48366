"""The data set a campaign starts from."""

from __future__ import annotations

from kappaforge.dataset.entry import DatasetEntry
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.dataset.readers import read
from kappaforge.dataset.settings import DatasetSettings
from kappaforge.dataset.split import lowest_energy
from kappaforge.errors import InputError


def load(settings: DatasetSettings) -> list[DatasetEntry]:
    """Return the entries the settings ask for: the files', or the built-in library's where they name none.

    The lowest-energy fraction is taken of what `max_atoms` leaves.

    Raises
    ------
    InputError
        For files that cannot be used, or where no entry is small enough.
    """
    entries = read(settings.path, settings.format) if settings.path else known_carbons()
    if settings.max_atoms:
        small = [entry for entry in entries if len(entry.crystal) <= settings.max_atoms]
        if not small:
            smallest = min(len(entry.crystal) for entry in entries)
            raise InputError(
                f"[dataset] max_atoms: no crystal has {settings.max_atoms} atoms or fewer (the smallest has {smallest})"
            )
        entries = small
    return lowest_energy(entries, settings.lowest_energy_fraction)

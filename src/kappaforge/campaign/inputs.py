"""What a campaign begins with: the crystals that are known, and what is to be proposed."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

from kappaforge.config import CampaignSettings
from kappaforge.crystal import Crystal
from kappaforge.dataset.known_carbon import known_carbons
from kappaforge.dataset.load import load
from kappaforge.errors import InputError, suggestion
from kappaforge.generate.settings import GenerateSettings
from kappaforge.potentials.base import Potential, require_elements

GENERATE_VERSION = 1
"""Of `tasks.generate`: raise it when the same arguments give other proposals."""


def read_dataset(settings: CampaignSettings, potential: Potential) -> tuple[list[Crystal], list[Crystal]]:
    """Return the known crystals that are always benchmarks, and the rest of the data set.

    Raises
    ------
    InputError
        For files that cannot be used, a known crystal that is not there, or elements that the potential does not know.
    """
    crystals = [entry.crystal for entry in load(settings.dataset)]
    by_id = {crystal.id: crystal for crystal in [*(entry.crystal for entry in known_carbons()), *crystals]}
    wanted = settings.select.known
    for name in wanted:
        if name not in by_id:
            raise InputError(f"[select] known: there is no crystal {name!r}{suggestion(name, by_id)}")
    known = [by_id[name] for name in wanted]
    dataset = [crystal for crystal in crystals if crystal.id not in wanted]
    for crystal in chain(known, dataset):
        require_elements(potential, crystal.elements)
    return known, dataset


def proposal_batches(settings: GenerateSettings, seed: int, size: int) -> list[tuple[GenerateSettings, int, int, int]]:
    """Return the arguments of the tasks that generate; how many there are in all is no part of them.

    So a larger campaign goes on from a smaller one, but for a last batch that was not full: it is made again, and what
    was computed of its crystals is found by their content.
    """
    alike = replace(settings, n=1)
    return [(alike, seed, first, min(size, settings.n - first)) for first in range(0, settings.n, size)]

"""The baseline generator: random crystals of random space groups, by PyXtal (doi 10.1016/j.cpc.2020.107810)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from importlib.metadata import version

import numpy as np
from ase.data import atomic_numbers

from kappaforge.crystal import Crystal
from kappaforge.errors import InputError, suggestion
from kappaforge.generate.attempt import AttemptError, attempt, compatible, covalent_spheres_ang3
from kappaforge.generate.base import Proposal, proposal_id
from kappaforge.generate.settings import GenerateSettings
from kappaforge.generate.wishes import formula_unit

ALGORITHM = 1
"""Counts up when the same settings and seed give other crystals than before."""


class RandomSymmetric:
    """Random symmetric crystals; see `kappaforge.generate.base.Generator`.

    For each crystal the number of atoms is drawn first, then their proportions, a space group that can hold them, the
    volume, and, by PyXtal, cell, sites and coordinates. An attempt that fails is drawn anew as a whole.

    Parameters
    ----------
    settings
        What to draw from.

    Raises
    ------
    InputError
        For unknown elements, or a formula that does not fit them or the number of atoms.
    """

    name = "random"
    batch = 16

    def __init__(self, settings: GenerateSettings) -> None:
        if unknown := [symbol for symbol in settings.elements if not atomic_numbers.get(symbol)]:
            raise InputError(f"[generate] elements: unknown {unknown[0]!r}{suggestion(unknown[0], atomic_numbers)}")
        self.settings = settings
        self._unit = formula_unit(settings)
        self._sizes = self._check_sizes(range(settings.min_atoms, settings.max_atoms + 1))

    @property
    def digest(self) -> str:
        """Hash of the settings, the algorithm and the versions of PyXtal and NumPy."""
        settings = asdict(self.settings)
        for name in ("generator", "n"):
            del settings[name]
        text = json.dumps([self.name, ALGORITHM, version("pyxtal"), version("numpy"), settings], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def sample(
        self,
        n: int,
        *,
        first: int = 0,
        seed: int = 0,
        num_atoms: int | None = None,
        spacegroup: int | None = None,
    ) -> list[Proposal]:
        """Return the proposals number `first` to `first + n - 1`; see `kappaforge.generate.base.Generator`."""
        for name, value in (("n", n), ("first", first), ("seed", seed)):
            if value < 0:
                raise InputError(f"{name}: expected 0 or more, got {value}")
        if spacegroup is not None and not 1 <= spacegroup <= 230:
            raise InputError(f"spacegroup: expected a number from 1 to 230, got {spacegroup}")
        sizes = self._sizes if num_atoms is None else self._check_sizes([num_atoms])
        groups = [spacegroup] if spacegroup else list(self.settings.space_groups or range(1, 231))
        return [self._propose(index, seed, sizes, groups) for index in range(first, first + n)]

    def _propose(self, index: int, seed: int, sizes: list[int], groups: list[int]) -> Proposal:
        name, number, reason = proposal_id(index), 0, ""
        settings = self.settings
        for trial in range(settings.max_attempts):
            rng = np.random.default_rng([seed, index, trial])
            drawn = self._draw(sizes, groups, rng)
            if drawn is None:
                reason = "no space group asked for can hold that many atoms in its primitive cell"
                continue
            number, counts = drawn
            volume = rng.uniform(*settings.volume_factor) * covalent_spheres_ang3(counts)
            try:
                atoms = attempt(
                    number,
                    counts,
                    volume_ang3=volume,
                    min_distance_factor=settings.min_distance_factor,
                    max_placements=settings.max_placements,
                    max_seconds=settings.max_seconds_per_attempt,
                    rng=rng,
                )
            except AttemptError as error:
                reason = str(error)
                continue
            return Proposal(name, "ok", Crystal.from_ase(atoms, id=name, source=self.name), space_group_number=number)
        reason = f"{reason} (last of {settings.max_attempts} attempts)"
        return Proposal(name, "failed", reason=reason, space_group_number=number)

    def _draw(self, sizes: list[int], groups: list[int], rng: np.random.Generator) -> tuple[int, dict[str, int]] | None:
        """Draw atoms, uniform in their number, and a space group, uniform among those that can hold them."""
        for size in rng.permutation(sizes):
            counts = self._draw_counts(int(size), rng)
            for number in rng.permutation(groups):
                if compatible(int(number), tuple(counts.values())):
                    return int(number), counts
        return None

    def _draw_counts(self, size: int, rng: np.random.Generator) -> dict[str, int]:
        if self._unit:
            times = size // sum(self._unit.values())
            return {symbol: count * times for symbol, count in self._unit.items()}
        elements = self.settings.elements
        cuts = np.sort(rng.choice(np.arange(1, size), size=len(elements) - 1, replace=False))
        parts = np.diff([0, *cuts, size])
        return {symbol: int(count) for symbol, count in zip(elements, parts, strict=True)}

    def _check_sizes(self, sizes: list[int] | range) -> list[int]:
        """Keep the numbers of atoms that the formula or the number of elements allows; refuse where there is none."""
        unit = sum(self._unit.values())
        kept = [size for size in sizes if (size % unit == 0 if unit else size >= len(self.settings.elements))]
        if not kept or kept[0] < 1:
            asked = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else f"{sizes[0]}"
            need = f"a multiple of {unit}" if unit else f"at least {len(self.settings.elements)}"
            raise InputError(f"[generate] number of atoms: expected {need} for the composition, got {asked}")
        return kept

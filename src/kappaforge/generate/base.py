"""What every generator offers: numbered proposals, each of which depends on its number and the seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from kappaforge.crystal import Crystal


@dataclass(frozen=True)
class Proposal:
    """One proposed crystal, or why there is none.

    Parameters
    ----------
    id
        `proposal_id` of its number; the crystal's id too.
    status
        ``ok`` or ``failed``.
    crystal
        In its primitive cell; None where the proposal failed.
    reason
        One line; empty when ok.
    space_group_number
        The space group asked for or drawn, whose operations the crystal has, perhaps among others; 0 where the
        generator works without or failed to draw one.
    """

    id: str
    status: str
    crystal: Crystal | None = None
    reason: str = ""
    space_group_number: int = 0


def proposal_id(index: int) -> str:
    """Return the id of proposal number `index`, such as ``g000017``."""
    return f"g{index:06d}"


@runtime_checkable
class Generator(Protocol):
    """A source of crystals; `tests/test_generate.py` is its contract."""

    @property
    def name(self) -> str:
        """The registry's name, which also loads it again."""

    @property
    def digest(self) -> str:
        """Hash of everything that decides its crystals but seed and number: model, settings, versions."""

    @property
    def batch(self) -> int:
        """How many proposals are made at once: whole batches, the first of which starts at 0, waste nothing."""

    def sample(
        self,
        n: int,
        *,
        first: int = 0,
        seed: int = 0,
        num_atoms: int | None = None,
        spacegroup: int | None = None,
    ) -> list[Proposal]:
        """Return the proposals number `first` to `first + n - 1`.

        Proposal i depends on i, the seed and the other arguments, but not on `n` or `first`: batches may be cut
        anyhow and run anywhere.

        Parameters
        ----------
        n
            How many; failed ones count.
        first
            Number of the first.
        seed
            Seed of the whole sequence.
        num_atoms
            Atoms in the primitive cell; None to leave it to the generator.
        spacegroup
            Number of the space group; None to leave it to the generator.

        Raises
        ------
        InputError
            For arguments out of range. A crystal that cannot be made is a failed proposal instead.
        """


@runtime_checkable
class LearnedGenerator(Generator, Protocol):
    """A generator that was fitted to crystals and encodes them by numbers.

    Beside this protocol each has two class methods: ``fit(crystals, ...)`` makes one, ``load(path, ...)`` reads one
    that `save` wrote.
    """

    def encode(self, crystals: Sequence[Crystal]) -> np.ndarray:
        """Return the latents of crystals, shape (n_crystals, n_latent).

        Raises
        ------
        InputError
            For elements that the generator has not seen, or a generator without encoder.
        """

    def decode(self, latents: np.ndarray, *, seed: int = 0, num_atoms: int | None = None) -> list[Proposal]:
        """Make a crystal of each latent, shape (n, n_latent); the number of atoms too where it is None."""

    def reconstruct(self, crystals: Sequence[Crystal], *, seed: int = 0) -> list[Proposal]:
        """Encode crystals and decode their latents."""

    def save(self, path: Path) -> None:
        """Write weights and settings to one ``.safetensors`` file, atomically."""

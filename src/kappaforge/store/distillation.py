"""What a campaign's distillation left behind, as arrays in one file of the run folder (paper, Fig. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from kappaforge.errors import InputError
from kappaforge.store.files import read_arrays, write_arrays

FILE = "distillation.h5"


@dataclass(frozen=True, eq=False)
class Distillation:
    """Growth and deviations of the generated crystals, in the order in which they were generated.

    Parameters
    ----------
    unique, novel
        Whether a crystal was the first of its kind, and whether nothing in the data set is the same, shape
        (n_generated,); neither where it did not relax.
    lengths, angles
        Relative changes from generated to relaxed, see `kappaforge.screen.geometry.Deviation`, shape (n_relaxed, 3).
    sizes
        Atoms of each relaxed crystal, shape (n_relaxed,).
    fractional
        Changes of the fractional coordinates of all atoms, shape (sum of the sizes, 3).
    """

    unique: np.ndarray
    novel: np.ndarray
    lengths: np.ndarray
    angles: np.ndarray
    sizes: np.ndarray
    fractional: np.ndarray

    @property
    def n_unique(self) -> np.ndarray:
        """Unique crystals among the first 1, 2, … generated ones, shape (n_generated,)."""
        return np.cumsum(self.unique)

    @property
    def n_novel(self) -> np.ndarray:
        """Unique crystals that are novel among the first 1, 2, … generated ones, shape (n_generated,)."""
        return np.cumsum(self.novel)

    def write(self, folder: Path) -> None:
        """Write it into a run folder, in place of the one before."""
        write_arrays(folder / FILE, {field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def read(cls, folder: Path) -> Distillation:
        """Read that of a run folder; raises `InputError` where no crystals have been distilled yet."""
        path = folder / FILE
        if not path.exists():
            raise InputError(f"{folder} holds no {FILE} yet: the run has not reached its screening")
        try:
            return cls(**read_arrays(path))
        except (OSError, KeyError, TypeError) as error:  # cut short, no HDF5, or of another version
            raise InputError(
                f"{path} is damaged or of another version ({error}); kappaforge run writes it again"
            ) from None


def stacked(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Put arrays of shape (n, 3) below each other, none included."""
    return np.concatenate([np.empty((0, 3)), *arrays])

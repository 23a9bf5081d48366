"""Which crystals to start from."""

from dataclasses import dataclass

from kappaforge.errors import InputError


@dataclass(frozen=True)
class DatasetSettings:
    """The data set behind novelty, training and benchmarks.

    Parameters
    ----------
    path
        A file, a folder or a glob pattern; empty for the built-in carbon library alone.
    format
        ``cif``, ``poscar``, ``extxyz``, ``res`` or ``csv``; empty to go by the files' names.
    lowest_energy_fraction
        Keep this fraction of the entries, the lowest in energy per atom.
    split
        Fractions for training, validation and test; they sum to one.
    max_atoms
        Leave out crystals with more atoms in the cell as given; 0 for no limit.
    """

    path: str = ""
    format: str = ""
    lowest_energy_fraction: float = 1.0
    split: tuple[float, float, float] = (0.6, 0.2, 0.2)
    max_atoms: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.lowest_energy_fraction <= 1:
            raise InputError(
                f"[dataset] lowest_energy_fraction: expected above 0 and up to 1, got {self.lowest_energy_fraction}"
            )
        check_fractions(self.split)
        if self.max_atoms < 0:
            raise InputError(f"[dataset] max_atoms: expected 0 (no limit) or more, got {self.max_atoms}")


def check_fractions(fractions: tuple[float, ...]) -> None:
    """Raise `InputError` unless these are three fractions, none negative, that sum to one."""
    if len(fractions) != 3 or not all(0 <= part <= 1 for part in fractions) or abs(sum(fractions) - 1) > 1e-9:
        raise InputError(f"[dataset] split: expected three fractions that sum to 1, got {fractions}")

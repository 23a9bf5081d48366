"""Which potential to use."""

from dataclasses import dataclass

from kappaforge.errors import InputError

DEFAULT = "carbon"
"""Our own model of DFT labels; other elements need another, such as ``7net-0``."""


@dataclass(frozen=True)
class PotentialSettings:
    """The potential behind relaxation, phonons and κ.

    Parameters
    ----------
    name
        A name of `kappaforge.potentials.registry.available`; or the path of a trained model, ending in
        ``.safetensors``; or ``ase:module.path:factory`` for any ASE calculator.
    """

    name: str = DEFAULT

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise InputError(f"[potential] name: expected the name of a potential, got {self.name!r}")

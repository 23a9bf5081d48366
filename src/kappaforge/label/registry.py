"""Labelers by name."""

from __future__ import annotations

from importlib import import_module

from kappaforge.calculators import PREFIX
from kappaforge.errors import InputError, suggestion
from kappaforge.label.base import Labeler
from kappaforge.label.settings import LabelSettings

LABELERS = {
    "espresso": "kappaforge.label.espresso:EspressoLabeler",
    "gpaw": "kappaforge.label.gpaw:GpawLabeler",
}
"""Where each labeler lives; it is called with the settings, and imported only then."""


def load(settings: LabelSettings) -> Labeler:
    """Return the labeler that the settings name, or ``ase:module.path:factory`` from any ASE calculator.

    Raises
    ------
    InputError
        For an unknown name, an engine that is not installed, or a factory that cannot be imported or called.
    """
    if settings.labeler.startswith(PREFIX):
        from kappaforge.label.ase_calculator import AseLabeler

        return AseLabeler(settings)
    if settings.labeler not in LABELERS:
        raise InputError(
            f"[label] labeler: unknown {settings.labeler!r}{suggestion(settings.labeler, LABELERS)}; "
            "any ASE calculator works as 'ase:module.path:factory', VASP through kappaforge vasp"
        )
    module, _, factory = LABELERS[settings.labeler].partition(":")
    labeler: Labeler = getattr(import_module(module), factory)(settings)
    return labeler

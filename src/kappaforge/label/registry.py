"""Labelers by name."""

from __future__ import annotations

from importlib import import_module

from kappaforge.errors import InputError, suggestion
from kappaforge.label.base import Labeler
from kappaforge.label.settings import LabelSettings

LABELERS = {
    "gpaw": "kappaforge.label.gpaw:GpawLabeler",
}
"""Where each labeler lives; it is called with the settings, and imported only then."""


def load(settings: LabelSettings) -> Labeler:
    """Return the labeler that the settings name; raises `InputError` for an unknown one, or one not installed."""
    if settings.labeler not in LABELERS:
        raise InputError(f"[label] labeler: unknown {settings.labeler!r}{suggestion(settings.labeler, LABELERS)}")
    module, _, factory = LABELERS[settings.labeler].partition(":")
    labeler: Labeler = getattr(import_module(module), factory)(settings)
    return labeler

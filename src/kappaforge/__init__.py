"""kappaforge finds crystals with ultrahigh lattice thermal conductivity.

In a notebook: `generate`, `relax`, `screen`, `conductivity`, and `Campaign.open` for what a campaign found; see
`kappaforge.api`. The first three are packages as well, which can be called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kappaforge.api import Campaign, conductivity

__version__ = "0.1.0"

__all__ = ["Campaign", "__version__", "conductivity", "generate", "relax", "screen"]


def __getattr__(name: str) -> Any:
    if name in ("Campaign", "conductivity"):  # their imports take seconds
        from kappaforge import api

        return getattr(api, name)
    if name in ("generate", "relax", "screen"):
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

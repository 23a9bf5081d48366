"""kappaforge finds crystals with ultrahigh lattice thermal conductivity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kappaforge.api import conductivity

__version__ = "0.1.0"

__all__ = ["__version__", "conductivity"]


def __getattr__(name: str) -> Any:
    if name == "conductivity":  # its imports take seconds
        from kappaforge.api import conductivity

        return conductivity
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

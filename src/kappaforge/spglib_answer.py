"""spglib's answers, None where it finds nothing, in whichever of its two modes it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from spglib.error import SpglibError

os.environ.setdefault("SPGLIB_WARNING", "OFF")  # its library prints what the answer says


def or_none(search: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
    """Return ``search(*arguments, **settings)``, a function of spglib's, or None where it finds nothing.

    spglib returns None then, or raises once phonopy or ASE has been imported, which switch its mode for everyone.
    """
    try:
        return search(*arguments, **settings)
    except SpglibError:
        return None

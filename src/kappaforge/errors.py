"""The errors a user can meet: one line each, which says what was expected, what came and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches

MOST_NAMES = 40
"""Of a list in a message: there may be thousands of crystals."""


class KappaforgeError(Exception):
    """Base of every error raised on purpose; its message is complete without a traceback."""


class InputError(KappaforgeError):
    """What the user gave cannot be used: a file, a setting, a crystal, a name. The CLI exits with code 2."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the closest of the known names, or the first of the list of them."""
    known = sorted(known)
    close = get_close_matches(name, known, n=1)
    if close:
        return f" (did you mean {close[0]!r}?)"
    more = f" and {len(known) - MOST_NAMES} more" if len(known) > MOST_NAMES else ""
    return f" (known: {', '.join(known[:MOST_NAMES])}{more})"

"""The committee of the potential that a user names."""

from __future__ import annotations

from kappaforge.cli.terminal import err


def members_of(potential: str) -> tuple[str, ...]:
    """Return the names of its members; where there are none, say so on stderr."""
    from kappaforge.potentials.registry import committee

    members = committee(potential)
    if not members:
        err.print(f"potential {potential!r} has no committee: no spread of κ is given", highlight=False)
    return members

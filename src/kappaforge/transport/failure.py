"""How a part of the calculation says that the crystal has no κ."""

from kappaforge.errors import KappaforgeError


class TransportError(KappaforgeError):
    """A crystal without κ; it becomes the status and the reason of its record.

    It leaves `transport` only where force constants are made of forces from elsewhere.
    """

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason

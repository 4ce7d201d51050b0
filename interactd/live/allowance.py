"""So much a second."""
from __future__ import annotations


class Allowance:
    """A bucket that fills at `rate` a second and holds one second's worth."""

    __slots__ = ("_rate", "_left", "_at")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._left = max(1.0, rate)
        self._at = now

    def take(self, now: float) -> bool:
        """Whether there was one left."""
        self._left = min(max(1.0, self._rate), self._left + (now - self._at) * self._rate) - 1
        self._at = now
        return self._left >= 0

"""How many sockets may be open that have not said yet who they are."""
from __future__ import annotations

from collections import Counter

from interactd.auth.throttle import origin
from interactd.errors import TooMany, Unavailable


class Admission:
    """Counts unauthenticated sockets, by address (IPv6: by /64) and all together."""

    def __init__(self, per_address: int, total: int) -> None:
        self._per_address = per_address
        self._total = total
        self._inside: Counter[str] = Counter()

    def check(self, address: str) -> None:
        """Nothing, or TooMany (of this address), or Unavailable (of all)."""
        if self._inside[origin(address)] >= self._per_address:
            raise TooMany("too many sockets of this address have not sent a token yet", retry_after=10)
        if self._inside.total() >= self._total:
            raise Unavailable("too many sockets have not sent a token yet", retry_after=10)

    def enter(self, address: str) -> None:
        """One more."""
        self._inside[origin(address)] += 1

    def leave(self, address: str) -> None:
        """One less."""
        key = origin(address)
        self._inside[key] -= 1
        if self._inside[key] <= 0:
            del self._inside[key]

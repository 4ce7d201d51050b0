"""How much somebody may ask for: so much a second, and a burst after a pause."""
from __future__ import annotations

import math
from collections import OrderedDict

_MOST = 100_000


class Rates:
    """A bucket for each key seen lately (a token's digest, say); times are seconds of a clock that only goes forward."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._buckets: OrderedDict[bytes, tuple[float, float]] = OrderedDict()      # what is left, and when

    def spend(self, key: bytes, amount: int, now: float) -> int:
        """0 and the amount is counted, or the whole seconds after which it would be taken (a burst at the most)."""
        left, then = self._buckets.pop(key, (float(self._burst), now))
        left = min(self._burst, left + (now - then) * self._per_second)
        enough = left >= min(amount, self._burst)
        self._buckets[key] = (left - amount if enough else left, now)
        if len(self._buckets) > _MOST:
            self._buckets.popitem(last=False)
        return 0 if enough else max(1, math.ceil((min(amount, self._burst) - left) / self._per_second))

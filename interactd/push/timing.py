"""One timer that is set, moved and taken back."""
from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Alarm:
    """Calls `act` at the earliest of the times it was set to."""

    __slots__ = ("_clock", "_act", "_timer")

    def __init__(self, clock: IReactorTime, act: Callable[[], object]) -> None:
        self._clock = clock
        self._act = act
        self._timer: IDelayedCall | None = None

    @property
    def is_set(self) -> bool:
        """Whether it will ring."""
        return self._timer is not None

    def set(self, delay: float) -> None:
        """Rings in `delay` seconds, if not before."""
        at = self._clock.seconds() + max(0.0, delay)
        if self._timer is None:
            self._timer = self._clock.callLater(max(0.0, delay), self._ring)
        elif self._timer.getTime() > at:
            self._timer.reset(max(0.0, delay))

    def cancel(self) -> None:
        """Does not ring."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        self._act()

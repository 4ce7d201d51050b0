"""The requests in work, so that a daemon that stops answers them first."""
from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime


class Work:
    """Counts requests from their reading to their answer."""

    def __init__(self) -> None:
        self.ending = False                 # whether clients should not use their connection again
        self._count = 0
        self._idle: Deferred[None] | None = None

    def __enter__(self) -> None:
        """A request begins."""
        self._count += 1

    def __exit__(self, *_: object) -> None:
        """It is answered, or given up."""
        self._count -= 1
        if not self._count:
            self._nothing_left()

    async def done(self, clock: IReactorTime, patience: float) -> bool:
        """Returns when no request is in work any more; False if some still are after `patience` seconds."""
        self.ending = True
        if self._count:
            self._idle = idle = Deferred[None]()
            timer = clock.callLater(patience, self._nothing_left)
            await idle
            if timer.active():
                timer.cancel()
        return not self._count

    def _nothing_left(self) -> None:
        if self._idle is not None:
            idle, self._idle = self._idle, None
            idle.callback(None)

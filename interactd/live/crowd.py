"""Every connection that has left HTTP, authenticated or not, until it is lost."""
from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from interactd import metrics
from interactd.live.closing import Close

if TYPE_CHECKING:
    from interactd.live.websocket import Socket

GRACE = 5.0             # seconds for a client to answer the close frame
RETURN_RATE = 200       # sockets a second that come back after a restart


class Crowd:
    """The sockets of this process."""

    def __init__(self) -> None:
        self._sockets: set[Socket] = set()
        self._emptied: Deferred[None] | None = None

    def __len__(self) -> int:
        return len(self._sockets)

    def __iter__(self) -> Iterator[Socket]:
        return iter(tuple(self._sockets))

    def __contains__(self, socket: object) -> bool:
        return socket in self._sockets

    def add(self, socket: Socket) -> None:
        """One more."""
        self._sockets.add(socket)
        metrics.SOCKETS.inc()

    def discard(self, socket: Socket) -> None:
        """One less."""
        self._sockets.discard(socket)
        metrics.SOCKETS.dec()
        if not self._sockets and self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def look(self, now: float) -> None:
        """One pass for all costs a comparison each; a timer each would cost four times the work."""
        for socket in [socket for socket in self._sockets if socket.due <= now]:
            socket.look(now)

    async def send_away(self, clock: Any) -> None:
        """Every client is told to come back, each at another time; returns when all have gone, the slow ones by force."""
        longest = 1000 + 1000 * len(self) // RETURN_RATE
        for socket in self:
            socket.send_away(random.randint(500, longest))
        if self._sockets:
            self._emptied = emptied = Deferred[None]()
            timer = clock.callLater(GRACE, self._abandon)
            await emptied
            if timer.active():
                timer.cancel()

    def _abandon(self) -> None:
        for socket in self:
            socket.transport.abortConnection()


def come_again(after: int) -> tuple[Close, str]:
    """Code and reason of a restart: come again in `after` ms."""
    return Close.RESTART, '{"reconnectAfter":%d}' % after

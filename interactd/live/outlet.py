"""What goes out over a connection, at the pace at which the client takes it."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.tcp import Server
from zope.interface import implementer

TRANSPORT = 1 << 16     # bytes that Twisted's transport holds before it pauses its producer


@implementer(IPushProducer)
class Outlet:
    """Writes until the transport is full, then keeps up to `most` bytes; `now` counts monotonic seconds."""

    __slots__ = ("stalled_at", "kept", "_transport", "_most", "_now", "_handed", "_flow", "_waiting")

    def __init__(self, most: int, now: Callable[[], float], handed: Callable[[Any], None], flow: Callable[[], None]) -> None:
        self.stalled_at: float | None = None        # since when the client takes nothing
        self.kept = 0                               # bytes that wait here
        self._transport: Any = None
        self._most = most
        self._now = now
        self._handed = handed                       # called with each delivery that leaves for the network
        self._flow = flow                           # called when the client stops or starts to take
        self._waiting: list[tuple[bytes, Any]] = []       # an empty deque would take ten times the room

    def attach(self, transport: Any) -> None:
        """From now on this is the transport's producer, in place of the HTTP channel."""
        self._transport = transport
        transport.unregisterProducer()
        transport.registerProducer(self, True)

    def write(self, data: bytes, delivery: Any) -> bool:
        """Whether there was room."""
        if self.stalled_at is None:
            self._hand(data, delivery)
            return True
        self._waiting.append((data, delivery))
        self.kept += len(data)
        return self.kept + TRANSPORT <= self._most

    def drop(self) -> None:
        """What waits will never go out."""
        self._waiting.clear()
        self.kept = 0

    def pauseProducing(self) -> None:
        """The client does not keep up."""
        if self.stalled_at is None:
            self.stalled_at = self._now()
            self._flow()

    def resumeProducing(self) -> None:
        """The client has taken all that was handed over."""
        self.stalled_at = None
        while self._waiting and self.stalled_at is None:
            data, delivery = self._waiting.pop(0)
            self.kept -= len(data)
            self._hand(data, delivery)
        self._flow()

    def stopProducing(self) -> None:
        """The connection is lost, as the protocol hears too."""
        self.drop()

    def _hand(self, data: bytes, delivery: Any) -> None:
        sent = self._sent_at_once(data)
        if sent < len(data):
            self._transport.write(data[sent:])
        if delivery is not None:
            self._handed(delivery)

    def _sent_at_once(self, data: bytes) -> int:
        """How many bytes the network took here and now, behind nothing that waits: the reactor need not be told to write them."""
        transport = self._transport
        if type(transport) is not Server or transport.TLS or transport.disconnecting or not transport.connected:
            return 0
        if transport.dataBuffer or transport._tempDataBuffer:
            return 0
        sent = transport.writeSomeData(data)
        return sent if isinstance(sent, int) else 0         # a connection that is lost is noticed when the rest is written

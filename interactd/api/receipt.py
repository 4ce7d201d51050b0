"""Connections that know when an answer has arrived: HTTP has no receipts, but what the client does next tells (contract section 9)."""
from __future__ import annotations

import struct
from collections.abc import Callable
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, ISSLTransport, ITCPTransport
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, _GenericHTTPChannelProtocol
from zope.interface import implementer

PATIENCE = 30          # seconds for a client to close after us


class Channel(HTTPChannel):
    """Calls `taken` of the answer sent last when the client has it: it uses the connection again, or ends it in order."""

    def __init__(self) -> None:
        HTTPChannel.__init__(self)
        self._taken: Callable[[], None] | None = None
        self._finishing = self._half_closed = False

    def expect(self, taken: Callable[[], None] | None) -> None:
        """`taken` is called when the answer about to be finished has arrived for sure; never, if that does not show."""
        self._taken = taken

    def arrived(self) -> None:
        """The client has the answer."""
        taken, self._taken = self._taken, None
        if taken is not None:
            taken()

    def requestDone(self, request: Any) -> None:
        self._finishing = True            # what is read now was sent before the client saw the answer
        HTTPChannel.requestDone(self, request)
        self._finishing = False

    def dataReceived(self, data: bytes) -> None:
        if not self._finishing:
            self.arrived()
        HTTPChannel.dataReceived(self, data)

    def loseConnection(self) -> Any:
        """Closes the connection; where an answer is on its way, only our side of it, to see whether the client ends in order."""
        transport: Any = self.transport
        if self._taken is None or self._half_closed or not _plain(transport):
            return HTTPChannel.loseConnection(self)
        self._half_closed = True
        transport.unregisterProducer()
        transport.loseWriteConnection()
        self.setTimeout(PATIENCE)  # type: ignore[no-untyped-call]
        return None


@implementer(IHalfCloseableProtocol)
class Connection(_GenericHTTPChannelProtocol):
    """One connection of a client."""

    def readConnectionLost(self) -> None:
        """The client has ended its side: that ends the connection, and says that the answer arrived if every byte is confirmed."""
        transport: Any = self._channel.transport
        if isinstance(self._channel, Channel) and _confirmed(transport):
            self._channel.arrived()
        transport.connectionLost(Failure(CONNECTION_DONE))

    def writeConnectionLost(self) -> None:
        """Our side is closed; the client's end is waited for."""


def connection() -> Connection:
    """The protocol of a new connection."""
    return Connection(Channel())


def _plain(transport: Any) -> bool:
    return bool(ITCPTransport.providedBy(transport) and not ISSLTransport.providedBy(transport))


def _confirmed(transport: Any) -> bool:
    """Whether the peer's system has confirmed all that was written: nothing waits here, nothing in the kernel."""
    if transport.dataBuffer or transport._tempDataBuffer:
        return False
    return bool(struct.unpack("i", ioctl(transport.fileno(), TIOCOUTQ, bytes(4)))[0] == 0)

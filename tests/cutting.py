"""A proxy in front of PostgreSQL that can lose a COMMIT on its way there, or the answer to it."""
from __future__ import annotations

import tempfile
from enum import Enum, auto
from typing import Any

from psycopg2.extensions import make_dsn, parse_dsn
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint, UNIXServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

_COMMIT = b"COMMIT\0"


class Cut(Enum):
    """What happens to the next COMMIT."""

    ANSWER = auto()          # it arrives, its answer does not
    COMMIT = auto()          # it does not arrive


class _Server(Protocol):
    def __init__(self, client: _Client) -> None:
        self.client = client

    def dataReceived(self, data: bytes) -> None:
        if self.client.deaf:
            self.client.hang_up()
        else:
            self.client.transport.write(data)

    def connectionLost(self, reason: Any) -> None:
        self.client.hang_up()


class _Client(Protocol):
    server: Any = None
    deaf = False

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.early = b""

    def connectionMade(self) -> None:
        if self.proxy.closed:
            self.hang_up()
        else:
            self.proxy.clients.add(self)
            self.proxy.endpoint.connect(Factory.forProtocol(lambda: _Server(self))).addCallback(self._connected)

    def _connected(self, server: _Server) -> None:
        self.server = server.transport
        self.server.write(self.early)

    def dataReceived(self, data: bytes) -> None:
        if _COMMIT in data and self.proxy.cut is not None:
            cut, self.proxy.cut = self.proxy.cut, None
            self.proxy.cuts += 1
            self.proxy.closed = self.proxy.for_good
            if cut is Cut.COMMIT:
                self.hang_up()
                return
            self.deaf = True
        if self.server is None:
            self.early += data
        else:
            self.server.write(data)

    def hang_up(self) -> None:
        """Neither side hears of the other again."""
        for transport in (self.transport, self.server):
            if transport is not None:
                transport.abortConnection()

    def connectionLost(self, reason: Any) -> None:
        self.proxy.clients.discard(self)
        self.hang_up()


class Proxy:
    """Stands before the database at `dsn`; `self.dsn` is the way through it. `cut` is what happens to the next COMMIT."""

    def __init__(self, case: TestCase, dsn: str) -> None:
        server = parse_dsn(dsn)
        folder = tempfile.TemporaryDirectory()
        case.addCleanup(folder.cleanup)
        self.dsn = make_dsn(dsn, host=folder.name, port="5432")
        self.path = f"{folder.name}/.s.PGSQL.5432"
        host, port = server["host"], int(server.get("port", "5432"))
        self.endpoint = UNIXClientEndpoint(reactor, f"{host}/.s.PGSQL.{port}") if host.startswith("/") else TCP4ClientEndpoint(reactor, host, port)
        self.clients: set[_Client] = set()
        self.cut: Cut | None = None
        self.cuts = 0
        self.for_good = False        # after the cut nobody gets through any more
        self.closed = False

    async def open(self, case: TestCase) -> None:
        """It listens until the test ends."""
        port = await UNIXServerEndpoint(reactor, self.path).listen(Factory.forProtocol(lambda: _Client(self)))
        case.addCleanup(port.stopListening)
        case.addCleanup(self.hang_up)

    def hang_up(self) -> None:
        """Everybody is cut off."""
        for client in tuple(self.clients):
            client.hang_up()

"""A TCP proxy that cuts, freezes, delays and half-closes the connections that go through it, each as its turn says."""
from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

CUT, HALF, FREEZE, DELAY, CRUMBS = "cut", "half-close", "freeze", "delay", "crumbs"


@frozen
class Fault:
    """What happens to a connection `after` so many bytes from the server (`down`) or the client; it is cut when `end` came from the server."""

    kind: str
    after: int
    down: bool = True
    end: int | None = None


class _Side(Protocol):
    """One end: what it gets goes to the other."""

    def __init__(self, link: _Link, down: bool) -> None:
        self.link = link
        self.down = down

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)      # type: ignore[union-attr]
        self.link.joined(self)

    def dataReceived(self, data: bytes) -> None:
        self.link.carry(self, data)

    def connectionLost(self, reason: Any) -> None:
        self.link.hang_up()


class _Link:
    """A client's connection and the server's."""

    def __init__(self, proxy: Chaos, fault: Fault | None) -> None:
        self.proxy = proxy
        self.fault = fault
        self.client: Any = None
        self.server: Any = None
        self.passed = {True: 0, False: 0}
        self.early = b""
        self.struck = False
        self.pieces: deque[bytes] = deque()     # what goes on later, a piece at a time
        self.pump: Any = None

    def joined(self, side: _Side) -> None:
        if side.down:
            self.server = side.transport
            if self.client.disconnected:
                self.hang_up()
            early, self.early = self.early, b""
            self._write(False, early)
        else:
            self.client = side.transport
            endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.proxy.target())
            endpoint.connect(Factory.forProtocol(lambda: _Side(self, True))).addErrback(lambda _: self.hang_up())

    def carry(self, side: _Side, data: bytes) -> None:
        """The bytes go on, up to where the fault is."""
        fault = self.fault
        if fault is not None and fault.down is side.down:
            room = max(0, fault.after - self.passed[side.down])
            self._write(side.down, data[:room])
            if len(data) > room:
                self._strike(fault, data[room:])
        elif not (self.struck and fault is not None and fault.kind == FREEZE):
            self._write(side.down, data)

    def hang_up(self) -> None:
        """Neither side hears of the other again."""
        self.proxy.links.discard(self)
        if self.pump is not None:
            self.pump.cancel()
            self.pump = None
        for transport in (self.client, self.server):
            if transport is not None:
                transport.abortConnection()

    def _write(self, down: bool, data: bytes) -> None:
        to = self.client if down else self.server
        self.passed[down] += len(data)
        if to is None:
            self.early += data
        elif data:
            to.write(data)
        if self.fault is not None and self.fault.end is not None and self.passed[True] >= self.fault.end:
            self.hang_up()

    def _strike(self, fault: Fault, rest: bytes) -> None:
        if not self.struck:
            self.struck = True
            self.proxy.struck[fault.kind] += 1
            if fault.kind == CUT:
                self.hang_up()
            elif fault.kind == HALF:
                to = self.client if fault.down else self.server
                self.hang_up() if to is None else to.loseWriteConnection()
        if fault.kind in (DELAY, CRUMBS):
            size = len(rest) if fault.kind == DELAY else 5
            self.pieces.extend(rest[n:n + size] for n in range(0, len(rest), size))
            if self.pump is None:
                self._pump(fault)

    def _pump(self, fault: Fault) -> None:
        self.pump = None
        if self.pieces and self in self.proxy.links:
            self._write(fault.down, self.pieces.popleft())
            self.pump = reactor.callLater(0.05 if fault.kind == DELAY else 0, self._pump, fault)      # type: ignore[attr-defined]


class Chaos:
    """Listens on `port`; `fault` is asked for each connection, by its place, what is to happen to it. `target` says the server's port."""

    def __init__(self, target: Callable[[], int], fault: Callable[[int], Fault | None]) -> None:
        self.target = target
        self.fault = fault
        self.links: set[_Link] = set()
        self.count = 0
        self.struck: Counter[str] = Counter()
        self.port = 0
        self._listening: Any = None

    def open(self, case: TestCase | None = None) -> None:
        """It listens, until the test ends."""
        self._listening = reactor.listenTCP(0, Factory.forProtocol(self._new), interface="127.0.0.1")   # type: ignore[attr-defined]
        self.port = self._listening.getHost().port
        if case is not None:
            case.addCleanup(self.close)

    async def close(self) -> None:
        """Everybody is cut off."""
        self.cut()
        await self._listening.stopListening()

    def cut(self) -> None:
        """All connections there are."""
        for link in tuple(self.links):
            link.hang_up()

    def _new(self) -> Protocol:
        link = _Link(self, self.fault(self.count))
        self.count += 1
        self.links.add(link)
        return _Side(link, False)

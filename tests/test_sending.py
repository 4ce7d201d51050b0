"""Answers in pieces: written as the client takes them, ended when it takes nothing for too long."""
from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from interactd.api.answer import Answer
from interactd.api.sending import STALLED, send

PIECE, PIECES = b"x" * (64 << 10), 100
SMALL = 32 << 10          # bytes of a socket's buffers


class Waiting(Clock):
    """A clock that says when somebody begins to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: Deferred[None] = Deferred()

    def callLater(self, when: float, what: Callable[..., object], *a: Any, **kw: Any) -> Any:
        made = super().callLater(when, what, *a, **kw)
        if not self.begun.called:
            self.begun.callback(None)
        return made


class Pieces(Resource):
    """Many pieces, counted as they are asked for; or a failure after some."""

    isLeaf = True

    def __init__(self, clock: Clock, most: int = PIECES) -> None:
        super().__init__()
        self.clock, self.most = clock, most
        self.asked = 0
        self.ended: Deferred[None] = Deferred()

    async def pieces(self) -> AsyncIterator[bytes]:
        """What is sent."""
        for _ in range(PIECES):
            if self.asked == self.most:
                raise ZeroDivisionError
            self.asked += 1
            yield PIECE

    def render(self, request: Any) -> int:
        """The answer."""
        Deferred.fromCoroutine(send(request, Answer(200, self.pieces(), media="text/plain"), self.clock)).chainDeferred(self.ended)
        return NOT_DONE_YET


class Slow(Protocol):
    """A client that takes nothing until it is told to."""

    def __init__(self) -> None:
        self.got = 0
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)  # type: ignore[attr-defined]
        self.transport.pauseProducing()  # type: ignore[attr-defined]
        self.transport.write(b"GET / HTTP/1.0\r\n\r\n")

    def dataReceived(self, data: bytes) -> None:
        self.got += len(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


class Pace(TestCase):
    """The client's pace."""

    async def connect(self, most: int = PIECES) -> tuple[Pieces, Slow, Waiting]:
        """A server, and a client that has asked it."""
        clock = Waiting()
        resource = Pieces(clock, most)
        port = reactor.listenTCP(0, Site(resource), interface="127.0.0.1")  # type: ignore
        self.addCleanup(port.stopListening)
        port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        client = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port), Slow())
        return resource, client, clock

    async def test_waits_for_the_client(self) -> None:
        """Next to nothing is read ahead; what is taken late is whole."""
        resource, client, clock = await self.connect()
        await clock.begun
        self.assertLess(resource.asked, PIECES // 4)
        clock.advance(STALLED - 1)
        client.transport.resumeProducing()  # type: ignore
        await resource.ended
        await client.lost
        self.assertGreater(client.got, PIECES * len(PIECE))
        self.assertEqual((resource.asked, clock.getDelayedCalls()), (PIECES, []))

    async def test_not_for_ever(self) -> None:
        """Who takes nothing for 30 s is cut off."""
        resource, client, clock = await self.connect()
        await clock.begun
        clock.advance(STALLED)
        await resource.ended
        asked = resource.asked
        client.transport.resumeProducing()  # type: ignore
        await client.lost
        self.assertLess(client.got, PIECES * len(PIECE))
        self.assertEqual((resource.asked, asked < PIECES // 4), (asked, True))

    async def test_the_client_goes(self) -> None:
        """Nothing more is read."""
        resource, client, clock = await self.connect()
        await clock.begun
        client.transport.abortConnection()  # type: ignore
        await resource.ended
        self.assertEqual((resource.asked < PIECES // 4, clock.getDelayedCalls()), (True, []))
        await client.lost

    async def test_failure(self) -> None:
        """What breaks in the middle is logged, and no answer that looks whole."""
        resource, client, _ = await self.connect(0)
        client.transport.resumeProducing()  # type: ignore
        await resource.ended
        await client.lost
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertLess(client.got, PIECES * len(PIECE))

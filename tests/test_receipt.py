"""Whether an answer has arrived, seen from what the client does next: real connections that are used, ended or broken."""
from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from interactd.api.answer import Answer
from interactd.api.app import Api
from interactd.api.call import PUBLIC, call
from interactd.api.context import Context
from interactd.api.receipt import Channel, Connection
from tests.api_case import ApiCase

LONG = b"x" * (16 << 20)          # more than the kernel's buffers hold


class Client(Protocol):
    """Sends what it is told; `ended` says whether the server ended the connection in order."""

    def __init__(self) -> None:
        self.data = b""
        self.wanted: tuple[bytes, Deferred[None]] | None = None
        self.ended: Deferred[bool] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.data = (self.data + data)[-1000:]
        if self.wanted is not None and self.wanted[0] in self.data:
            (_, seen), self.wanted = self.wanted, None
            seen.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(reason.check(ConnectionDone) is not None)

    async def until(self, text: bytes) -> None:
        """The text has come."""
        if text not in self.data:
            self.wanted = (text, Deferred())
            await self.wanted[1]
        self.data = b""


class Watched(Connection):
    """The server's side of a connection; `ended` fires when it is gone."""

    def __init__(self, ended: Deferred[None]) -> None:
        Connection.__init__(self, Channel())  # type: ignore[no-untyped-call]
        self.ended = ended

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._channel.connectionLost(reason)
        self.ended.callback(None)


class Receipts(ApiCase):
    """An API with two more calls: one answers shortly, one at length."""

    async def setUp(self) -> None:
        await super().setUp()
        self.taken: list[str] = []
        self.gone: Deferred[None] = Deferred()

        @call("GET", "/v2/short", may=PUBLIC, realm=0)
        async def short(c: Context) -> Answer:
            """A short answer."""
            return Answer(200, b'"short"', taken=lambda: self.taken.append("short"))

        @call("GET", "/v2/long", may=PUBLIC, realm=0)
        async def long(c: Context) -> Answer:
            """A long answer."""
            return Answer(200, LONG, taken=lambda: self.taken.append("long"))
        site = Api(self.parts.app, (short, long)).site()
        site.protocol = lambda: Watched(self.gone)  # type: ignore[assignment,method-assign]
        port = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.client: Any = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port), Client())

    def ask(self, path: str, verb: str = "GET", *headers: str) -> None:
        """A request goes out."""
        self.client.transport.write("\r\n".join([f"{verb} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode())

    async def test_used_again(self) -> None:
        """The next request says that the last answer has come."""
        for before in ([], ["short"]):
            self.ask("/v2/short")
            await self.client.until(b'"short"')
            self.assertEqual(self.taken, before)
        await self.end()

    async def end(self) -> None:
        """The client ends in order, and the server has noticed."""
        self.client.transport.loseConnection()
        await self.gone

    async def test_ended(self) -> None:
        """So does an end in order."""
        self.ask("/v2/short")
        await self.client.until(b'"short"')
        await self.end()
        self.assertEqual(self.taken, ["short"])

    async def test_closed_by_us(self) -> None:
        """Where the client wants us to close, its own end after ours says it."""
        self.ask("/v2/short", "GET", "Connection: close")
        await self.client.until(b'"short"')
        self.assertTrue(await self.client.ended)
        await self.gone
        self.assertEqual(self.taken, ["short"])

    async def test_broken(self) -> None:
        """A connection that breaks says nothing."""
        self.ask("/v2/short")
        await self.client.until(b'"short"')
        self.client.transport.abortConnection()
        await self.gone
        self.assertEqual(self.taken, [])

    async def test_ended_early(self) -> None:
        """Neither does the end of a client that did not wait for the rest."""
        self.ask("/v2/long")
        await self.client.until(b"x" * 100)
        self.client.transport.pauseProducing()
        self.client.transport.loseWriteConnection()
        await self.gone
        self.assertEqual(self.taken, [])
        self.client.transport.abortConnection()
        await self.client.ended

    async def test_sent_before(self) -> None:
        """Neither does a request that came before the answer went out."""
        line = "GET %s HTTP/1.1\r\nHost: x\r\n\r\n"
        self.client.transport.write((line % "/v2/short" + line % "/v2/nothing").encode())
        await self.client.until(b"no such path")
        self.client.transport.abortConnection()
        await self.gone
        self.assertEqual(self.taken, [])

    async def test_head(self) -> None:
        """An answer without its body is none."""
        self.ask("/v2/short", "HEAD")
        await self.client.until(b"\r\n\r\n")
        await self.end()
        self.assertEqual(self.taken, [])

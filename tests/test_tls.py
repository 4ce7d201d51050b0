"""Whose certificate is good: for a raw connection, for STARTTLS, for HTTPS by treq (against servers with certificates of every kind)."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import treq
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, serverFromString, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, ResponseFailed
from twisted.web.resource import Resource
from twisted.web.server import Site

from interactd.tls import StrictPolicy, strict, trusted
from tests.certificates import Authority, Signed, address, dns

OURS, STRANGER = Authority(), Authority("Stranger")
GOOD = {"name": dns("localhost"), "several names": dns("other.example", "localhost")}
BAD = {
    "wrong name": dns("evil.example"), "no name": [], "address instead of the name": [address("127.0.0.1")],
    "wrong name and a malformed one": dns("evil.example", "127.0.0.1"), "right name and a malformed one": dns("localhost", "127.0.0.1"),
}


class Listening(Protocol):
    """Keeps what it hears."""

    def __init__(self, heard: list[bytes]) -> None:
        self.heard = heard

    def connectionMade(self) -> None:
        self.transport.write(b"hello")

    def dataReceived(self, data: bytes) -> None:
        self.heard.append(data)


class Speaking(Protocol):
    """Says its secret once the server has said something; `done` is what it heard, or why it was cut off."""

    def __init__(self, upgraded: Any = None) -> None:
        self.done: Deferred[bytes] = Deferred()
        self.upgraded = upgraded

    def connectionMade(self) -> None:
        if self.upgraded is not None:
            self.transport.startTLS(self.upgraded)

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(b"secret")
        self.transport.loseConnection()
        self.done.callback(data)

    def connectionLost(self, reason: Any = None) -> None:
        if not self.done.called:
            self.done.errback(reason)


class Certificates(TestCase):
    """`server` with a certificate; `speak` and `fetch` as its clients."""

    def setUp(self) -> None:
        self.heard: list[bytes] = []

    async def server(self, certificate: Signed, site: bool = False) -> int:
        """The port of a server that shows this certificate."""
        file = Path(self.mktemp())
        file.write_bytes(certificate.both)
        factory: Factory = Site(Page()) if site else Factory.forProtocol(lambda: Listening(self.heard))
        port = await serverFromString(reactor, f"ssl:0:interface=127.0.0.1:privateKey={file}:certKey={file}").listen(factory)
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    async def speak(self, certificate: Signed, host: str = "localhost", upgrade: bool = False) -> bytes:
        """What a client hears that connects to 127.0.0.1 and expects `host`."""
        creator = strict(host, trustRoot=trusted(OURS.pem))
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", await self.server(certificate))
        client = Speaking(creator if upgrade else None)
        await (endpoint if upgrade else wrapClientTLS(creator, endpoint)).connect(Factory.forProtocol(lambda: client))
        return await client.done

    async def fetch(self, certificate: Signed, trust: bytes) -> bytes:
        """A page by treq."""
        port = await self.server(certificate, site=True)
        client = treq.client.HTTPClient(Agent(reactor, StrictPolicy(trusted(trust))))
        return bytes(await (await client.get(f"https://localhost:{port}/")).content())

    async def test_raw(self) -> None:
        """The right name from a trusted authority passes, by an endpoint and by STARTTLS; nothing else does, and hears no word of ours."""
        for names in GOOD.values():
            for upgrade in (False, True):
                self.assertEqual(await self.speak(OURS.sign(names), upgrade=upgrade), b"hello")
        self.assertEqual(await self.speak(OURS.sign([address("127.0.0.1")]), "127.0.0.1"), b"hello")
        for what, names in BAD.items():
            for upgrade in (False, True):
                with self.subTest(what):
                    await self.assertFailure(Deferred.fromCoroutine(self.speak(OURS.sign(names), upgrade=upgrade)), SSL.Error)
        await self.assertFailure(Deferred.fromCoroutine(self.speak(STRANGER.sign(dns("localhost")))), SSL.Error)
        await self.assertFailure(Deferred.fromCoroutine(self.speak(OURS.sign(dns("localhost")), "127.0.0.1")), SSL.Error)
        self.assertEqual(set(self.heard), {b"secret"})
        self.assertLessEqual(len(self.heard), 5)

    async def test_https(self) -> None:
        """treq gets its page by the right name only."""
        self.assertEqual(await self.fetch(OURS.sign(dns("localhost")), OURS.pem), b"page")
        for what, names in BAD.items():
            with self.subTest(what):
                await self.assertFailure(Deferred.fromCoroutine(self.fetch(OURS.sign(names), OURS.pem)), ResponseFailed)
        await self.assertFailure(Deferred.fromCoroutine(self.fetch(STRANGER.sign(dns("localhost")), OURS.pem)), ResponseFailed)

    def test_trusted(self) -> None:
        """Certificates are read one by one; a file without any is refused."""
        self.assertIsNotNone(trusted(OURS.pem + STRANGER.pem))
        self.assertRaises(ValueError, trusted, b"nothing")


class Page(Resource):
    """Says `page`."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return b"page"

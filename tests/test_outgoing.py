"""What passes the gate to other systems, and what does not (contract section 11)."""
from __future__ import annotations

import gzip
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from interactd.imports.outgoing import Asking, Closed, Gate, Lost, Reply, public, resolver
from interactd.keys import Server
from interactd.tls import StrictPolicy, trusted
from tests.certificates import Authority, dns
from tests.peers import CUT, HOLD, Answering, Peer, reply

OURS = Authority()
NOWHERE = ("127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.9.9", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
           "192.0.2.1", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
           "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::1", "2002:c0a8:1::1", "::127.0.0.1", "2001:db8::1", "no address", "")
OPEN = ("8.8.8.8", "193.99.144.80", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")


class Addresses(TestCase):
    """Which addresses are of the open Internet."""

    def test_all(self) -> None:
        """Private, local, mapped, translated and tunnelled ones are not."""
        self.assertEqual([a for a in NOWHERE if public(a)], [])
        self.assertEqual([a for a in OPEN if not public(a)], [])


class GateCase(TestCase):
    """`self.ask` passes the gate to peers; `self.names` is what the resolver says, `self.resolved` what it was asked."""

    async def setUp(self) -> None:
        self.names: dict[str, list[list[str]]] = {}
        self.resolved: list[str] = []
        self.gate = Gate(reactor, self._resolve, StrictPolicy(trusted(OURS.pem)), 5.0, 1 << 20)

    async def _resolve(self, host: str) -> list[str]:
        self.resolved.append(host)
        said = self.names.get(host, [["127.0.0.1"]])
        return said.pop(0) if len(said) > 1 else said[0]

    async def peer(self, answering: Answering | bytes = b"", *names: str, **listen: Any) -> Peer:
        """A peer with TLS, for these names."""
        made = Peer(answering if callable(answering) else lambda _: answering or reply(200, b"good"))
        await made.listen(self, OURS.sign(dns(*(names or ("dav.example",)))), **listen)
        return made

    def server(self, peer: Peer, private: bool = True, *hosts: str) -> Server:
        """The entry of dav.example."""
        return Server("carddav", f"https://dav.example:{peer.port}/", private, hosts)

    async def ask(self, server: Server, path: str = "", **more: Any) -> Reply:
        """The answer to a GET."""
        return await self.gate.ask(server, Asking("GET", server.url + path if "://" not in path else path, **more))

    async def closed(self, server: Server, path: str = "", says: str = "", **more: Any) -> None:
        """The gate refuses."""
        failure = await self.assertFailure(self._asking(server, path, more), Closed)
        self.assertIn(says, str(failure))

    async def lost(self, server: Server, path: str = "") -> None:
        """There is no whole answer."""
        await self.assertFailure(self._asking(server, path, {}), Lost)

    def _asking(self, server: Server, path: str, more: dict[str, Any]) -> Any:
        return Deferred.fromCoroutine(self.ask(server, path, **more))


class Names(GateCase):
    """Where a name leads."""

    async def test_private(self) -> None:
        """Only where the entry allows it; nothing is connected to else."""
        peer = await self.peer()
        self.assertEqual((await self.ask(self.server(peer))).body, b"good")
        await self.closed(self.server(peer, False), says="private network")
        for address in ("::ffff:127.0.0.1", "64:ff9b::7f00:1", "169.254.169.254"):
            self.names["dav.example"] = [[address]]
            await self.closed(self.server(peer, False), says="private network")
        self.assertEqual(len(peer.heard), 1)

    async def test_one_of_several(self) -> None:
        """One private address among public ones closes the gate."""
        peer = await self.peer()
        self.names["dav.example"] = [["8.8.8.8", "127.0.0.1"]]
        await self.closed(self.server(peer, False), says="private network")
        self.assertEqual(peer.heard, [])

    async def test_changing(self) -> None:
        """The address that was checked is the one that is connected to: a name is asked for once a request."""
        peer = await self.peer()
        self.names["dav.example"] = [["127.0.0.1"], ["127.0.0.9"]]
        self.assertEqual((await self.ask(self.server(peer))).body, b"good")
        self.assertEqual(self.resolved, ["dav.example"])

    async def test_address_itself(self) -> None:
        """An address instead of a name is checked likewise, in every spelling that the system knows."""
        peer = await self.peer()
        self.gate = Gate(reactor, resolver(reactor), self.gate.policy, 5.0, 1 << 20)
        for host in ("127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "localhost"):
            await self.closed(self.server(peer, False), f"https://{host}:{peer.port}/", "private network")
        self.assertEqual(peer.heard, [])

    async def test_second_address(self) -> None:
        """Where the first of several addresses does not answer, the next one is tried."""
        peer = await self.peer()
        self.names["dav.example"] = [["127.0.0.77", "127.0.0.1"]]
        self.assertEqual((await self.ask(self.server(peer))).body, b"good")

    async def test_unknown(self) -> None:
        """A name without an address."""
        peer = await self.peer()
        self.names["dav.example"] = [[]]
        await self.lost(self.server(peer))


class Addressing(GateCase):
    """Scheme, port, redirects, credentials."""

    async def test_forms(self) -> None:
        """https and the configured port only, no user in the address, and nothing that ends the request line."""
        peer = await self.peer()
        server = self.server(peer)
        for url in (f"http://dav.example:{peer.port}/", "ftp://dav.example/", "file:///etc/passwd", "https:///x", "https://dav.example:99999/"):
            await self.closed(server, url)
        await self.closed(server, f"https://dav.example:{peer.port + 1}/", "port")
        await self.closed(server, f"https://me:secret@dav.example:{peer.port}/")
        self.assertEqual(peer.heard, [])
        await self.ask(server, "a b\r\nX: y/é%20")
        self.assertEqual(peer.heard[0].path, "/a%20bX:%20y/%C3%A9%20")

    async def test_redirects(self) -> None:
        """Followed with verb and body, five times; each target passes the gate again."""
        peer = await self.peer(lambda heard: reply(307, Location="/next") if heard.path == "/" else reply(200, heard.method.encode() + heard.body))
        server = self.server(peer)
        answer = await self.gate.ask(server, Asking("REPORT", server.url, body=b"<x/>"))
        self.assertEqual((answer.body, answer.url), (b"REPORT<x/>", f"https://dav.example:{peer.port}/next"))
        peer.answering = lambda heard: reply(302, Location="/again")
        peer.heard.clear()
        await self.closed(server, says="redirects without end")
        self.assertEqual(len(peer.heard), 6)
        for target in ("http://dav.example/", "https://dav.example:1/", "file:///etc/passwd"):
            peer.answering = lambda heard: reply(301, Location=target)
            await self.closed(server)

    async def test_redirect_into_a_private_network(self) -> None:
        """A public server can not lead to a private address."""
        self.names["dav.example"] = [["127.0.0.1"]]
        peer = await self.peer()
        await self.closed(Server("carddav", f"https://8.8.8.8:{peer.port}/", False), f"https://dav.example:{peer.port}/", "private network")

    async def test_credentials(self) -> None:
        """They go to the configured host and those its entry lists, to no other."""
        peer = await self.peer(b"", "dav.example", "p07.dav.example", "evil.example", "evildav.example")
        for host, hosts, gets in (("dav.example", (), True), ("p07.dav.example", (), False), ("p07.dav.example", ("*.dav.example",), True),
                                  ("evil.example", ("*.dav.example",), False), ("evildav.example", ("*.dav.example",), False)):
            await self.ask(self.server(peer, True, *hosts), f"https://{host}:{peer.port}/", authorization="Basic c2VjcmV0")
            self.assertEqual("authorization" in peer.heard[-1].headers, gets, (host, hosts))

    async def test_certificate(self) -> None:
        """A server that can not prove its name is out of reach."""
        peer = await self.peer(b"", "other.example")
        await self.lost(self.server(peer))
        self.assertEqual(peer.heard, [])

    async def test_plain(self) -> None:
        """Plain http is spoken where the configuration itself says http, and upgraded without harm."""
        peer = Peer(lambda heard: reply(200, b"plain"))
        await peer.listen(self)
        server = Server("carddav", f"http://dav.example:{peer.port}/", True)
        self.assertEqual((await self.ask(server)).body, b"plain")


class Bodies(GateCase):
    """How large, how packed, how slow an answer may be."""

    async def test_packed(self) -> None:
        """64 KiB that would unpack to 67 MB: refused unread, as everything packed."""
        bomb = gzip.compress(bytes(67 << 20), 9)
        self.assertLess(len(bomb), 70_000)
        peer = await self.peer(reply(200, bomb, Content_Encoding="gzip"))
        await self.closed(self.server(peer), says="compressed")
        self.assertEqual(peer.heard[0].headers["accept-encoding"], "identity")
        for packing in ("br", "deflate, gzip", "x-gzip"):
            peer.answering = lambda _: reply(200, b"x", Content_Encoding=packing)
            await self.closed(self.server(peer), says="compressed")
        peer.answering = lambda _: reply(200, b"x", Content_Encoding="identity")
        self.assertEqual((await self.ask(self.server(peer))).body, b"x")

    async def test_large(self) -> None:
        """More bytes than allowed: refused by the announced length, and without one while they come."""
        peer = await self.peer(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
        await self.closed(self.server(peer), says="more than")
        peer.answering = lambda _: [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"10000\r\n" + bytes(65536) + b"\r\n"] * 20, HOLD]
        await self.closed(self.server(peer), says="more than")
        peer.answering = lambda _: reply(200, bytes(1001))
        await self.closed(self.server(peer), says="more than", limit=1000)
        self.assertEqual(len((await self.ask(self.server(peer), limit=1001)).body), 1001)

    async def test_broken(self) -> None:
        """A connection cut in mid-answer, before it, and nonsense."""
        peer = await self.peer([b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", CUT])
        await self.lost(self.server(peer))
        for said in ([CUT], [b"HTTP/1.1 2", CUT], [b"what?\r\n\r\n", CUT]):
            peer.answering = lambda _: said
            await self.lost(self.server(peer))

    async def test_silent(self) -> None:
        """No answer in the time given."""
        peer = await self.peer([HOLD])
        self.gate = Gate(reactor, self._resolve, self.gate.policy, 0.05, 1 << 20)
        await self.lost(self.server(peer))

    async def test_http_1_0(self) -> None:
        """An answer of HTTP/1.0 that ends with its connection is whole; the next request has one of its own."""
        peer = await self.peer([b"HTTP/1.0 200 OK\r\n\r\nold", CUT])
        for _ in range(2):
            self.assertEqual((await self.ask(self.server(peer))).body, b"old")

    async def test_header_of_ours(self) -> None:
        """Nothing asked for can overrule what the gate says."""
        peer = await self.peer()
        await self.gate.ask(self.server(peer), Asking("GET", self.server(peer).url, {"Accept-Encoding": "gzip"}))
        self.assertEqual(peer.heard[0].headers["accept-encoding"], "identity")

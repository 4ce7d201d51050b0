"""The APNs client against HTTP/2 that is not ours: Node's server and nghttpd. Exact counts of accepted, sent again, unknown, expired."""
from __future__ import annotations

import signal
import socket
import ssl
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.internet.task import Clock, LoopingCall
from twisted.internet.threads import deferToThread

from interactd.push.notification import Kind, Outcome
from interactd.push.pool import Limits, Mode
from tests.apns_case import AUTHORITY, SERVER, TOPIC, ApnsCase, Peer, kinds, program, push, token
from tests.certificates import Authority, dns, key_pem

ONE = Limits(1, 100_000)


class Node(ApnsCase):
    """Token authentication, as Apple does it."""

    async def until(self, peer: Peer, **expected: int) -> Any:
        """The peer's counts, once they are these."""
        while True:
            stats = await peer.ask("stats")
            if all(stats[name] == value for name, value in expected.items()):
                return stats

    async def test_thousand_with_limit_from_one_to_hundred(self) -> None:
        """The limit is 1 until the first push was accepted; then all leave, each once."""
        peer = await self.peer(limit=1, raised=100, delay=2)
        outcomes = await self.sent(self.pool(peer.port, ONE), *(push(n) for n in range(1000)))
        self.assertEqual(kinds(outcomes), {"ok": 1000})
        stats = await peer.ask("stats")
        self.assertEqual((stats["executed"], stats["different"], stats["tokens"], stats["counts"]["sessions"]), (1000, 1000, 1, 1))
        self.assertGreater(stats["mostInFlight"], 50)
        self.assertLessEqual(stats["mostInFlight"], 100)
        self.assertEqual((stats["headers"][":authority"], stats["headers"]["apns-topic"]), (f"localhost:{peer.port}", TOPIC))

    async def test_five_thousand_rejections(self) -> None:
        """Every one is answered, by one connection: the window for answers never closes, and bodies come in pieces."""
        peer = await self.peer(limit=200)
        pool = self.pool(peer.port, ONE)
        outcomes = await self.sent(pool, push(), *(push(token=f"{n:060x}") for n in range(5000)))
        self.assertEqual(kinds(outcomes), {"ok": 1, "dead": 5000})
        self.assertEqual(set(outcomes[1:]), {Outcome(Kind.DEAD, "BadDeviceToken", 400)})
        stats = await peer.ask("stats")
        self.assertEqual(stats["counts"], {"sessions": 1, "200": 1, "400 BadDeviceToken": 5000})

    async def test_goaway_in_the_middle(self) -> None:
        """40 in flight, and the last id is the 25th's: those are answered by the old connection, 15 sent again, none twice and none unknown."""
        peer = await self.peer(limit=100, tokens=False, goawayAt=41, goawayLast=51, delay=30)
        pool = self.pool(peer.port, ONE, token=None)
        self.assertEqual(kinds(await self.sent(pool, push(99))), {"ok": 1})
        old = pool.links.all[0]
        self.assertEqual(kinds(await self.sent(pool, *(push(n, collapse_id="") for n in range(40)))), {"ok": 40})
        stats = await peer.ask("stats")
        self.assertEqual((stats["executed"], stats["different"], stats["counts"]["sessions"]), (41, 41, 2))
        self.assertEqual((old.answers, pool.links.all[-1].answers), (26, 15))

    async def test_large_bodies(self) -> None:
        """1000 pushes of 4096 bytes: more than all windows hold, and none is overdrawn."""
        peer = await self.peer(limit=100, window=1000)
        outcomes = await self.sent(self.pool(peer.port, ONE), *(push(n, payload=b"x" * 4096) for n in range(1000)))
        stats = await peer.ask("stats")
        self.assertEqual((kinds(outcomes), stats["counts"], stats["bytes"]), ({"ok": 1000}, {"sessions": 1, "200": 1000}, 4096000))

    async def test_limit_lowered_in_flight(self) -> None:
        """100 in flight and the limit falls to 1: what is refused goes again; all are accepted, once."""
        peer = await self.peer(limit=100, tokens=False, hold=True)
        pool = self.pool(peer.port, ONE, token=None)
        sending = Deferred.fromCoroutine(self.sent(pool, *(push(n, collapse_id="") for n in range(400))))
        await self.until(peer, held=100)
        await peer.ask("settings", settings={"maxConcurrentStreams": 1})
        await peer.ask("plan", plan={"hold": False})
        await peer.ask("release")
        self.assertEqual(kinds(await sending), {"ok": 400})
        stats = await peer.ask("stats")
        self.assertEqual((stats["executed"], stats["different"], stats["counts"]["sessions"]), (400, 400, 1))

    async def test_reasons(self) -> None:
        """Each of Apple's answers, as Node writes it."""
        said = {2: [410, "Unregistered", 1700000000000], 3: [400, "BadTopic"], 4: [500, "InternalServerError"], 5: [418, "raw", "<html>"],
                6: [429, "TooManyRequests"], 7: ["reset", 2], 8: ["reset", 7], 9: [413, "raw", ""], 10: [503, "Shutdown"], 11: [400, "IdleTimeout"]}
        answers: dict[str, Any] = {token(n): one for n, one in said.items()}
        answers[token(8)] = [said[8], said[8], [200]]
        answers[token(11)] = [said[11], [200]]
        peer = await self.peer(answers=answers)
        pool = self.pool(peer.port)
        outcomes = [(await self.sent(pool, push(n, **({"collapse_id": ""} if n == 7 else {}))))[0] for n in range(1, 12) if n != 10]
        self.assertEqual([(one.kind.value, one.reason, one.status) for one in outcomes], [
            ("ok", "", 200), ("dead", "Unregistered", 410), ("dropped", "BadTopic", 400), ("failed", "InternalServerError", 500),
            ("dropped", "", 418), ("failed", "TooManyRequests", 429), ("unknown", "the peer reset the stream", 0), ("ok", "", 200),
            ("dropped", "", 413), ("ok", "", 200)])
        self.assertEqual(outcomes[1].timestamp, 1700000000000)

    async def test_killed(self) -> None:
        """kill -9 of the peer: what was accepted stays so, what was on its way is unknown, what was not sent waits for the next peer."""
        peer = await self.peer(limit=50, tokens=False, hold=True)
        pool = self.pool(peer.port, ONE, token=None)
        sendings = [pool.send(push(n, collapse_id="" if n < 60 else str(n))) for n in range(160)]
        await self.until(peer, held=50)
        await peer.ask("release")
        await self.until(peer, held=50)
        peer.signal(signal.SIGKILL)
        await peer.gone
        again = await self.peer(limit=50, tokens=False, port=peer.port)
        outcomes = [await one for one in sendings]
        self.assertEqual((kinds(outcomes[:50]), kinds(outcomes[50:60]), kinds(outcomes[60:])), ({"ok": 50}, {"unknown": 10}, {"ok": 100}))
        self.assertEqual((await again.ask("stats"))["different"], 100)

    async def test_frozen(self) -> None:
        """SIGSTOP: after the silence a ping, then the end, whatever TLS would like; nothing waits for ever."""
        clock = Clock()
        beat = LoopingCall(clock.advance, 0)
        beat.start(0.001)
        self.addCleanup(beat.stop)
        peer = await self.peer(limit=10, tokens=False)
        pool = self.pool(peer.port, ONE, clock, token=None)
        self.assertEqual(kinds([await pool.send(push(0, deadline=1000))]), {"ok": 1})
        peer.signal(signal.SIGSTOP)
        sendings = [pool.send(push(n, deadline=1000 if n < 5 else 15, collapse_id="")) for n in range(20)]
        clock.advance(0)
        self.assertEqual(pool.links.in_flight, 10)
        for _ in range(21):
            clock.advance(1)
        outcomes = [await one for one in sendings[:10]]
        self.assertEqual((kinds(outcomes), kinds([await one for one in sendings[10:]])), ({"unknown": 10}, {"expired": 10}))
        peer.signal(signal.SIGCONT)
        clock.advance(2)
        self.assertEqual(kinds([await pool.send(push(0, deadline=1000))]), {"ok": 1})

    async def test_client_certificate(self) -> None:
        """A certificate instead of a token; a peer that does not know it blocks the pool."""
        mine, stranger = Authority("Apple's"), Authority("Stranger's")
        peer = await self.peer(tokens=False, ca=self.file(mine.pem))
        outcomes = await self.sent(self.pool(peer.port, certificate=mine.sign(dns("app"))), *(push(n) for n in range(20)))
        self.assertEqual(kinds(outcomes), {"ok": 20})
        self.assertNotIn("authorization", (await peer.ask("stats"))["headers"])
        pool = self.pool(peer.port, certificate=stranger.sign(dns("app")))
        self.assertEqual(await pool.send(push(1, deadline=reactor.seconds() + 0.5)), Outcome(Kind.EXPIRED, "BadCertificate"))
        self.assertEqual(pool.mode, Mode.BLOCKED)

    async def test_certificates_of_the_peer(self) -> None:
        """Not one push for a peer that does not prove its name (the malformed one is let in by Twisted itself)."""
        stranger = Authority("Stranger")
        for certificate in (AUTHORITY.sign(dns("evil.example")), AUTHORITY.sign(dns("evil.example", "127.0.0.1")),
                            AUTHORITY.sign(dns("localhost", "127.0.0.1")), AUTHORITY.sign([]), stranger.sign(dns("localhost"))):
            peer = await self.peer(certificate)
            pool = self.pool(peer.port)
            outcome = await pool.send(push(1, deadline=reactor.seconds() + 0.3))
            self.assertEqual((outcome.kind, pool.mode), (Kind.EXPIRED, Mode.BACKOFF))
            self.assertIn("certificate verify failed", outcome.reason)
            self.assertNotIn("sessions", (await peer.ask("stats"))["counts"])

    async def test_no_http2(self) -> None:
        """A peer that wants another protocol, and one that does not say which: not a byte is for them."""
        for protocols in ([], ["http/1.1"]):
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(self.file(SERVER.both))
            context.set_alpn_protocols(protocols)
            listening = socket.create_server(("127.0.0.1", 0))
            heard = deferToThread(_hear, listening, context)
            outcome = await self.pool(listening.getsockname()[1]).send(push(1, deadline=reactor.seconds() + 0.3))
            self.assertEqual((outcome, await heard), (Outcome(Kind.EXPIRED, "the peer did not agree to speak HTTP/2"), b""))

    async def test_stop(self) -> None:
        """The end in order: answers on their way are awaited, and the peer is told."""
        peer = await self.peer(limit=5, tokens=False, delay=50)
        pool = self.pool(peer.port, ONE, token=None)
        sendings = [pool.send(push(n)) for n in range(20)]
        await self.until(peer, inFlight=5)
        await pool.stop()
        self.assertEqual(kinds([await one for one in sendings]), {"ok": 5, "stopped": 15})
        stats = await self.until(peer, sessions=0)
        self.assertEqual((stats["executed"], stats["counts"]["goaway from client 0"]), (5, 1))


def _hear(listening: socket.socket, context: ssl.SSLContext) -> bytes:
    with listening, listening.accept()[0] as plain:
        try:
            with context.wrap_socket(plain, server_side=True) as client:
                return client.recv(1000)
        except OSError:
            return b""


class _Nghttpd(ProcessProtocol):
    def __init__(self) -> None:
        self.gone: Deferred[None] = Deferred()

    def processEnded(self, reason: Any) -> None:
        self.gone.callback(None)


class Nghttpd(ApnsCase):
    """Another server: it knows no such path, so each push is answered 404."""

    async def nghttpd(self, *options: str) -> int:
        """The port of a server that listens."""
        holder = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(Factory())
        port = int(holder.getHost().port)
        await holder.stopListening()
        process = _Nghttpd()
        command = program("nghttpd", "nghttp2-server")
        folder = Path(self.mktemp())
        folder.mkdir()
        reactor.spawnProcess(process, command, ["nghttpd", *options, "-a", "127.0.0.1", "-d", str(folder), str(port),
                                                self.file(key_pem(SERVER.key)), self.file(SERVER.pem)], env=None)

        async def end() -> None:
            process.transport.signalProcess(signal.SIGKILL)
            await process.gone
        self.addCleanup(end)
        return port

    async def test_limits_windows_and_padding(self) -> None:
        """A limit of 7 and frames full of padding; windows of 1023 bytes: every push is answered, by one connection."""
        for options in (("-m", "7", "-b", "255"), ("-w", "10"), ("-w", "10", "-W", "10", "-m", "3")):
            pool = self.pool(await self.nghttpd(*options), ONE, token=None)
            outcomes = await self.sent(pool, *(push(n, payload=b"x" * 1500) for n in range(300)))
            self.assertEqual((kinds(outcomes), {one.status for one in outcomes}), ({"dropped": 300}, {404}))
            self.assertEqual((len(pool.links.all), pool.links.all[0].answers), (1, 300))

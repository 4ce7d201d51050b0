"""Peers that answer like Apple, by protocol engines that are not ours, and pools that push to them."""
from __future__ import annotations

import shutil
import signal
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives import serialization
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.ssl import PrivateCertificate
from twisted.trial.unittest import SkipTest, TestCase

from interactd.push.identity import Identity
from interactd.push.notification import Notification, Outcome
from interactd.push.pool import Limits, Pool
from interactd.push.tokens import ProviderToken
from interactd.tls import trusted
from tests.certificates import Authority, Signed, dns, key_pem, new_key

PEER = Path(__file__).parent / "peers" / "apns_peer.js"
TOPIC = "org.example.interact"
AUTHORITY = Authority()
SERVER = AUTHORITY.sign(dns("localhost"))
KEY = new_key()


def program(name: str, package: str) -> str:
    """Where a program is; the test is skipped without it."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        raise SkipTest(f"{name} is not installed (Debian: {package})")
    return found


def token(number: int = 0) -> str:
    """A device token."""
    return f"{number:064x}"


def push(number: int = 0, **changes: Any) -> Notification:
    """A notification with a collapse id, good for a minute."""
    given: dict[str, Any] = {"token": token(number), "topic": TOPIC, "payload": b'{"aps":{"alert":"hello"}}', "deadline": reactor.seconds() + 60,
                             "collapse_id": str(number)}
    return Notification(**{**given, **changes})


def kinds(outcomes: list[Outcome]) -> Counter[str]:
    """How many there are of each kind."""
    return Counter(outcome.kind.value for outcome in outcomes)


class Peer(ProcessProtocol):
    """A process that says JSON lines; `ask` one command, `pid`, `gone` when it has ended."""

    def __init__(self) -> None:
        self.gone: Deferred[None] = Deferred()
        self.printed = b""
        self._answers: deque[Deferred[Any]] = deque()

    def next(self) -> Deferred[Any]:
        """The next line."""
        answer: Deferred[Any] = Deferred()
        self._answers.append(answer)
        return answer

    def ask(self, cmd: str, **said: Any) -> Deferred[Any]:
        """The answer to a command."""
        self.transport.write(orjson.dumps({"cmd": cmd, **said}) + b"\n")
        return self.next()

    def signal(self, number: int) -> None:
        """As kill does."""
        try:
            self.transport.signalProcess(number)
        except ProcessExitedAlready:
            pass

    def outReceived(self, data: bytes) -> None:
        *lines, self.printed = (self.printed + data).split(b"\n")
        for line in lines:
            self._answers.popleft().callback(orjson.loads(line))

    def errReceived(self, data: bytes) -> None:
        self.printed += data

    def processEnded(self, reason: Any) -> None:
        for answer in self._answers:
            answer.errback(AssertionError(self.printed.decode(errors="replace")))
        self.gone.callback(None)


class ApnsCase(TestCase):
    """`await self.peer()`, then `self.pool(port)`."""

    timeout = 60

    def file(self, content: bytes) -> str:
        """A file's path."""
        path = Path(self.mktemp()).absolute()
        path.write_bytes(content)
        return str(path)

    async def peer(self, certificate: Signed = SERVER, tokens: bool = True, **options: Any) -> Peer:
        """A running Node server; its `port` is known."""
        public = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        given = {"key": self.file(key_pem(certificate.key)), "cert": self.file(certificate.pem), **options}
        if tokens:
            given["publicKey"] = self.file(public)
        peer = Peer()
        reactor.spawnProcess(peer, program("node", "nodejs"), ["node", str(PEER), orjson.dumps(given).decode()], env=None)
        self.addCleanup(self.end, peer)
        peer.port = (await peer.next())["port"]
        return peer

    async def end(self, peer: Peer) -> None:
        """The process is gone."""
        peer.signal(signal.SIGCONT)
        peer.signal(signal.SIGKILL)
        await peer.gone

    def provider_token(self, wall: Any = time.time) -> ProviderToken:
        """That of the key which the peer knows."""
        return ProviderToken(KEY, "KEYKEYKEY1", "TEAMTEAM01", wall)

    def identity(self, port: int, certificate: Signed | None = None, wall: Any = time.time, **changes: Any) -> Identity:
        """Who we are at this port."""
        mine = PrivateCertificate.loadPEM(certificate.both) if certificate else None
        given = {"host": "localhost", "port": port, "token": None if mine else self.provider_token(wall), "certificate": mine, "expires": None,
                 "trust": trusted(AUTHORITY.pem)}
        return Identity(**{**given, **changes})

    def pool(self, port: int, limits: Limits = Limits(), clock: Any = None, **identity: Any) -> Pool:
        """A pool that pushes to this port."""
        me = self.identity(port, **identity)
        pool = Pool(me.requests, me.dial(reactor), clock or reactor, limits)
        self.addCleanup(pool.stop)
        return pool

    async def sent(self, pool: Pool, *notifications: Notification) -> list[Outcome]:
        """The outcomes of all."""
        return list(await gatherResults([pool.send(one) for one in notifications]))

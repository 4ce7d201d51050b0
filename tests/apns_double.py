"""Our own server that answers like Apple: over TLS for clients that are not ours, in memory and on a Clock for ours."""
from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import h2.events
import orjson
from attrs import define, field
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from interactd.push.links import Link
from interactd.push.pool import Limits, Pool
from interactd.push.requests import Requests

Verdict = tuple[Any, ...]


@define
class Asked:
    """A request that has come whole."""

    stream: int
    headers: dict[str, str]
    raw: list[Any]
    body: bytes


def ordinary(asked: Asked) -> Verdict:
    """What Apple says first about what it gets."""
    token = re.fullmatch("/3/device/([0-9a-f]+)", asked.headers[":path"])
    if token is None or len(token[1]) < 64:
        return 400, "BadDeviceToken"
    if "apns-topic" not in asked.headers:
        return 400, "MissingTopic"
    return (200,) if asked.body else (400, "PayloadEmpty")


@implementer(IHandshakeListener)
class Double(Protocol):
    """One connection of a client's; `judge` answers each request, with () not at all. Everything that came stands in `asked`."""

    def __init__(self, judge: Callable[[Asked], Verdict] = ordinary, limit: int = 100, announce: bool = True) -> None:
        self.judge = judge
        self.announce = announce                # whether SETTINGS are sent at once
        self.limit = limit
        self.answering = True
        self.asked: list[Asked] = []
        self.events: list[h2.events.Event] = []
        self.lost = False
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self._coming: dict[int, Asked] = {}

    def handshakeCompleted(self) -> None:
        self.begin()

    def connectionMade(self) -> None:
        if not hasattr(self.transport, "getPeerCertificate"):
            self.begin()

    def begin(self) -> None:
        """The server's first words."""
        self.h2.local_settings.update({SettingCodes.MAX_CONCURRENT_STREAMS: self.limit})
        self.h2.local_settings.acknowledge()
        self.h2.initiate_connection()
        if self.announce:
            self.flush()

    def flush(self) -> None:
        """Everything goes out."""
        self.transport.write(self.h2.data_to_send())

    def dataReceived(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            self.events.append(event)
            if isinstance(event, h2.events.RequestReceived):
                fields = {name.decode(): value.decode() for name, value in event.headers}
                self._coming[event.stream_id] = Asked(event.stream_id, fields, list(event.headers), b"")
            elif isinstance(event, h2.events.DataReceived):
                self._coming[event.stream_id].body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                asked = self._coming.pop(event.stream_id)
                self.asked.append(asked)
                self.answer(asked, self.judge(asked))
        if self.announce:
            self.flush()

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = True

    def answer(self, asked: Asked, said: Verdict) -> None:
        """This answer: (status, reason, timestamp), (\"reset\", code), or nothing."""
        if not said:
            return
        if said[0] == "reset":
            self.h2.reset_stream(asked.stream, said[1])
            return
        head = [(b":status", b"%d" % said[0]), (b"apns-id", asked.headers.get("apns-id", "").encode())]
        self.h2.send_headers(asked.stream, head, end_stream=len(said) == 1)
        if len(said) > 1:
            body = orjson.dumps({"reason": said[1], **({"timestamp": said[2]} if len(said) > 2 else {})})
            self.h2.send_data(asked.stream, body, end_stream=True)

    def later(self, asked: Asked, *said: Any) -> None:
        """An answer that was held back."""
        self.answer(asked, said)
        self.flush()

    def settings(self, limit: int) -> None:
        """Another limit."""
        self.limit = limit
        self.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: limit})
        self.flush()

    def goaway(self, last: int, reason: str = "") -> None:
        """The last word; the connection goes on."""
        debug = orjson.dumps({"reason": reason}) if reason else b""
        payload = last.to_bytes(4, "big") + bytes(4) + debug
        self.transport.write(len(payload).to_bytes(3, "big") + bytes((7, 0, 0, 0, 0, 0)) + payload)


@define
class Wire:
    """One side's transport; bytes are on their way until `Apple.settle`."""

    out: list[bytes] = field(factory=list)
    negotiatedProtocol: bytes | None = b"h2"
    producer: Any = None
    closing: str = ""

    def write(self, data: bytes) -> None:
        """Bytes for the other side."""
        if data:
            self.out.append(data)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Who is told to pause."""
        self.producer = producer

    def loseConnection(self) -> None:
        """In order."""
        self.closing = self.closing or "lose"

    def abortConnection(self) -> None:
        """At once."""
        self.closing = "abort"


class Apple:
    """A pool of ours on a Clock, and a Double for each connection that it makes."""

    def __init__(self, case: Any, token: Any = None, limits: Limits = Limits(), clock: Clock | None = None, **double: Any) -> None:
        self.clock = clock or Clock()
        self.doubles: list[Double] = []
        self.refusing = False                   # whether connections fail
        self.frozen = False                     # whether the peer reads and says nothing
        self.protocol: bytes | None = b"h2"
        self.options = double
        self._pairs: list[tuple[Link, Wire, Double, Wire]] = []
        self.pool = Pool(Requests("apple.example", token), self.dial, self.clock, limits)
        case.addCleanup(self.stop)

    @property
    def double(self) -> Double:
        """The newest."""
        return self.doubles[-1]

    def dial(self, link: Link) -> Deferred[Any]:
        """Connects in memory."""
        if self.refusing:
            return fail(ConnectionRefusedError("nobody listens"))
        double, ours, theirs = Double(**self.options), Wire(negotiatedProtocol=self.protocol), Wire()
        self.doubles.append(double)
        self._pairs.append((link, ours, double, theirs))
        link.makeConnection(ours)
        double.makeConnection(theirs)
        link.handshakeCompleted()
        return succeed(link)

    def settle(self) -> None:
        """All bytes have arrived, and all that follows from them."""
        busy = True
        while busy:
            self.clock.advance(0)
            busy = any(self._carry(pair) for pair in tuple(self._pairs))

    def advance(self, seconds: float) -> None:
        """Time passes, a second at most at once."""
        while seconds > 0:
            self.clock.advance(min(1.0, seconds))
            seconds -= 1.0
            self.settle()

    def cut(self) -> None:
        """Every connection is lost."""
        for pair in tuple(self._pairs):
            self._end(pair, ConnectionLost("cut"))
        self.settle()

    async def stop(self) -> None:
        """The pool has stopped."""
        self.frozen = False
        stopping = Deferred.fromCoroutine(self.pool.stop())
        while not stopping.called:
            self.advance(1)
        await stopping

    def _carry(self, pair: tuple[Link, Wire, Double, Wire]) -> bool:
        link, ours, double, theirs = pair
        if ours.closing and (ours.closing == "abort" or not self.frozen):
            if ours.closing == "lose":
                self._deliver(ours, double)
            self._end(pair, ConnectionDone())
            return True
        return not self.frozen and (self._deliver(ours, double) or self._deliver(theirs, link))

    def _deliver(self, wire: Wire, to: Any) -> bool:
        data, wire.out = b"".join(wire.out), []
        if data:
            to.dataReceived(data)
        return bool(data)

    def _end(self, pair: tuple[Link, Wire, Double, Wire], why: Exception) -> None:
        self._pairs.remove(pair)
        pair[2].connectionLost(Failure(why))
        pair[0].connectionLost(Failure(why))

"""A WebSocket over Autobahn: bounded in what the client may send, and in what may wait for a client that reads slowly."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import autobahn.twisted.websocket
import autobahn.websocket.protocol
import orjson
from attrs import frozen
from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

from interactd.errors import Invalid
from interactd.live.closing import Close
from interactd.live.frames import PONG, frame
from interactd.live.session import Entry, Session

if TYPE_CHECKING:
    from interactd.live.service import Live

GRACE = 5.0             # seconds for a client to answer the close frame
TRANSPORT = 1 << 16     # bytes that Twisted's transport holds before it pauses its producer
ACTION, REALM = 19, 60  # of the call (contract section 3)

Authenticate = Callable[[bytes], Coroutine[Any, Any, Entry]]


class Silence:
    """Autobahn's own logger would write the request with its token, and an attack would fill the log."""

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda *_, **__: None


def without_debug_texts() -> None:
    """Autobahn formats the texts of its debug messages on each call, even for a logger that drops them: leave that out."""
    for module in (autobahn.twisted.websocket, autobahn.websocket.protocol):
        for name in ("hlval", "hltype", "hlid", "pformat"):
            if hasattr(module, name):
                setattr(module, name, lambda said, *_, **__: said)


def factory() -> WebSocketServerFactory:
    """What all sockets have in common: no compression (90 KB a socket), no timer of Autobahn's own."""
    made = WebSocketServerFactory(server="interactd")
    made.setProtocolOptions(failByDrop=False, openHandshakeTimeout=0, closeHandshakeTimeout=0, allowNullOrigin=True, versions=[13])
    return made


@frozen
class _Ready:
    """Gives WebSocketResource the protocol that is made already."""

    socket: Socket

    def buildProtocol(self, address: object) -> Socket:
        return self.socket


@implementer(IPushProducer)
class Socket(WebSocketServerProtocol):
    """One connection; `session` is there once it is authenticated, by `entry` before the upgrade or by its first message."""

    transport: Any
    log = Silence()
    failures = Logger()

    def __init__(self, live: Live, form: type[Session], address: str, entry: Entry | None, authenticate: Authenticate | None) -> None:
        super().__init__()
        self.live = live
        self.factory = live.factory
        self.maxMessagePayloadSize = live.config.message_bytes
        self.form = form
        self.address = address
        self.entry = entry
        self.authenticate = authenticate
        self.session: Session | None = None
        self.due = 0.0                              # when `look` has something to do
        self.waits = False                          # whether a ping is unanswered
        self._ending = False
        self._stalled_at: float | None = None
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._waiting_bytes = 0
        self._allowance = live.config.messages_per_second
        self._counted_at = live.now()

    def resource(self) -> WebSocketResource:
        """What takes the connection over from HTTP."""
        return WebSocketResource(_Ready(self))

    @property
    def stalled(self) -> bool:
        """Whether the client does not take what it is sent."""
        return self._stalled_at is not None

    def write(self, data: bytes, delivery: int = 0) -> None:
        """Frames go out, or wait for the client; too many of them end the socket."""
        if self.state != self.STATE_OPEN:
            return
        if self._stalled_at is None:
            self._hand(data, delivery)
            return
        self._waiting.append((data, delivery))
        self._waiting_bytes += len(data)
        if self._waiting_bytes + TRANSPORT > self.live.config.backlog_bytes:
            self.end(Close.SLOW, "too much waits to be read")

    def end(self, code: Close, reason: str) -> None:
        """The close frame goes out, and nothing else any more; `look` drops a client that does not answer it."""
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code, reason.encode())
            self.live.closed(code)
        self._ending = True
        self._waiting.clear()
        self.due = self.live.now() + GRACE
        self.live.left(self)

    def look(self, now: float) -> None:
        """What is due: a ping, the end of one that is silent, or the end of one that should be gone."""
        config = self.live.config
        if self.state != self.STATE_OPEN:
            if self._ending:
                self.transport.abortConnection()
            self._ending, self.due = True, now + GRACE
        elif self.session is None:
            self.end(Close.TOKEN, "no token came in time")
        elif self._stalled_at is not None:
            self.due = self._stalled_at + config.backlog_seconds
            if self.due <= now:
                self.end(Close.SLOW, "nothing was read for too long")
        elif self.waits:
            self.end(Close.SLOW, "a ping was not answered")
        else:
            self.waits, self.due = True, now + config.ping_timeout
            self.session.ping()

    def abandon(self) -> None:
        """The connection is gone when this returns."""
        self.transport.abortConnection()

    # What Autobahn calls.

    def connectionMade(self) -> None:
        super().connectionMade()
        self.live.arrived(self)

    def connectionLost(self, reason: Any = None) -> None:
        super().connectionLost(reason)
        self.live.gone(self)

    def onConnect(self, request: Any) -> str | None:
        return self.form.subprotocol

    def onOpen(self) -> None:
        """Autobahn swallows what is raised here."""
        try:
            self.transport.unregisterProducer()      # the HTTP channel's
            self.transport.registerProducer(self, True)
            self.live.opened(self)
        except Exception:
            self.failures.failure("a socket could not be opened")
            self.abandon()

    def onMessageFrameBegin(self, length: int) -> None:
        super().onMessageFrameBegin(length)
        self._count()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self.state != self.STATE_OPEN:
            return
        if self.session is not None:
            self.session.received(payload)
        elif isBinary:
            self.end(Close.PROTOCOL, "the first message must be text")
        else:
            self.live.introduced(self, payload)

    def onPing(self, payload: bytes) -> None:
        self._count()
        if not self.stalled:
            self.write(frame(payload, PONG))

    def onPong(self, payload: bytes) -> None:
        if self.session is not None and self.state == self.STATE_OPEN:
            if self.waits:
                self.waits, self.due = False, self.live.now() + self.live.config.ping_every
            self.session.ponged(payload)

    def sendHttpErrorResponse(self, code: int, reason: str, responseHeaders: Any = None) -> None:
        """A handshake that Autobahn refuses, in our form instead of Autobahn's page."""
        body = orjson.dumps({"code": code, "error": Invalid("").code(ACTION, REALM), "devmsg": reason})
        lines = [f"HTTP/1.1 {code} Refused", "Content-Type: application/json; charset=utf-8", f"Content-Length: {len(body)}",
                 "Connection: close", *(f"{name}: {said}" for name, said in responseHeaders or ())]
        self.sendData("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def _max_message_size_exceeded(self, msg_size: int, max_msg_size: int, reason: str) -> None:
        self.failedByMe = True
        self.end(Close.PROTOCOL, "the message is too long")

    # What the transport calls.

    def pauseProducing(self) -> None:
        """The client does not keep up."""
        if self._stalled_at is None and not self._ending:
            self._stalled_at = self.live.now()
            self.due = min(self.due, self._stalled_at + self.live.config.backlog_seconds)

    def resumeProducing(self) -> None:
        """The client has taken all that was handed over."""
        self._stalled_at = None
        while self._waiting and self._stalled_at is None:
            data, delivery = self._waiting.popleft()
            self._waiting_bytes -= len(data)
            self._hand(data, delivery)
        if self.session is not None and not self._ending:
            self.due = self.live.now() + (self.live.config.ping_timeout if self.waits else self.live.config.ping_every)

    def stopProducing(self) -> None:
        """The connection is lost; `connectionLost` follows."""

    def _hand(self, data: bytes, delivery: int) -> None:
        self.transport.write(data)
        if delivery and self.session is not None:
            self.session.handed(delivery)

    def _count(self) -> None:
        """Every frame of a message and every ping counts, so that empty ones are not free."""
        now, rate = self.live.now(), self.live.config.messages_per_second
        self._allowance = min(max(1.0, rate), self._allowance + (now - self._counted_at) * rate) - 1
        self._counted_at = now
        if self._allowance < 0 and self.state == self.STATE_OPEN:
            self.failedByMe = True
            self.end(Close.PROTOCOL, "too many messages")

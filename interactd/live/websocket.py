"""One client's WebSocket, from the handshake to the end."""
from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from attrs import frozen
from autobahn.twisted.resource import WebSocketResource
from twisted.logger import Logger

from interactd import metrics
from interactd.live.closing import Close
from interactd.live.crowd import GRACE, come_again
from interactd.live.frames import PONG, frame
from interactd.live.outlet import Outlet
from interactd.live.session import Entry, Session
from interactd.live.wire import Wire

if TYPE_CHECKING:
    from interactd.live.service import Live

Authenticate = Callable[[bytes], Coroutine[Any, Any, Entry]]


@frozen
class _Ready:
    """Gives WebSocketResource the protocol that is made already."""

    socket: Socket

    def buildProtocol(self, address: object) -> Socket:
        return self.socket


def resource(socket: Socket) -> WebSocketResource:
    """What takes a connection over from HTTP, for this socket."""
    return WebSocketResource(_Ready(socket))


class Socket(Wire):
    """One connection; `session` is there once it is authenticated, by `entry` before the upgrade or by its first message."""

    failures = Logger()

    def __init__(self, live: Live, form: type[Session], address: str, entry: Entry | None, authenticate: Authenticate | None = None) -> None:
        super().__init__(live.config, live.now)
        self.live = live
        self.factory = live.factory
        self.form = form
        self.address = address
        self.entry = entry
        self.authenticate = authenticate
        self.session: Session | None = None
        self.early: list[bytes] = []                # messages that came while the first one was being understood
        self.due = 0.0                              # when `look` has something to do, for the socket or its session
        self._due = 0.0
        self.out = Outlet(live.config.backlog_bytes, live.now, self._handed, self._flow)
        self._asked = False                         # whether a ping is unanswered
        self._ending = False

    @property
    def stalled(self) -> bool:
        """Whether the client does not take what it is sent."""
        return self.out.stalled_at is not None

    def write(self, data: bytes, delivery: Any = None) -> None:
        """Frames go out, or wait for the client; too many of them end the socket."""
        if self.state == self.STATE_OPEN and not self.out.write(data, delivery):
            self.end(Close.SLOW, "too much waits to be read")

    def end(self, code: Close, reason: str) -> None:
        """The close frame goes out, and nothing else any more; `look` drops a client that does not answer it."""
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code, reason.encode())
            metrics.SOCKETS_CLOSED.labels(str(int(code))).inc()
        self.out.drop()
        self._ending = True
        self.wait(self.live.now() + GRACE)
        self.live.left(self)

    def send_away(self, after: int) -> None:
        """The daemon stops; the client should come again in `after` ms."""
        if self.session is not None:
            self.session.announce({"reconnectAfter": after})
        self.end(*come_again(after))

    def wait(self, until: float) -> None:
        """Until then nothing is to be done for the socket itself."""
        self._due = until
        self.due = until if self.session is None or self._ending else min(until, self.session.due)

    def look(self, now: float) -> None:
        """What is due, for the session or the socket."""
        if self.session is not None and self.session.due <= now and not self._ending:
            self.session.look(now)
        if self._due <= now:
            self._look(now)
        else:
            self.wait(self._due)

    def _look(self, now: float) -> None:
        """A ping, the end of one that is silent, or the end of one that should be gone."""
        config, stalled_at = self.live.config, self.out.stalled_at
        if self.state != self.STATE_OPEN:
            if self._ending:
                self.transport.abortConnection()
            self._ending = True
            self.wait(now + GRACE)
        elif self.session is None:
            self.end(Close.TOKEN, "no token came in time")
        elif stalled_at is not None and stalled_at + config.backlog_seconds > now:
            self.wait(stalled_at + config.backlog_seconds)
        elif stalled_at is not None or self._asked:
            self.end(Close.SLOW, "nothing was read for too long" if stalled_at is not None else "a ping was not answered")
        else:
            self._asked = True
            self.wait(now + config.ping_timeout)
            self.session.ping()

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
            self.travel_light()
            self.out.attach(self.transport)
            self.live.opened(self)
        except Exception:
            self.failures.failure("a socket could not be opened")
            self.transport.abortConnection()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self.state != self.STATE_OPEN:
            return
        if isBinary and (self.session is None or self.session.numbered):
            self.end(Close.PROTOCOL, "a message must be text")
        elif self.session is not None:
            self.session.received(payload)
        else:
            self.live.introduced(self, payload)

    def onPing(self, payload: bytes) -> None:
        self.count()
        if not self.stalled:
            self.write(frame(payload, PONG))

    def onPong(self, payload: bytes) -> None:
        if self.session is not None and self.state == self.STATE_OPEN:
            if self._asked:
                self._asked = False
                self.wait(self.live.now() + self.live.config.ping_every)
            self.session.ponged(payload)

    def _handed(self, delivery: Any) -> None:
        if self.session is not None:
            self.session.handed(delivery)

    def _flow(self) -> None:
        config, stalled_at = self.live.config, self.out.stalled_at
        if self.session is None or self._ending:
            return
        if stalled_at is not None:
            self.wait(min(self._due, stalled_at + config.backlog_seconds))
        else:
            self.wait(self.live.now() + (config.ping_timeout if self._asked else config.ping_every))
            self.session.flowing()

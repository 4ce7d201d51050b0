"""One connection to Apple, from the handshake to the last answer: its states, its end, and what time does to it."""
from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.interfaces import IHandshakeListener, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from interactd.push import reasons
from interactd.push.compression import Fields
from interactd.push.framing import GOAWAY, Cutter, Frame, Malformed, goaway
from interactd.push.streams import End, Stream, Streams

READY_IN = 10.0         # seconds until the peer's SETTINGS have come
ANSWER_IN = 20.0        # for a push
SILENCE = 10.0          # with pushes unanswered, until the peer is asked whether it is there
IDLE = 900.0            # the same, with none
PING_IN = 10.0          # for the answer to that
DRAIN_IN = 30.0         # for the last answers
LEAVE_IN = 2.0          # for the orderly end of TLS
LOOK = 1.0              # between two looks at these times
LAST_STREAM = 1 << 30   # half of all ids there are

C = TypeVar("C")


class State(Enum):
    """Of a connection."""

    CONNECTING = auto()     # no SETTINGS yet
    PROBING = auto()        # one push at a time, until the peer has seen who we are
    OPEN = auto()
    DRAINING = auto()       # nothing new; answers are awaited
    CLOSED = auto()


class Sender(Protocol[C]):
    """Whom a connection tells what becomes of pushes."""

    def ready(self) -> None:
        """There may be room for more."""

    def answered(self, connection: Connection[C], carried: C, answer: reasons.Answer) -> None:
        """The peer has decided."""

    def refused(self, carried: Sequence[C]) -> None:
        """The peer says that it has not looked at these."""

    def doubtful(self, carried: C, why: str) -> None:
        """It was sent, and nobody knows what became of it."""


class Keeper(Protocol[C]):
    """Whom a connection tells what becomes of itself."""

    def draining(self, connection: Connection[C], why: str, reason: str) -> None:
        """It takes nothing new; `reason` is Apple's word, if it gave one."""

    def closed(self, connection: Connection[C], why: str) -> None:
        """It is gone."""


@implementer(IHandshakeListener, IPushProducer)
class Connection(TwistedProtocol, Generic[C]):
    """Carries things of its sender's, one a stream. `probing`: one at a time until the first answer. `clock` counts monotonic seconds."""

    transport: Any
    log = Logger()

    def __init__(self, sender: Sender[C], keeper: Keeper[C], clock: IReactorTime, probing: bool) -> None:
        self.state = State.CONNECTING
        self.answers = 0                        # since the beginning
        self.last_stream = LAST_STREAM
        self.streams: Streams[C] = Streams(self._ended)
        self._sender = sender
        self._keeper = keeper
        self._clock = clock
        self._probing = probing
        self._cutter = Cutter()
        self._paused = False
        self._why = ""                          # it ends, where the transport does not know better
        self._heard_at = self._due = self._pinged_at = clock.seconds()
        self._silent = 0                        # pushes in a row that were not answered in time
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock

    @property
    def limit(self) -> int:
        """Pushes that may be on their way at the same time; 0 when it takes none."""
        if self.state is State.OPEN:
            return self.streams.limit
        return min(1, self.streams.limit) if self.state is State.PROBING else 0

    def fits(self, size: int) -> bool:
        """Whether a body of so many bytes can leave now."""
        return len(self.streams) < self.limit and not self._paused and self.streams.fits(size)

    def send(self, carried: C, headers: Fields, body: bytes) -> None:
        """A request leaves, with the next `flush`; only when it `fits`."""
        try:
            number = self.streams.send(carried, self._clock.seconds(), headers, body)
        except Exception:           # the encoder may be out of step with the peer's already
            self.log.failure("a push could not be put into frames")
            self.abort("a push could not be put into frames")
            return
        if number >= self.last_stream:
            self.drain("all stream ids are used up")

    def flush(self) -> None:
        """What was put together goes out."""
        data = self.streams.http2.data_to_send()
        if data and self.state is not State.CLOSED:
            self.transport.write(data)

    def drain(self, why: str, reason: str = "") -> None:
        """Nothing new is sent; the end comes with the last answer, or after a while."""
        if self.state is State.CONNECTING:
            self.abort(why)
        elif self.state in (State.PROBING, State.OPEN):
            self.state, self._due, self._why = State.DRAINING, self._clock.seconds() + DRAIN_IN, why
            self._keeper.draining(self, why, reason)

    def close(self, why: str) -> None:
        """Says goodbye; what is unanswered stays so."""
        if self.state is State.CONNECTING:
            self.abort(why)
        elif self.state is not State.CLOSED:
            self._why = self._why or why
            self.streams.http2.leave()
            self.flush()
            self.state, self._due = State.CLOSED, self._clock.seconds() + LEAVE_IN
            self.transport.loseConnection()

    def abort(self, why: str) -> None:
        """The end, at once."""
        self._why = self._why or why
        self.flush()
        self.state = State.CLOSED
        self.transport.abortConnection()

    # What Twisted calls.

    def connectionMade(self) -> None:
        self._heard_at, self._due = self._clock.seconds(), self._clock.seconds() + READY_IN
        self._loop.start(LOOK, now=False)

    def handshakeCompleted(self) -> None:
        if self.transport.negotiatedProtocol != b"h2":
            self.abort("the peer did not agree to speak HTTP/2")
        elif self.state is State.CONNECTING:
            self.transport.registerProducer(self, True)
            self.streams.http2.begin()
            self.flush()

    def dataReceived(self, data: bytes) -> None:
        self._heard_at, kind = self._clock.seconds(), -1
        try:
            for said in self._cutter.cut(data):
                if self.state is State.CLOSED:
                    return
                kind = said.kind
                self._received(said)
        except Malformed as fault:
            self.streams.http2.leave(fault.code)
            self.abort(f"a frame of type {kind} is against the protocol ({fault})")
        self._settle()

    def connectionLost(self, reason: Any = None) -> None:
        self.state = State.CLOSED
        if self._loop.running:
            self._loop.stop()
        why = self._why or (reason.getErrorMessage() if reason is not None else "the connection is lost")
        for stream in reversed(tuple(self.streams)):        # each goes to the front of a queue
            self.streams.forget(stream)
            self._sender.doubtful(stream.carried, why)
        self._keeper.closed(self, why)

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._settle()

    def stopProducing(self) -> None:
        self._paused = True

    def _received(self, said: Frame) -> None:
        if said.kind == GOAWAY:
            self._goaway(said)
            return
        self.streams.http2.received(said)
        if self.state is State.CONNECTING and self.streams.http2.settled:
            self.state = State.PROBING if self._probing else State.OPEN

    def _goaway(self, frame: Frame) -> None:
        said = goaway(frame)
        reason = reasons.reason(said.debug)
        self.drain(f"the peer goes away ({reason or f'error {said.code}'})", reason)
        unseen = [stream for stream in self.streams if stream.number > said.last_stream_id]
        for stream in unseen:
            self.streams.forget(stream)
        self._sender.refused([stream.carried for stream in unseen])

    def _ended(self, stream: Stream[C], end: End) -> None:
        if end is End.REFUSED:
            self._sender.refused([stream.carried])
        elif end is End.RESET:
            self._sender.doubtful(stream.carried, "the peer reset the stream")
        else:
            self.answers, self._silent = self.answers + 1, 0
            if self.state is State.PROBING:
                self.state = State.OPEN
            self._sender.answered(self, stream.carried, reasons.answer(stream.status, stream.body))

    def _settle(self) -> None:
        """After whatever has happened: the end of what has drained, the bytes that go out, the next pushes."""
        if self.state is State.DRAINING and not self.streams:
            self.close(self._why)
        self.flush()
        if self.state in (State.PROBING, State.OPEN):
            self._sender.ready()

    # What time brings.

    def _look(self) -> None:
        now = self._clock.seconds()
        if self.state in (State.CONNECTING, State.CLOSED):
            if now >= self._due:
                self.abort("the peer was not ready in time")
        elif not self.streams.http2.ponged and now >= self._pinged_at + PING_IN:
            self.abort("a ping was not answered")
        elif self.state is State.DRAINING and now >= self._due:
            self.close(self._why)
        else:
            self._give_up(now)
            if self.streams.http2.ponged and (self._silent >= 3 or now >= self._heard_at + (SILENCE if self.streams else IDLE)):
                self._pinged_at, self._silent = now, 0
                self.streams.http2.ping()
            self._settle()

    def _give_up(self, now: float) -> None:
        """What has waited too long for its answer waits no more."""
        for stream in self.streams:             # the oldest first
            if now < stream.sent_at + ANSWER_IN:
                return
            self.streams.cancel(stream)
            self._silent += 1
            self._sender.doubtful(stream.carried, "no answer in time")

"""Bodies of answers, whole and bounded: in bytes, in the time between two pieces, and in all."""
from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss

BETWEEN = 10.0              # seconds until the next piece must come
IN_ALL = 600.0


class TooBig(Exception):
    """More than was allowed; says so."""


class Slow(Exception):
    """The peer has gone silent in the middle of its answer."""


class _Reader(Protocol):
    """Keeps the pieces; gives up at the first byte too much, or when nothing comes. Whoever asked closes the connection."""

    def __init__(self, reactor: Any, most: int, done: Deferred[bytes]) -> None:
        self.reactor, self.most, self.done = reactor, most, done
        self.pieces: list[bytes] = []
        self.size = 0
        self.ends = [reactor.callLater(seconds, self._give_up, Slow()) for seconds in (BETWEEN, IN_ALL)]

    def dataReceived(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self.most:
            self._give_up(TooBig(f"answers with more than {self.most} bytes"))
        elif not self.done.called:
            self.pieces.append(data)
            self.ends[0].reset(BETWEEN)

    def connectionLost(self, reason: Any = None) -> None:
        # an answer of HTTP/1.0 without a length ends with its connection
        whole = isinstance(reason, Failure) and reason.check(ResponseDone, PotentialDataLoss)
        self._end(b"".join(self.pieces) if whole else reason)

    def _give_up(self, why: Exception) -> None:
        self._end(Failure(why))

    def _end(self, result: Any) -> None:
        for timer in self.ends:
            if timer.active():
                timer.cancel()
        if not self.done.called:
            self.pieces = []
            self.done.callback(result) if isinstance(result, bytes) else self.done.errback(result)


async def whole_body(reactor: Any, response: Any, most: int) -> bytes:
    """The body of a response. Errors: TooBig (at once, when the announced length says so), Slow, ResponseFailed."""
    done: Deferred[bytes] = Deferred()
    reader = _Reader(reactor, most, done)
    response.deliverBody(reader)
    if isinstance(response.length, int) and response.length > most:
        reader._give_up(TooBig(f"answers with more than {most} bytes"))
    return await done

"""The connections of a pool: when one is made, when not, and when one more is."""
from __future__ import annotations

from collections.abc import Callable
from random import uniform
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from interactd import metrics
from interactd.push.connection import Connection, Sender, State
from interactd.push.queue import Waiting
from interactd.push.timing import Alarm

BACK_OFF = (1.0, 60.0)  # seconds before the next connection: after the first failure, and at most
CROWDED = 1.0           # seconds for which pushes wait before one more connection is made

Link = Connection[Waiting]
Dial = Callable[[Link], Deferred[Any]]


class Pusher(Sender[Waiting], Protocol):
    """Whose pushes the connections carry."""

    def fatal(self, reason: str) -> bool:
        """The peer went away for this reason; True if connecting again is of no use now."""
        ...


class Links:
    """Up to `most` connections that take pushes, and those that drain. `probing`: they begin with one push at a time."""

    log = Logger()

    def __init__(self, pusher: Pusher, dial: Dial, clock: IReactorTime, probing: bool, most: int) -> None:
        self.all: list[Link] = []
        self.cause = ""                         # of the last failure
        self.stopped = False
        self._pusher = pusher
        self._dial = dial
        self._clock = clock
        self._probing = probing
        self._most = most
        self._dialling: dict[Link, Deferred[Any]] = {}
        self._drained: set[Link] = set()
        self._ripe = False                      # whether pushes have waited for some time
        self._failures = 0
        self._not_before = 0.0
        self._emptied: Deferred[None] | None = None
        self._wake = Alarm(clock, pusher.ready)
        self._crowded = Alarm(clock, self._ripen)

    @property
    def waiting(self) -> bool:
        """Whether there is no connection, and none may be made yet."""
        return self._clock.seconds() < self._not_before and not self._living()

    @property
    def in_flight(self) -> int:
        """Pushes that await their answer."""
        return sum(len(link.streams) for link in self.all)

    @property
    def room(self) -> int:
        """Pushes that could leave at once."""
        return sum(max(0, link.limit - len(link.streams)) for link in self.all)

    def fitting(self, size: int) -> Link | None:
        """A connection that can take a body of so many bytes now."""
        return next((link for link in self.all if link.fits(size)), None)

    def wanted(self, pressing: bool) -> None:
        """Whether pushes wait that find no room: a connection is made if there is none, and one more when that lasts."""
        living = self._living()
        if not pressing:
            self._crowded.cancel()
        elif not living:
            self._connect()
        elif living < self._most and all(link.state not in (State.CONNECTING, State.PROBING) for link in self.all) and not self._dialling:
            if self._ripe:
                self._connect()
            elif not self._crowded.is_set:
                self._crowded.set(CROWDED)
        self._ripe = False

    def flush(self) -> None:
        """What was put together goes out."""
        for link in self.all:
            link.flush()

    def drain(self, why: str) -> None:
        """None of the connections takes a push any more."""
        for link in tuple(self.all):
            link.drain(why)

    def back_off(self, why: str) -> None:
        """No connection is made for a while, longer each time until a push is answered."""
        self._failures += 1
        delay = min(BACK_OFF[1], BACK_OFF[0] * 2 ** min(self._failures - 1, 10)) * uniform(0.8, 1.2)
        self.cause = why
        self._not_before = self._clock.seconds() + delay
        self._wake.set(delay)

    def answered(self) -> None:
        """A push was answered: whatever was wrong is over."""
        self._failures, self._not_before = 0, 0.0

    async def close(self) -> None:
        """Every connection is closed, and none is made any more."""
        self.stopped = True
        self._wake.cancel()
        self._crowded.cancel()
        for dialled in tuple(self._dialling.values()):
            dialled.cancel()
        for link in tuple(self.all):
            link.close("the client stops")
        if self.all:
            self._emptied = Deferred()
            await self._emptied

    # What connections tell.

    def draining(self, connection: Link, why: str, reason: str) -> None:
        """A successor is made, unless this one was good for nothing."""
        self.log.info("a connection to Apple takes no more pushes: {why}", why=why)
        self._drained.add(connection)
        if self.stopped or self._pusher.fatal(reason):
            return
        if not connection.answers:
            self.back_off(why)
        elif not self._living():
            self._connect()

    def closed(self, connection: Link, why: str) -> None:
        """One that was good for nothing delays the next."""
        self.log.info("a connection to Apple has ended: {why}", why=why)
        self.all = [link for link in self.all if link is not connection]
        if connection not in self._drained and not connection.answers and not self.stopped:
            self.back_off(why)
        self._drained.discard(connection)
        if self._emptied is not None and not self.all:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)
        self._pusher.ready()

    def _living(self) -> int:
        return len(self._dialling) + sum(link.state not in (State.DRAINING, State.CLOSED) for link in self.all)

    def _ripen(self) -> None:
        self._ripe = True
        self._pusher.ready()

    def _connect(self) -> None:
        if self.stopped or self._clock.seconds() < self._not_before:
            return
        link: Link = Connection(self._pusher, self, self._clock, self._probing)
        metrics.PUSH_CONNECTIONS.inc()

        def connected(_: object) -> None:
            del self._dialling[link]
            if link.connected:
                self.all.append(link)

        def failed(failure: Failure) -> None:
            del self._dialling[link]
            if not failure.check(CancelledError) or not self.stopped:
                self.log.warn("no connection to Apple: {why}", why=failure.getErrorMessage())
                self.back_off(failure.getErrorMessage())
        dialled = self._dialling[link] = self._dial(link)
        dialled.addCallbacks(connected, failed)

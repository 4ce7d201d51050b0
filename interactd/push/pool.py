"""The APNs client: a queue, its connections, and what is done when pushes come back."""
from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from attrs import frozen
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from interactd import metrics
from interactd.push.links import Dial, Link, Links
from interactd.push.notification import Kind, Notification, Outcome
from interactd.push.queue import Queue, Waiting
from interactd.push.reasons import FATAL, Act, Answer
from interactd.push.requests import Requests
from interactd.push.timing import Alarm
from interactd.push.verdicts import Verdicts

ATTEMPTS = 5            # answered ones; what the peer has not looked at does not count
PATIENCE = 3            # times that a push comes back unseen, before it waits a while each time
PROBE_EVERY = 300.0     # seconds between two attempts while only the operator can help
STOP_IN = 5.0           # seconds for the last answers
CHECKED = 1.0           # seconds for which a push that was wanted still is
STALE = 10.0            # seconds behind which an answer to that says nothing: this node was frozen, the push may be another's by now


class Mode(Enum):
    """Of the pool, for those who ask."""

    UP = "up"
    BACKOFF = "backing off"     # waits before it makes a connection, or sends
    BLOCKED = "blocked"         # waits for the operator, and tries one push from time to time
    STOPPED = "stopped"


@frozen
class Limits:
    """Bounds."""

    connections: int = 2
    queue: int = 10_000


class Pool:
    """Sends notifications of one key. `dial` connects a Connection; `clock` counts monotonic seconds."""

    log = Logger()

    def __init__(self, requests: Requests, dial: Dial, clock: IReactorTime, limits: Limits = Limits()) -> None:
        self.links = Links(self, dial, clock, requests.token is not None, limits.connections)
        self.verdicts = Verdicts(self, self.links, requests.token, clock.seconds)
        self.cause = ""                     # why it waits
        self.queue = Queue(clock, limits.queue, self._expired)
        self._requests = requests
        self._clock = clock
        self._send_at = 0.0
        self._blocked = self._stopped = False
        self._probe: Waiting | None = None  # what was sent while blocked
        self._soon = Alarm(clock, self.ready)
        self._wake = Alarm(clock, self.ready)

    @property
    def mode(self) -> Mode:
        """What it does."""
        if self._stopped:
            return Mode.STOPPED
        if self._blocked:
            return Mode.BLOCKED
        return Mode.BACKOFF if self._clock.seconds() < self._send_at or self.links.waiting else Mode.UP

    @property
    def appetite(self) -> int:
        """Pushes that would leave at once; while it waits, the one that it can try next."""
        if self._stopped:
            return 0
        return (max(1, self.links.room) if self.mode is Mode.UP else 1) - len(self.queue)

    def send(self, notification: Notification, checked_at: float | None = None) -> Deferred[Outcome]:
        """Fires with the outcome, whatever happens; Invalid is raised for what can not be sent. `checked_at`: when it was last known to be wanted."""
        notification.check()
        waiting = Waiting(notification, self._clock.seconds() if checked_at is None else checked_at)
        held = self.verdicts.held(notification)
        if self._stopped:
            waiting.settle(Kind.STOPPED)
        elif held:
            self.verdicts.later(waiting, Answer(429, "TooManyRequests"), held)
        elif self.queue.full:
            waiting.settle(Kind.BUSY)
        else:
            self.queue.add(waiting)
            self._soon.set(0)
        return waiting.done

    async def stop(self) -> None:
        """What was not sent ends as STOPPED; answers are awaited for a while, and every connection is closed."""
        self._stopped = self.links.stopped = True
        self._soon.cancel()
        self._wake.cancel()
        for waiting in self.queue.clear():
            waiting.settle(Kind.STOPPED)
        if self.links.in_flight:
            settled: Deferred[None] = Deferred()

            def over(_: object = None) -> None:
                if not settled.called:
                    settled.callback(None)
            late = self._clock.callLater(STOP_IN, over)
            DeferredList([stream.carried.done for link in self.links.all for stream in link.streams]).addCallback(over)
            await settled
            if late.active():
                late.cancel()
        await self.links.close()

    # Where verdicts send a push.

    def again(self, waiting: Waiting, cause: str, delay: float = 0.0) -> None:
        """To the front of the queue, now or after a while; or it has been there too often."""
        waiting.cause = cause
        if self._stopped:
            waiting.settle(Kind.STOPPED, reason=cause)
        elif waiting.attempts >= ATTEMPTS:
            waiting.settle(Kind.FAILED, reason=cause)
        else:
            metrics.PUSH_RETRIES.inc()
            self.queue.put_back([waiting]) if not delay else self.queue.add_later(waiting, delay, self.ready)
            self._soon.set(0)

    def block(self, waiting: Waiting | None, cause: str) -> None:
        """Only the operator can help: nothing is sent for a while, and this push is behind the others."""
        if not self._blocked:
            self.log.critical("pushes wait: Apple says {cause}. One is tried every {minutes} minutes, and when the key file has changed",
                              cause=cause, minutes=round(PROBE_EVERY / 60))
        self._blocked = True
        self.hold(PROBE_EVERY, cause)
        self.links.drain(cause)
        if waiting is not None:
            waiting.cause = cause
            waiting.attempts = 0            # it is not this push's fault
            self.queue.add(waiting) if not self._stopped else waiting.settle(Kind.STOPPED, reason=cause)

    def hold(self, seconds: float, cause: str) -> None:
        """Nothing is sent for a while."""
        self.cause = cause
        self._send_at = max(self._send_at, self._clock.seconds() + seconds)
        self._wake.set(seconds)

    # What connections tell.

    def ready(self) -> None:
        """As many pushes as may leave do."""
        if self._stopped or self._clock.seconds() < self._send_at:
            return
        while (waiting := self.queue.first()) is not None:
            if self._blocked and self.links.in_flight:
                break                       # one at a time, until it is known that things are right again
            link = self.links.fitting(len(waiting.notification.payload))
            if link is None:
                self.links.wanted(True)
                break
            self.queue.take(waiting)
            self._leave(link, waiting)
        else:
            self.links.wanted(False)
        self.links.flush()

    def answered(self, connection: Link, carried: Waiting, answer: Answer) -> None:
        """Apple has decided."""
        carried.attempts += 1
        carried.refusals = 0
        if answer.act is not Act.LATER_ELSEWHERE:
            self.links.answered()
        if answer.act is Act.OK and self._blocked and carried is self._probe:
            self._blocked, self._send_at = False, 0.0
            self.log.info("pushes are accepted again")
        self.verdicts.judge(connection, carried, answer)

    def refused(self, carried: Sequence[Waiting]) -> None:
        """To the front of the queue: Apple has not looked at them, so it is no attempt; but a peer that never looks is not asked for ever."""
        for waiting in carried:
            waiting.refusals += 1
            waiting.cause = "the peer took no more pushes"
            if self._stopped:
                waiting.settle(Kind.STOPPED)
        patient = [waiting for waiting in carried if not waiting.settled and waiting.refusals <= PATIENCE]
        self.queue.put_back(patient)
        for waiting in carried:
            if not waiting.settled and waiting.refusals > PATIENCE:
                self.queue.add_later(waiting, 0.1 * 2 ** min(waiting.refusals - PATIENCE, 6), self.ready)
        metrics.PUSH_RETRIES.inc(len(carried))

    def doubtful(self, carried: Waiting, why: str) -> None:
        """Nobody knows what became of it: sent once more if that can do no harm, and never again."""
        carried.attempts += 1
        notification = carried.notification
        if carried.doubted or not notification.collapse_id or notification.deadline <= self._clock.seconds():
            carried.settle(Kind.UNKNOWN, reason=why)
        else:
            carried.doubted = True
            self.again(carried, why)

    def fatal(self, reason: str) -> bool:
        """A connection takes no more pushes for this reason: whether a new one would not do better."""
        if reason in FATAL:
            self.block(None, reason)
        return self._blocked

    def _leave(self, link: Link, waiting: Waiting) -> None:
        notification = waiting.notification
        held = self.verdicts.held(notification)
        if held:
            self.verdicts.later(waiting, Answer(429, "TooManyRequests"), held)
        elif notification.wanted is not None and self._clock.seconds() - waiting.checked_at > CHECKED:
            Deferred.fromCoroutine(self._ask(waiting))
        else:
            headers = self._requests.headers(notification)
            waiting.generation = self._requests.generation
            self._probe = waiting if self._blocked else None
            metrics.PUSHES_SENT.inc()
            link.send(waiting, headers, notification.payload)

    async def _ask(self, waiting: Waiting) -> None:
        """Time has passed since it was known to be wanted."""
        assert waiting.notification.wanted is not None
        asked_at = self._clock.seconds()
        wanted = await waiting.notification.wanted()
        answered_at = self._clock.seconds()
        if answered_at - asked_at < STALE:
            waiting.checked_at = answered_at
        if not wanted:
            waiting.settle(Kind.WITHDRAWN)
        elif self._stopped:
            waiting.settle(Kind.STOPPED)
        else:
            self.queue.put_back([waiting])
            self._soon.set(0)

    def _expired(self, waiting: Waiting) -> None:
        waiting.settle(Kind.EXPIRED, reason=waiting.cause or (self.cause if self.mode is not Mode.UP else "") or self.links.cause)

"""What waits to be sent: in order, each until its deadline."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from heapq import heapify, heappop, heappush
from itertools import count

from attrs import define, field
from prometheus_client import Counter
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from interactd import metrics
from interactd.push.notification import Kind, Notification, Outcome
from interactd.push.reasons import Answer
from interactd.push.timing import Alarm


@cache
def _counter(kind: Kind) -> Counter:
    return metrics.PUSHES.labels(kind.value)


@define(eq=False)
class Waiting:
    """A push that has no outcome yet."""

    notification: Notification
    checked_at: float               # when it was last known to be wanted
    since: float = field(init=False)    # when it came
    done: Deferred[Outcome] = field(factory=Deferred)
    attempts: int = 0               # that were answered, or may have been
    refusals: int = 0               # in a row, by peers that did not look at it
    doubted: bool = False           # whether it was sent again because nobody knew
    hurried: bool = False           # whether it has had its early second attempt
    generation: int = 0             # of the provider token it was sent with
    cause: str = ""                 # why it was not sent the last time
    settled: bool = False

    @since.default
    def _came(self) -> float:
        return self.checked_at

    def settle(self, kind: Kind, answer: Answer | None = None, *, reason: str = "", after: float = 0.0) -> None:
        """This is how it ended; the first word stands."""
        if not self.settled:
            self.settled = True
            _counter(kind).inc()
            said = answer or Answer(0)
            self.done.callback(Outcome(kind, reason or said.reason, said.status, said.timestamp, after))


class Queue:
    """Holds up to `most`; `expire` hears of those whose deadline passes here."""

    def __init__(self, clock: IReactorTime, most: int, expire: Callable[[Waiting], None]) -> None:
        self._clock = clock
        self._most = most
        self._expire = expire
        self._inside: set[Waiting] = set()
        self._ready: deque[Waiting] = deque()
        self._delayed: dict[Waiting, IDelayedCall] = {}
        self._deadlines: list[tuple[float, int, Waiting]] = []
        self._numbers = count()
        self._alarm = Alarm(clock, self._look)

    def __len__(self) -> int:
        return len(self._inside)

    @property
    def full(self) -> bool:
        """Whether nothing more is taken in."""
        return len(self._inside) >= self._most

    def add(self, waiting: Waiting) -> None:
        """To the end."""
        if self._enter(waiting):
            self._ready.append(waiting)

    def put_back(self, waitings: Sequence[Waiting]) -> None:
        """To the front, in this order."""
        self._ready.extendleft(waiting for waiting in reversed(waitings) if self._enter(waiting))

    def add_later(self, waiting: Waiting, delay: float, then: Callable[[], None]) -> None:
        """To the front after `delay` seconds, when `then` is called."""
        def due() -> None:
            del self._delayed[waiting]
            self._ready.appendleft(waiting)
            then()
        if self._enter(waiting):
            self._delayed[waiting] = self._clock.callLater(delay, due)

    def first(self) -> Waiting | None:
        """The next one, which stays."""
        while self._ready and self._ready[0] not in self._inside:
            self._ready.popleft()
        return self._ready[0] if self._ready else None

    def take(self, waiting: Waiting) -> None:
        """The first one goes."""
        self._ready.popleft()
        self._inside.discard(waiting)

    def clear(self) -> list[Waiting]:
        """All, which go."""
        left = [*(waiting for waiting in self._ready if waiting in self._inside), *self._delayed]
        for timer in self._delayed.values():
            timer.cancel()
        self._delayed.clear()
        self._inside.clear()
        self._ready.clear()
        self._deadlines.clear()
        self._alarm.cancel()
        return left

    def _enter(self, waiting: Waiting) -> bool:
        if waiting.settled:
            return False
        deadline = waiting.notification.deadline
        if deadline <= self._clock.seconds():
            self._expire(waiting)
            return False
        self._inside.add(waiting)
        if len(self._deadlines) > 2 * len(self._inside) + 64:       # most of them have left long ago
            self._deadlines = [entry for entry in self._deadlines if entry[2] in self._inside]
            heapify(self._deadlines)
        heappush(self._deadlines, (deadline, next(self._numbers), waiting))
        self._alarm.set(self._deadlines[0][0] - self._clock.seconds())
        return True

    def _look(self) -> None:
        now = self._clock.seconds()
        while self._deadlines and self._deadlines[0][0] <= now:
            waiting = heappop(self._deadlines)[2]
            if waiting in self._inside:
                self._inside.discard(waiting)
                if waiting in self._delayed:
                    self._delayed.pop(waiting).cancel()
                self._expire(waiting)
        if self._deadlines and self._inside:
            self._alarm.set(self._deadlines[0][0] - now)

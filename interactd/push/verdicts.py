"""What follows from an answer: for the push, its device, the connection and the key."""
from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from random import uniform
from typing import Protocol

from attrs import define, field
from prometheus_client import Counter
from twisted.logger import Logger

from interactd import metrics
from interactd.push.links import Link, Links
from interactd.push.notification import Kind, Notification
from interactd.push.queue import Waiting
from interactd.push.reasons import Act, Answer
from interactd.push.tokens import ProviderToken

LIVE = 3600.0           # seconds for which a success shows that the settings are right
PAUSE = 900.0           # Apple's wish before a push is tried again after a 5xx
HURRY = (1.0, 5.0)      # seconds before the one early attempt of a push that can not wait so long
DEVICE_HOLD = (60.0, 900.0)     # first and longest hold of a device that got too many
KEY_HOLD = (60.0, 1200.0)       # and of a key


class Sender(Protocol):
    """Where a verdict sends a push."""

    def again(self, waiting: Waiting, cause: str, delay: float = 0.0) -> None:
        """This push goes to the front of the queue, now or after a while."""

    def block(self, waiting: Waiting, cause: str) -> None:
        """Only the operator can help: the push waits, and all others do."""

    def hold(self, seconds: float, cause: str) -> None:
        """Nothing is sent for a while."""


@define
class _Hold:
    until: float = 0.0
    length: float = 0.0

    def extend(self, now: float, bounds: tuple[float, float]) -> float:
        """Seconds: the first hold, or twice the last one if that was just now; one that lasts is not made longer."""
        if now < self.until:
            return self.until - now
        again = self.length and now < self.until + self.length
        self.length = min(bounds[1], self.length * 2) if again else bounds[0]
        self.until = now + self.length
        return self.length


@define
class _Topic:
    """What is known of one topic: when a push was accepted last, and which devices were called bad since."""

    success: float | None = None
    suspects: set[str] = field(factory=set)


@lru_cache(maxsize=100)
def _counter(status: int, reason: str) -> Counter:
    return metrics.PUSH_ANSWERS.labels(str(status), reason)


class Verdicts:
    """Does what the table of reasons says. `now` counts monotonic seconds."""

    log = Logger()

    def __init__(self, sender: Sender, links: Links, token: ProviderToken | None, now: Callable[[], float]) -> None:
        self._sender = sender
        self._links = links
        self._token = token
        self._now = now
        self._topics: dict[str, _Topic] = {}
        self._devices: dict[str, _Hold] = {}
        self._key = _Hold()
        self._acts: dict[Act, Callable[[Link, Waiting, Answer], None]] = {
            Act.OK: self._ok, Act.DEAD: self._dead, Act.DEAD_IF_OTHERS_LIVE: self._dead_if_others_live, Act.DROP: self._drop, Act.FIX: self._fix,
            Act.ELSEWHERE: self._elsewhere, Act.NEW_TOKEN: self._new_token, Act.DEVICE_LATER: self._device_later,
            Act.KEY_LATER: self._key_later, Act.LATER: self._later, Act.LATER_ELSEWHERE: self._later_elsewhere,
        }

    def judge(self, connection: Link, waiting: Waiting, answer: Answer) -> None:
        """The peer has answered this push so."""
        _counter(answer.status, answer.reason).inc()
        if answer.status != 200:
            self.log.info("a push to {device} was answered {status} {reason} ({id})", device=waiting.notification.shown,
                          status=answer.status, reason=answer.reason, id=waiting.notification.apns_id)
        self._acts[answer.act](connection, waiting, answer)

    def held(self, notification: Notification) -> float:
        """Seconds for which nothing is sent to this device."""
        hold = self._devices.get(notification.token) if self._devices else None
        return max(0.0, hold.until - self._now()) if hold is not None else 0.0

    def succeeded(self, topic: str, ago: float = 0.0) -> None:
        """A push of this topic was accepted so many seconds ago, so the settings are right."""
        known = self._topics.setdefault(topic, _Topic())
        known.success = max(known.success or self._now() - ago, self._now() - ago)
        known.suspects.clear()

    def _ok(self, connection: Link, waiting: Waiting, answer: Answer) -> None:
        self._devices.pop(waiting.notification.token, None)
        waiting.settle(Kind.OK, answer)
        self.succeeded(waiting.notification.topic)

    def _dead(self, connection: Link, waiting: Waiting, answer: Answer) -> None:
        waiting.settle(Kind.DEAD, answer)

    def _dead_if_others_live(self, connection: Link, waiting: Waiting, answer: Answer) -> None:
        known = self._topics.setdefault(waiting.notification.topic, _Topic())
        if known.success is not None and known.success >= self._now() - LIVE:
            waiting.settle(Kind.DEAD, answer)
            return
        known.suspects.add(waiting.notification.token)
        if len(known.suspects) > 1:             # several devices, and none that is good
            self._fix(connection, waiting, answer)
            return
        self.log.warn("{reason} for {device}, and nothing was accepted within the hour: either this device is gone, or environment and topic are"
                      " not those of its app", reason=answer.reason, device=waiting.notification.shown)
        waiting.settle(Kind.FAILED, answer)

    def _drop(self, connection: Link, waiting: Waiting, answer: Answer) -> None:
        waiting.settle(Kind.DROPPED, answer)

    def _fix(self, connection: Link, waiting: Waiting, answer: Answer) -> None:
        self._sender.block(waiting, answer.reason)

    def _elsewhere(self, connection: Link, waiting: Waiting, answer: Answer) -> None:
        connection.drain(answer.reason)
        self._sender.again(waiting, answer.reason)

    def _new_token(self, connection: Link, waiting: Waiting, answer: Answer) -> None:
        if self._token is not None and self._token.renew(waiting.generation):
            connection.drain(answer.reason)
            self._sender.again(waiting, answer.reason)
        else:
            self._sender.block(waiting, "ExpiredProviderToken for a fresh token: check the clock")

    def _device_later(self, connection: Link, waiting: Waiting, answer: Answer) -> None:
        if len(self._devices) > 1000:
            self._devices = {token: hold for token, hold in self._devices.items() if self._now() < hold.until + hold.length}
        delay = self._devices.setdefault(waiting.notification.token, _Hold()).extend(self._now(), DEVICE_HOLD)
        self.later(waiting, answer, delay)

    def _key_later(self, connection: Link, waiting: Waiting, answer: Answer) -> None:
        self._sender.hold(self._key.extend(self._now(), KEY_HOLD), answer.reason)
        self._sender.again(waiting, answer.reason)

    def _later(self, connection: Link, waiting: Waiting, answer: Answer) -> None:
        self.later(waiting, answer, PAUSE)

    def _later_elsewhere(self, connection: Link, waiting: Waiting, answer: Answer) -> None:
        self._links.back_off(answer.reason or str(answer.status))
        connection.drain(answer.reason or str(answer.status))
        if waiting.notification.deadline <= self._now() + PAUSE and not waiting.hurried:
            waiting.hurried = True
            self._sender.again(waiting, answer.reason, uniform(*HURRY))
        else:
            self._later(connection, waiting, answer)

    def later(self, waiting: Waiting, answer: Answer, delay: float) -> None:
        """Sent again after so many seconds, if its deadline allows it; else it has failed."""
        if self._now() + delay < waiting.notification.deadline:
            waiting.settle(Kind.LATER, answer, after=delay)
        else:
            waiting.settle(Kind.FAILED, answer)

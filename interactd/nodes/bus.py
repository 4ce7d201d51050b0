"""The Hub across processes: what is published here is hinted to the other nodes, what they hint is published here as `Elsewhere`.

Hints leave after the commit, many users in one message, and only while another node lives. A lost one costs time, never an event:
every node looks at its users' rows every `[live] sweep-every` seconds, and at once when the bus is back after a break.
"""
from __future__ import annotations

from collections.abc import Callable
from random import uniform
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from interactd import metrics
from interactd.changes import Changed, DeviceMoved, Elsewhere, Ended, Entered, Hub, Notice, Progress
from interactd.nodes.census import BEAT, MISSED, Census
from interactd.nodes.hints import Gathered, Hint, read
from interactd.nodes.link import Broken, Carrier, Link

GATHER = 0.005          # seconds in which hints gather
LAST_WORDS = 1.0        # seconds for the last hints to leave
PAUSES = 0.1, 5.0       # seconds before the first and before a late attempt to connect again


class Bus(Service):
    """Joins the Hub of this process with those of the other nodes. `clock` counts monotonic seconds."""

    log = Logger()

    def __init__(self, hub: Hub, census: Census, carrier: Carrier, clock: IReactorTime) -> None:
        self.reached = False                    # whether the carrier has been connected since the start
        self._hub = hub
        self._census = census
        self._carrier = carrier
        self._link: Link | None = None
        self._life: Deferred[None] | None = None
        self._clock = clock
        self._gathered = Gathered()
        self._timer: IDelayedCall | None = None
        self._retold: DeviceMoved | None = None         # what came from elsewhere and is not told back
        self._heard_at = 0.0                    # when our own greeting last came back
        self._unread = 0
        self._subscribed: list[Callable[[], None]] = []
        self._loop = LoopingCall(self._greet)
        self._loop.clock = clock

    def startService(self) -> None:
        """From now on hints go out and come in, as soon as the carrier is connected."""
        Service.startService(self)
        self._subscribed = [self._hub.subscribe(Notice, lambda notice: self._tell("told", notice.user_id)),
                            self._hub.subscribe(Changed, self._changed),
                            self._hub.subscribe(Ended, lambda ended: self._tell("ended", ended.user_id)),
                            self._hub.subscribe(Entered, lambda entered: self._tell("ended", entered.user_id)),
                            self._hub.subscribe(DeviceMoved, self._moved),
                            self._hub.subscribe(Progress, lambda progress: self._tell("worked", progress.user_id))]
        self._life = Deferred.fromCoroutine(self._live())
        self._loop.start(BEAT, now=False)

    async def stopService(self) -> None:
        """The last hints have been handed over and the link is closed."""
        Service.stopService(self)
        while self._subscribed:
            self._subscribed.pop()()
        if self._loop.running:
            self._loop.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._flush()
        if self._link is not None:
            flushed = self._link.flushed()
            await flushed.addTimeout(LAST_WORDS, self._clock, lambda result, seconds: None)
        if self._life is not None:
            self._life.cancel()
            await self._life

    async def _live(self) -> None:
        """Keeps a link, until it is cancelled."""
        pause = PAUSES[0]
        try:
            while True:
                try:
                    self._link = await self._carrier.connect(self._heard)
                    pause = PAUSES[0]
                    self._connected()
                    await self._link.ended
                    self.log.warn("the bus has lost its connection")
                except Broken as broken:
                    self.log.info("the bus can not be reached ({broken}), trying again", broken=str(broken))
                finally:
                    self._close()
                await deferLater(self._clock, pause * uniform(0.8, 1.2))
                pause = min(PAUSES[1], pause * 2)
        except CancelledError:
            pass

    def _close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _send(self, hint: Hint) -> None:
        if self._link is not None:
            self._link.send(hint.text())

    def _changed(self, change: Changed) -> None:
        if change.entity_type == "interaction":
            self._tell("told", change.user_id)
        elif change.entity_type == "user":
            self._tell("ended", change.entity_id)

    def _moved(self, moved: DeviceMoved) -> None:
        if moved is not self._retold:
            self._tell("moved", (moved.user_id, moved.device_id))

    def _tell(self, what: str, whom: Any) -> None:
        if not self._census.others:
            return
        getattr(self._gathered, what).add(whom)
        if self._timer is None:
            self._timer = self._clock.callLater(GATHER, self._flush)

    def _flush(self) -> None:
        self._timer = None
        gathered, self._gathered = self._gathered, Gathered()
        for hint in gathered.hints(self._census.id):
            self._send(hint)
            metrics.HINTS.labels("out").inc()

    def _greet(self) -> None:
        """Says that this node is there, and hears itself say so: a link that stays silent is made anew."""
        if self._link is not None and self._clock.seconds() - self._heard_at > BEAT * MISSED:
            self._link.close()
        self._send(Hint(self._census.id))

    def _connected(self) -> None:
        self.reached = True
        self._heard_at = self._clock.seconds()
        self._hub.publish(Elsewhere(everybody=True))
        self._send(Hint(self._census.id))

    def _heard(self, text: str) -> None:
        try:
            hint = read(text)
        except ValueError:
            self._unread += 1
            if self._unread == 1:
                self.log.warn("something on the bus is no hint, and is left alone")
            return
        if hint.sender == self._census.id:
            self._heard_at = self._clock.seconds()
            return
        self._census.met()
        metrics.HINTS.labels("in").inc()
        if hint.told or hint.ended or hint.worked:
            self._hub.publish(Elsewhere(hint.told, hint.ended, hint.worked))
        for user_id, device_id in hint.moved:
            self._retold = DeviceMoved(user_id, device_id)
            self._hub.publish(self._retold)

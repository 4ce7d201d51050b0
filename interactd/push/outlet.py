"""Socket first, then Apple: which deliveries are pushed, when, and by whom (contract section 8).

What is due stands in the rows, so that another node, or this one after a restart, finds it. Memory only knows it sooner.
"""
from __future__ import annotations

from collections.abc import Coroutine, Iterable
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from interactd import metrics
from interactd.changes import Acknowledged, Notice
from interactd.config import Apns
from interactd.errors import Unavailable
from interactd.push.notification import SIZE, SIZES, Kind, Notification, Outcome
from interactd.push.payload import payload
from interactd.push.pool import Pool
from interactd.push.presence import Presence
from interactd.push.records import Claimed, Pair, Records, Told
from interactd.push.timing import Alarm

AT_ONCE = 200           # pushes claimed in one statement
KEPT = 50_000           # due ones known in memory; of the others the rows tell
SETTLE_AFTER = 0.02     # seconds in which outcomes gather
AGAIN_AFTER = 1.0       # seconds until a failed write is tried again
TRAVEL = 0.25           # seconds for another node to write down an acknowledgement


class Outlet:
    """Pushes at once what has no open socket, and what its socket has not acknowledged after `ack_timeout` seconds."""

    log = Logger()

    def __init__(self, records: Records, presence: Presence, apns: Apns, ack_timeout: float, clock: IReactorTime) -> None:
        self.pool: Pool | None = None           # None before the start
        self._records = records
        self._presence = presence
        self._apns = apns
        self._ack_timeout = ack_timeout
        self._clock = clock
        self._hoped: dict[Pair, float] = {}     # what waits for an acknowledgement, in the order of its time
        self._due: dict[Pair, bool] = {}        # whether only if no other node has its socket
        self._sending: dict[Pair, bool] = {}    # what the pool has, and whether it is still wanted
        self._told: list[Told] = []
        self._asked: list[tuple[Claimed, Deferred[bool]]] = []
        self._works: set[Deferred[Any]] = set()
        self._claiming = False
        self._unseen = False                    # whether rows may be due that nothing here knows of
        self._time = Alarm(clock, self._timed)
        self._settling = Alarm(clock, lambda: self._run(self._settle()))
        self._asking = Alarm(clock, lambda: self._run(self._renew()))

    def noticed(self, notice: Notice) -> None:
        """An event was stored."""
        if notice.late:
            return
        elsewhere = self._presence.elsewhere()
        patience = self._ack_timeout + (TRAVEL if elsewhere else 0)
        for device_id in notice.device_ids:
            pair = notice.interaction_id, device_id
            here = self._presence.here(notice.user_id, device_id)
            if here or elsewhere:
                self._hoped[pair] = self._clock.seconds() + patience
                self._time.set(patience)
            if not here and len(self._due) < KEPT:
                self._due[pair] = elsewhere
        self._pump()

    def acknowledged(self, event: Acknowledged) -> None:
        """A device has it, by its socket: not to be pushed any more."""
        pair = event.interaction_id, event.device_id
        self._hoped.pop(pair, None)
        self._due.pop(pair, None)
        if pair in self._sending:
            self._sending[pair] = False

    async def sweep(self) -> None:
        """What is over is closed; what is due and nobody sends, after a restart or a lost hint, is sent as soon as may be."""
        if self.pool is None:
            return
        try:
            metrics.PUSHES.labels(Kind.EXPIRED.value).inc(await self._records.expire(self.pool.cause or self.pool.links.cause))
        except Unavailable:
            self.log.warn("the sweep for due pushes waits for the database")
            return
        self._unseen = True
        self._pump()

    async def stop(self) -> None:
        """What is known of pushes is written down. (The pool has stopped.)"""
        self._time.cancel()
        self._settling.cancel()
        while self._works:
            await next(iter(self._works))
        await self._settle()
        self._settling.cancel()

    def _timed(self) -> None:
        now = self._clock.seconds()
        for pair, at in tuple(self._hoped.items()):
            if at > now:
                self._time.set(at - now)
                break
            del self._hoped[pair]
            self._due[pair] = False
        self._pump()

    def _pump(self) -> None:
        if (self._due or self._unseen) and not self._claiming and self.pool is not None and self.pool.appetite > 0:
            self._claiming = True
            self._run(self._claim(self.pool))

    async def _claim(self, pool: Pool) -> None:
        """As many as the client would send at once; when it has sent some, the next."""
        try:
            while (self._due or self._unseen) and (most := min(AT_ONCE, pool.appetite)) > 0:
                asked_at = self._clock.seconds()
                if self._due:
                    asked = dict(islice(self._due.items(), most))
                    for pair in asked:
                        del self._due[pair]
                    self._send(await self._records.claim(asked), asked_at)
                else:
                    claimed = await self._records.claim_due(most)
                    self._unseen = len(claimed) == most
                    self._send(claimed, asked_at)
        except Unavailable:
            self._unseen = False
            self.log.warn("due pushes wait for the database")        # the sweep finds them
        finally:
            self._claiming = False

    def _send(self, claimed: Iterable[Claimed], asked_at: float) -> None:
        for one in claimed:
            assert self.pool is not None
            self._hoped.pop(one.pair, None)
            self._sending[one.pair] = True
            self.pool.send(self._notification(one), asked_at).addCallback(self._ended, one)

    def _notification(self, one: Claimed) -> Notification:
        voip = one.voip and one.call
        topic, kind = (f"{self._apns.topic}.voip", "voip") if voip else (self._apns.topic, "alert")
        body = payload(one.notice, SIZES.get(kind, SIZE), private=self._apns.private, sound=self._apns.sound)
        return Notification(one.token, topic, body, self._clock.seconds() + one.seconds, kind, expiration=one.until,
                            collapse_id=str(one.interaction_id), apns_id=one.push_id, wanted=lambda: self._wanted(one))

    def _wanted(self, one: Claimed) -> Deferred[bool]:
        if not self._sending.get(one.pair):
            answer: Deferred[bool] = Deferred()
            answer.callback(False)
            return answer
        asked: Deferred[bool] = Deferred()
        self._asked.append((one, asked))
        self._asking.set(0)
        return asked

    async def _renew(self) -> None:
        asked, self._asked = self._asked, []
        try:
            wanted = await self._records.renew([one for one, _ in asked])
        except Unavailable:                     # nobody knows: the rows are still there
            wanted = set()
        for one, answer in asked:
            answer.callback(one.pair in wanted and self._sending.get(one.pair, False))

    def _ended(self, outcome: Outcome, one: Claimed) -> None:
        self._sending.pop(one.pair, None)
        self._told.append(Told(one, outcome))
        self._settling.set(SETTLE_AFTER)
        self._pump()

    async def _settle(self) -> None:
        told, self._told = self._told, []
        if not told:
            return
        try:
            await self._records.settle(told)
        except Unavailable:
            self.log.warn("the outcomes of {count} pushes wait for the database", count=len(told))
            self._told = told + self._told
            self._settling.set(AGAIN_AFTER)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        begun: Deferred[None] = Deferred.fromCoroutine(work)
        self._works.add(begun)
        begun.addErrback(lambda failure: self.log.failure("work on pushes failed", failure=failure))
        begun.addBoth(lambda _: self._works.discard(begun))

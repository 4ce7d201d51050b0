"""Events that arrive together go into one transaction; a lone one leaves in the same reactor turn."""
from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from attrs import frozen
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from interactd.changes import Hub
from interactd.config import Config
from interactd.errors import ApiError, Internal, Unavailable
from interactd.events.answers import Sorted, sort
from interactd.events.carriage import Carriage, Then, Undone, Unsettled
from interactd.events.event import failed
from interactd.events.hints import Hints
from interactd.events.lanes import Lanes
from interactd.events.line import Line
from interactd.events.parcel import Parcel, addressed, unknown
from interactd.events.wire import Wire

_ROUNDS = 5
_PATIENCE = 5.0


@frozen
class Batch:
    """Events that go together: all in one transaction, or (`apart`) one after the other. `waiting`: for the lock of their user."""

    parcels: Sequence[Parcel]
    waiting: bool = False
    apart: bool = False


class Dispatch:
    """Fills free connections with what waits, and sees to it that each event is answered once."""

    log = Logger()

    def __init__(self, reactor: Any, dsn: str, config: Config, hub: Hub) -> None:
        self._reactor = reactor
        self._config = config
        self._hub = hub
        given = config.http.public_url, str(config.live.ack_timeout) if config.apns.on else ""
        self._lanes = Lanes(reactor, dsn, max(2, config.database.event_pool), given, self._lanes_changed)
        self._carriage = Carriage(reactor, dsn)
        self._first: deque[Batch] = deque()          # were under way already
        self._alone: deque[Batch] = deque()          # must wait for a lock
        self._told: deque[Sorted] = deque()          # is to be told, in the order in which it was committed
        self._waiting_for_locks = 0
        self._under_way: set[Deferred[None]] = set()
        self._woken: Any = None
        self._away: Any = None                       # runs since the last connection went
        self.line = Line()
        self.hints = Hints()
        self.working = False

    async def open(self) -> None:
        """All connections are open, or the first error is raised."""
        await self._lanes.open()

    async def close(self) -> None:
        """What is under way is answered, the rest gets Unavailable, the connections are closed."""
        self._give_up("shutting down")
        await gatherResults(list(self._under_way))
        self._lanes.close()
        for call in (self._woken, self._away):
            if call is not None and call.active():
                call.cancel()

    def add(self, parcels: Iterable[Parcel]) -> None:
        """They wait; whatever arrives in this reactor turn leaves with them."""
        for parcel in parcels:
            self.line.add(parcel)
        if self._woken is None and self._lanes.idle:
            self._woken = self._reactor.callLater(0, self._leave)

    def _leave(self) -> None:
        """Whatever can leave now leaves."""
        self._woken = None
        while self._lanes.idle and (batch := self._next()) is not None:
            ended = Deferred.fromCoroutine(self._serve(self._lanes.idle.pop(), batch))
            self._under_way.add(ended)
            ended.addBoth(self._ended, ended)

    def _ended(self, result: Any, ended: Deferred[None]) -> None:
        self._under_way.discard(ended)

    def _next(self) -> Batch | None:
        if self._alone and self._waiting_for_locks < self._lanes.size // 2:
            self._waiting_for_locks += 1
            return self._alone.popleft()
        if self._first:
            return self._first.popleft()
        return Batch(self.line.take(self._config.limits.batch)) if self.line else None

    async def _serve(self, wire: Wire, batch: Batch) -> None:
        done: list[Sorted] = []
        for parcels in [[parcel] for parcel in batch.parcels] if batch.apart else [batch.parcels]:
            try:
                done.append(await self._carry(wire, parcels, batch.waiting))
            except Undone as undone:
                self._undone(parcels, batch.waiting, undone)
            except Unsettled:
                self._answer(parcels, Unavailable("it is not known whether the event was stored"))
            except Exception:
                self.log.failure("a batch of events failed")
                self._answer(parcels, Internal("something went wrong"))
        self._waiting_for_locks -= batch.waiting
        self._lanes.give_back(wire)
        for result in done:
            self._requeue(result)
        self._told.extend(done)
        self._leave()                    # the database works while we answer; what it has done by then is told behind these
        while self._told:
            self._told.popleft().announce(self._hub)

    async def _carry(self, wire: Wire, parcels: Sequence[Parcel], waiting: bool) -> Sorted:
        sent: list[dict[str, Any]] = []
        owners: set[int] = set()
        for place, parcel in enumerate(parcels):
            hint = self.hints.of(parcel.hash)
            if hint is None:
                sent.append(unknown(parcel))
            else:
                target = self.hints.target(hint, parcel.receiver)
                sent.append(addressed(parcel, hint, target, self._config.numbers))
                owners.update((hint.owner, target))
            sent[-1]["n"] = place
        rows = await self._carriage.carry(wire, orjson.dumps(sent).decode(), sorted(owners), waiting)
        return sort(parcels, rows, self.hints)

    def _requeue(self, result: Sorted) -> None:
        """What is answered has left the line; what is not goes another round."""
        for parcel in result.answered:
            self.line.gone(parcel)
        for key, parcels in result.again.items():
            if self._once_more(parcels):
                self.line.back(parcels, key)
        for parcels in result.busy.values():
            if self._once_more(parcels):
                self._alone.append(Batch(parcels, waiting=True))

    def _undone(self, parcels: Sequence[Parcel], waiting: bool, undone: Undone) -> None:
        self.log.warn("a transaction of {count} events was rolled back ({state})", count=len(parcels), state=undone.state)
        if undone.then is Then.NEVER or waiting and undone.state == "55P03":
            self._answer(parcels, Unavailable())
        elif undone.then is Then.APART and len(parcels) == 1 and undone.state[:2] in ("22", "54"):
            self._answer(parcels, Internal("the event could not be stored"))
        elif self._once_more(parcels):
            again = Batch(parcels, waiting, apart=undone.then is Then.APART)
            (self._alone if waiting else self._first).append(again)

    def _once_more(self, parcels: Sequence[Parcel]) -> bool:
        """Whether they may go another round; else they are answered with Unavailable."""
        for parcel in parcels:
            parcel.rounds += 1
        if self._lanes.running and max(parcel.rounds for parcel in parcels) <= _ROUNDS:
            return True
        self._answer(parcels, Unavailable())
        return False

    def _answer(self, parcels: Iterable[Parcel], error: ApiError) -> None:
        for parcel in parcels:
            self.line.gone(parcel)
            parcel.answer.callback(failed(error))

    def _lanes_changed(self) -> None:
        if self._lanes.any_open:
            self.working = True
            if self._away is not None and self._away.active():
                self._away.cancel()
            self._away = None
            self._leave()
        elif self._away is None:
            self._away = self._reactor.callLater(_PATIENCE, self._give_up, "the database is not available right now")

    def _give_up(self, why: str) -> None:
        """Whoever waits is answered; nobody else is let in until there is a connection."""
        self.working = False
        for parcel in self.line.drain():
            parcel.answer.callback(failed(Unavailable(why)))
        for batches in (self._first, self._alone):
            while batches:
                self._answer(batches.popleft().parcels, Unavailable(why))

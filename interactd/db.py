"""PostgreSQL: a pool of connections that recovers, prepared statements, one-trip scripts, transactions.

Nothing but this module and lane.py knows txpostgres (the event intake has a connection of its own). All SQL is text in `Statement`
constants; each is prepared on a connection the first time it is used there.
"""
from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

import psycopg2
from twisted.application import service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from interactd.errors import NotFound, Unavailable
from interactd.lane import Lane, Lost, Retriable, Row, Violation, translated
from interactd.statement import Statement, Step

T = TypeVar("T")


class Queries(Protocol):
    """What both the pool and a transaction offer."""

    async def query(self, statement: Statement, /, **values: Any) -> list[Row]:
        """The rows of one statement."""
        ...

    async def script(self, *steps: Step) -> list[Row]:
        """The rows of the last of several statements sent in one round trip."""
        ...


def shield(work: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
    """The result of `work`, which runs to its end even when the answer is cancelled."""
    outer: Deferred[T] = Deferred(lambda _: None)
    Deferred.fromCoroutine(work).addBoth(lambda result: None if outer.called else outer.callback(result))
    return outer


class Transaction:
    """An open transaction; its first statement carries the BEGIN, so it costs no trip of its own."""

    def __init__(self, lane: Lane, begin: str) -> None:
        self._lane = lane
        self._begin = begin
        self.begun = False

    async def query(self, statement: Statement, /, **values: Any) -> list[Row]:
        """The rows of one statement."""
        return await self.script(Step(statement, values))

    async def script(self, *steps: Step) -> list[Row]:
        """The rows of the last of several statements sent in one round trip."""
        before, self._begin = self._begin, ""
        if before:
            # a statement can be prepared inside a transaction, but not one that failed: so before it
            await self._lane.prepare(steps)
            self.begun = True
        return await self._lane.run(steps, before)


async def _transact(lane: Lane, begin: str, work: Callable[[Transaction], Awaitable[T]]) -> T:
    transaction = Transaction(lane, begin)
    try:
        result = await work(transaction)
    except BaseException:
        if transaction.begun and not lane.broken:
            await _settle(lane, "ROLLBACK")
        raise
    if transaction.begun:
        await _settle(lane, "COMMIT")
    return result


async def _settle(lane: Lane, command: str) -> None:
    try:
        await lane.command(command)
    except psycopg2.Error as error:
        lane.broken = True
        raise translated(error) from None


class Database(service.Service):
    """The pool: `size` connections, each reopened with jittered back-off when it dies.

    `waiting` pieces of work may wait for a connection, `patience` seconds at most; then Unavailable (503).
    `public_url` is what the addresses that statements build begin with.
    """

    log = Logger()

    def __init__(self, reactor: Any, dsn: str, size: int = 8, *, public_url: str = "", waiting: int = 1000, patience: float = 5.0) -> None:
        self._reactor = reactor
        self._clock: IReactorTime = reactor
        self._dsn = dsn
        self._size = size
        self._public_url = public_url
        self._waiting_limit = waiting
        self._patience = patience
        self._lanes: set[Lane] = set()
        self._idle: list[Lane] = []
        self._waiting: deque[Deferred[Lane]] = deque()
        self._retries: set[Any] = set()

    async def open(self) -> None:
        """All connections are open, or the first error is raised."""
        service.Service.startService(self)
        for _ in range(self._size):
            await self._connect()

    def stopService(self) -> None:
        """Closes every connection; whoever waits gets Unavailable."""
        service.Service.stopService(self)
        for call in self._retries:
            call.cancel()
        self._retries.clear()
        while self._waiting:
            self._waiting.popleft().errback(Unavailable("shutting down"))
        for lane in tuple(self._lanes):
            lane.close()
        self._lanes.clear()
        self._idle.clear()

    async def query(self, statement: Statement, /, **values: Any) -> list[Row]:
        """The rows of one statement, in a transaction of its own without BEGIN and COMMIT around it."""
        return await self.script(Step(statement, values))

    async def script(self, *steps: Step) -> list[Row]:
        """The rows of the last of several statements sent in one round trip: one transaction, a fresh snapshot each."""
        return await self._with_lane(lambda lane: lane.run(steps))

    async def transaction(self, name: str, work: Callable[[Transaction], Awaitable[T]], *, read_only: bool = False) -> T:
        """What `work` returns, after the commit; rolled back when it raises. `name` stands in the log of failures."""
        begin = f"/* {name} */ BEGIN" + (" ISOLATION LEVEL REPEATABLE READ READ ONLY; " if read_only else "; ")
        return await self._with_lane(lambda lane: _transact(lane, begin, work))

    async def _with_lane(self, work: Callable[[Lane], Coroutine[Deferred[Any], Any, T]]) -> T:
        return await shield(self._twice(work))

    async def _twice(self, work: Callable[[Lane], Coroutine[Deferred[Any], Any, T]]) -> T:
        try:
            return await self._once(work)
        except Retriable:
            pass
        try:
            return await self._once(work)
        except Retriable:
            raise Unavailable("too many writers at once") from None

    async def _once(self, work: Callable[[Lane], Coroutine[Deferred[Any], Any, T]]) -> T:
        lane = self._idle.pop() if self._idle else await self._wait()
        try:
            return await work(lane)
        finally:
            self._give_back(lane)

    def _wait(self) -> Deferred[Lane]:
        if len(self._waiting) >= self._waiting_limit or not self.running:
            raise Unavailable("too much waits for the database")
        waiter: Deferred[Lane] = Deferred()
        self._waiting.append(waiter)
        timer = self._clock.callLater(self._patience, self._give_up, waiter)

        def arrived(lane: Any) -> Any:
            if timer.active():
                timer.cancel()
            return lane
        return waiter.addBoth(arrived)

    def _give_up(self, waiter: Deferred[Lane]) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)
            waiter.errback(Unavailable("the database is not available right now"))

    def _give_back(self, lane: Lane) -> None:
        if lane.broken:
            self._replace(lane)
        elif self._waiting:
            self._waiting.popleft().callback(lane)
        else:
            self._idle.append(lane)

    def _replace(self, lane: Lane) -> None:
        if lane not in self._lanes:
            return
        self._lanes.discard(lane)
        if lane in self._idle:
            self._idle.remove(lane)
        lane.close()
        if self.running:
            self._retry(0.0)

    def _retry(self, delay: float) -> None:
        def again() -> None:
            self._retries.discard(call)
            Deferred.fromCoroutine(self._reconnect(delay))
        call = self._clock.callLater(delay * random.uniform(0.8, 1.2), again)
        self._retries.add(call)

    async def _reconnect(self, delay: float) -> None:
        try:
            await self._connect()
        except psycopg2.Error as error:
            if self.running:
                self.log.warn("can not reach the database ({kind}), trying again", kind=type(error).__name__)
                self._retry(min(5.0, max(0.05, delay * 2)))

    async def _connect(self) -> None:
        lane = Lane(self._reactor, self._died)
        try:
            await lane.open(self._dsn, self._public_url)
        except BaseException:
            lane.close()
            raise
        if not self.running:
            lane.close()
            return
        self._lanes.add(lane)
        self._give_back(lane)

    def _died(self, lane: Lane) -> None:
        lane.broken = True
        if lane in self._idle:
            self._replace(lane)


def one(rows: list[Row], what: str = "entity") -> Row:
    """The only row; NotFound(what) when there is none."""
    if not rows:
        raise NotFound(what)
    if len(rows) > 1:
        raise AssertionError(f"{len(rows)} rows where one was due")
    return rows[0]


__all__ = ["Database", "Lost", "Queries", "Retriable", "Row", "Statement", "Step", "Transaction", "Violation", "one", "shield"]

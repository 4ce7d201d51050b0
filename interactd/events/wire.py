"""A thin asynchronous psycopg2 connection on the reactor, for the event pool alone: one statement at a time, no layers between."""
from __future__ import annotations

import os
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

# Plans made while the tables are small must stay good when they are not: by index, and made once.
SETTINGS = ("SET jit = off; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off; "
            "SET enable_mergejoin = off; SET enable_bitmapscan = off; SET timezone = 'UTC'; SET client_min_messages = warning")
_KEEPALIVE: dict[str, Any] = {"keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 15000}

Rows = list[tuple[Any, ...]]


@implementer(IReadWriteDescriptor)
class Wire:
    """One connection. `lost` is called once when it is gone while nothing runs on it; what runs is told by its exception."""

    def __init__(self, reactor: Any, lost: Any = None) -> None:
        self._reactor = reactor
        self._lost = lost
        self._connection: Any = None
        self._cursor: Any = None
        self._watched = -1               # a copy of libpq's descriptor: libpq closes its own without a word, and the number is used again
        self._inode = -1
        self._waiter: Deferred[None] | None = None
        self._writing = False
        self.closed = False

    async def open(self, dsn: str) -> None:
        """It is connected, or psycopg2.Error is raised."""
        self._connection = psycopg2.connect(dsn, async_=True, **_KEEPALIVE)
        try:
            await self._settled()
        except BaseException:
            self.close()
            raise
        self._cursor = self._connection.cursor()

    async def run(self, sql: str, parameters: tuple[Any, ...] | None = None) -> Rows:
        """The rows of the last statement in `sql`."""
        if self.closed:
            raise psycopg2.InterfaceError("the connection is closed")
        try:
            self._cursor.execute(sql, parameters)
            await self._settled()
            return self._cursor.fetchall() if self._cursor.description else []
        except psycopg2.Error:
            if self._dead:
                self.close()
            raise

    @property
    def _dead(self) -> bool:
        return bool(self._connection.closed or self._connection.info.status)     # 0 is CONNECTION_OK

    def close(self) -> None:
        """Hang up; what runs ends with InterfaceError."""
        if self.closed:
            return
        self.closed = True
        self._unwatch()
        if self._connection is not None:
            self._connection.close()
        self._finish(Failure(psycopg2.InterfaceError("the connection was closed")))

    async def _settled(self) -> None:
        """What was begun is done. The answer may be there already: then nothing more would come to wake us."""
        if self._poll() != POLL_OK:
            self._waiter = Deferred()
            await self._waiter

    def _poll(self) -> int:
        state: int = self._connection.poll()
        if self._cursor is None:
            self._watch()
        if self._writing != (state == POLL_WRITE):
            self._writing = state == POLL_WRITE
            (self._reactor.addWriter if self._writing else self._reactor.removeWriter)(self)
        return state

    def _watch(self) -> None:
        """While it connects, libpq may go on with another socket, under the same number even."""
        socket = self._connection.fileno()
        inode = os.fstat(socket).st_ino
        if inode != self._inode:
            self._unwatch()
            self._watched, self._inode = os.dup(socket), inode
            self._reactor.addReader(self)

    def _unwatch(self) -> None:
        if self._watched >= 0:
            self._reactor.removeReader(self)
            self._reactor.removeWriter(self)
            os.close(self._watched)
            self._watched, self._writing = -1, False

    def _finish(self, result: Failure | None) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(None) if result is None else waiter.errback(result)

    def doRead(self) -> None:
        """The socket has something for us."""
        try:
            state = self._poll()
        except psycopg2.Error:
            self._broken(Failure())
            return
        if state == POLL_OK:
            self._finish(None)
        elif state not in (POLL_READ, POLL_WRITE):
            self._broken(Failure(psycopg2.InterfaceError("the connection is confused")))

    doWrite = doRead

    def _broken(self, failure: Failure) -> None:
        """An error of the statement, or the end of the connection."""
        waiter, self._waiter = self._waiter, None
        if self._dead:
            self.close()
            if waiter is None and self._lost is not None:
                self._lost(self)
        if waiter is not None:
            waiter.errback(failure)

    def fileno(self) -> int:
        """The socket the reactor watches."""
        return self._watched

    def logPrefix(self) -> str:
        """How Twisted's log calls it."""
        return "wire"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor gave the socket up."""
        self.close()

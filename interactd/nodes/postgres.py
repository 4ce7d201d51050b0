"""The bus by LISTEN and NOTIFY, on a connection of its own: a NOTIFY inside a call's transaction would make all commits queue."""
from __future__ import annotations

from collections import deque
from typing import Any

import psycopg2
from twisted.internet.defer import CancelledError, Deferred

from interactd.db import shield
from interactd.lane import Lane, Lost
from interactd.nodes.link import Broken, Hear, Link

CHANNEL = "interactd_hints"
WAITING = 1000          # messages that may wait for the connection; beyond them the oldest are lost


class _Listening(Link):
    """A connection to PostgreSQL that listens."""

    def __init__(self, reactor: Any) -> None:
        super().__init__()
        self._lane = Lane(reactor, lambda lane: self.close())
        self._waiting: deque[str] = deque(maxlen=WAITING)
        self._sending: Deferred[None] | None = None

    async def open(self, dsn: str, heard: Hear) -> None:
        """It listens."""
        try:
            await self._lane.open(dsn, "")
            self._lane.connection.addNotifyObserver(lambda notify: heard(notify.payload))
            await self._lane.command(f"LISTEN {CHANNEL}")
        except BaseException:
            self.close()
            raise

    def send(self, text: str) -> None:
        """Leaves when the connection is free."""
        self._waiting.append(text)
        if self._sending is None:
            self._sending = Deferred.fromCoroutine(self._send())
            self._sending.addCallback(self._sent)

    def flushed(self) -> Deferred[None]:
        """Fires when nothing waits."""
        done: Deferred[None] = Deferred()
        if self._sending is None:
            done.callback(None)
        else:
            self._sending.addCallback(done.callback)
        return done

    async def _send(self) -> None:
        try:
            while self._waiting and not self.ended.called:
                await self._lane.connection.runQuery("SELECT pg_notify(%s, %s)", (CHANNEL, self._waiting.popleft()))
        except psycopg2.Error:
            self.close()

    def _sent(self, result: Any) -> None:
        self._sending = None

    def close(self) -> None:
        """Hang up."""
        self._lane.close()
        self._over()


class Postgres:
    """Carries the bus by the database that everybody shares."""

    def __init__(self, reactor: Any, dsn: str) -> None:
        self._reactor = reactor
        self._dsn = dsn

    async def connect(self, heard: Hear) -> Link:
        """A connection that listens, or Broken."""
        listening = _Listening(self._reactor)
        try:
            await shield(listening.open(self._dsn, heard))          # psycopg2 can not be stopped in the midst of it
        except (psycopg2.Error, Lost) as error:
            raise Broken(type(error).__name__) from None
        except CancelledError:
            listening.close()
            raise
        return listening

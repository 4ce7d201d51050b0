"""The event path's own connections, prepared and kept open."""
from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import psycopg2
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from interactd.events.wire import SETTINGS, Wire

# A node that is frozen before its COMMIT would hold its users' counters, and the other nodes with them, until it wakes up.
PREPARE = ("SET lock_timeout = '2s'; SET idle_in_transaction_session_timeout = '5s'; PREPARE intake_batch(jsonb, bigint[], boolean) AS "
           "SELECT pg_current_xact_id()::text, a.* FROM intake($1, $2, $3) a")
_GIVEN = "SELECT set_config('interactd.public_url', %s, false), set_config('interactd.push_after', %s, false)"
_LONGEST_PAUSE = 5.0


class Lanes:
    """`size` connections; one that dies is opened again, with jittered back-off. `changed` hears when one came or went.

    `given` is what their sessions know: the address that clients use, and after how many seconds a push is due ("" where none are sent).
    """

    log = Logger()

    def __init__(self, reactor: Any, dsn: str, size: int, given: tuple[str, str], changed: Callable[[], None]) -> None:
        self._reactor = reactor
        self._dsn = dsn
        self.size = size
        self._given = given
        self._changed = changed
        self._open: set[Wire] = set()
        self._pauses: set[Any] = set()
        self.running = False
        self.idle: list[Wire] = []

    @property
    def any_open(self) -> bool:
        """Whether there is a connection at all."""
        return bool(self._open)

    async def open(self) -> None:
        """All are open, or the first error is raised."""
        self.running = True
        for _ in range(self.size):
            await self._connect()

    def close(self) -> None:
        """All are closed for good."""
        self.running = False
        for pause in self._pauses:
            pause.cancel()
        self._pauses.clear()
        for wire in self._open:
            wire.close()
        self._open.clear()
        self.idle.clear()

    def give_back(self, wire: Wire) -> None:
        """It may be used by somebody else, or is replaced if it is broken."""
        if not wire.closed:
            self.idle.append(wire)
        elif wire in self._open:
            self._lost(wire)

    def _lost(self, wire: Wire) -> None:
        self._open.discard(wire)
        if wire in self.idle:
            self.idle.remove(wire)
        if self.running:
            self._later(0.0)
            self._changed()

    def _later(self, pause: float) -> None:
        def again() -> None:
            self._pauses.discard(call)
            Deferred.fromCoroutine(self._reconnect(pause))
        call = self._reactor.callLater(pause * random.uniform(0.8, 1.2), again)
        self._pauses.add(call)

    async def _reconnect(self, pause: float) -> None:
        try:
            await self._connect()
        except psycopg2.Error as error:
            if self.running:
                self.log.warn("can not reach the database for events ({kind}), trying again", kind=type(error).__name__)
                self._later(min(_LONGEST_PAUSE, max(0.05, pause * 2)))

    async def _connect(self) -> None:
        wire = Wire(self._reactor, self._lost)
        try:
            await wire.open(self._dsn)
            await wire.run(SETTINGS)
            await wire.run(_GIVEN, self._given)
            await wire.run(PREPARE)
        except BaseException:
            wire.close()
            raise
        if not self.running:
            wire.close()
            return
        self._open.add(wire)
        self.idle.append(wire)
        self._changed()

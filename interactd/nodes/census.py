"""This daemon as one of several: its row in `nodes`, its heartbeat, and whether anybody else is there."""
from __future__ import annotations

import os
import socket

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from interactd.db import Database, Statement
from interactd.errors import Unavailable

BEAT = 2.0              # seconds between two signs of life
MISSED = 3              # so many beats without one, and a node counts as dead
ALIVE = BEAT * MISSED   # seconds for which a sign of life holds

ENTER = Statement("node_enter", "INSERT INTO nodes (name) VALUES (:name) RETURNING id")
SWEEP = Statement("node_sweep", "DELETE FROM nodes WHERE beat_at < now() - interval '1 day'")
# A node that was away so long that its row was swept has none to update: it enters anew.
SIGN = Statement("node_beat", """
WITH mine AS (UPDATE nodes n SET beat_at = clock_timestamp() WHERE n.id = :id RETURNING n.id)
SELECT (SELECT count(*) FROM nodes o WHERE o.id <> m.id AND o.beat_at > clock_timestamp() - make_interval(secs => :alive::float8))
FROM mine m""")
LEAVE = Statement("node_leave", "DELETE FROM nodes n WHERE n.id = :id")


class Census(Service):
    """Knows this node's number and how many others live. `clock` counts monotonic seconds."""

    log = Logger()

    def __init__(self, database: Database, clock: IReactorTime) -> None:
        self.id = 0                     # the number of this node, once `enter` has returned
        self.others = 0                 # nodes that gave a sign of life within MISSED beats
        self._database = database
        self._loop = LoopingCall(self.beat)
        self._loop.clock = clock
        self._beating: Deferred[None] | None = None

    async def enter(self) -> None:
        """This daemon has a row; rows of daemons that died a day ago are gone. Unavailable without a database."""
        await self._database.query(SWEEP)
        self.id = (await self._database.query(ENTER, name=f"{socket.gethostname()}:{os.getpid()}"))[0][0]
        await self._sign()

    def startService(self) -> None:
        """From now on a sign of life every BEAT seconds."""
        Service.startService(self)
        self._loop.start(BEAT, now=False)

    async def stopService(self) -> None:
        """The row is gone, so that the others stop to count on this node at once."""
        Service.stopService(self)
        if self._loop.running:
            self._loop.stop()
        if self._beating is not None:
            await self._beating
        try:
            await self._database.query(LEAVE, id=self.id)
        except Unavailable:
            pass                        # the row ages and is swept

    def met(self) -> None:
        """Another node was heard of between two beats."""
        self.others = max(self.others, 1)

    def beat(self) -> Deferred[None]:
        """Fires when the sign is given, or was not to be given."""
        self._beating = beating = Deferred.fromCoroutine(self._beat())
        return beating

    async def _beat(self) -> None:
        try:
            await self._sign()
        except Unavailable:
            self.log.debug("no sign of life while the database is away")
        except Exception:
            self.log.failure("a heartbeat failed, the next follows")

    async def _sign(self) -> None:
        rows = await self._database.query(SIGN, id=self.id, alive=ALIVE)
        if rows:
            self.others = rows[0][0]
        else:
            await self.enter()

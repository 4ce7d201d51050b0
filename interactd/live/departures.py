"""Which devices have no socket here any more, told to the other nodes by the devices' rows, so that Apple is asked at once (contract section 8).

The opening of a socket writes this node's number into its device's row. A departure that is lost, with its node for example, costs the
device's next push the time in which a socket could have acknowledged, as long as the node lives.
"""
from __future__ import annotations

from collections.abc import Callable, Coroutine
from itertools import islice
from typing import Any

from interactd.db import Database, Statement
from interactd.errors import Unavailable
from interactd.live.session import Entry

MOST = 1000             # departures in one statement

LEFT = Statement("device_left", """
WITH held AS MATERIALIZED (
  SELECT d.id FROM unnest(:devices::bigint[], :generations::bigint[]) w (id, generation)
    JOIN devices d ON d.id = w.id AND d.generation = w.generation ORDER BY d.id FOR NO KEY UPDATE OF d)
UPDATE devices d SET listens_at = NULL FROM held h WHERE d.id = h.id""")


class Departures:
    """Written down at once, and together with those that follow while a statement is on its way."""

    def __init__(self, database: Database, work: Callable[[Coroutine[Any, Any, None]], Any]) -> None:
        self._database = database
        self._work = work
        self._left: dict[int, int] = {}     # generations by device
        self._writing = False
        self._closed = False

    def close(self) -> None:
        """The daemon leaves, and its number will mean nothing."""
        self._closed = True

    def left(self, entry: Entry) -> None:
        """The socket that this entry stands for tells its device nothing any more."""
        if self._closed:
            return
        self._left[entry.device_id] = entry.generation
        if not self._writing:
            self._writing = True
            self._work(self._write())

    async def _write(self) -> None:
        try:
            while self._left:
                gone = dict(islice(self._left.items(), MOST))
                for device in gone:
                    del self._left[device]
                await self._database.query(LEFT, devices=list(gone), generations=list(gone.values()))
        except Unavailable:
            self._left.clear()              # nobody can be told
        finally:
            self._writing = False

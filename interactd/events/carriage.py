"""One transaction of the event path: sent in one round trip, committed in a second, settled when the answer is lost."""
from __future__ import annotations

from enum import Enum, auto
from typing import Any

import psycopg2
from attrs import frozen
from twisted.internet.task import deferLater

from interactd.events.answers import Answer
from interactd.events.wire import Rows, Wire

BATCH = "BEGIN; EXECUTE intake_batch(%s, %s, false)"
ALONE = "BEGIN; SET LOCAL lock_timeout = '10s'; EXECUTE intake_batch(%s, %s, true)"
_STATUS = "SELECT pg_xact_status(%s::text::xid8)"
# After a crash PostgreSQL gives the numbers of transactions that it lost to others: only what was stored says whose it was.
_STORED = "SELECT EXISTS (SELECT FROM unnest(%s::bigint[], %s::text[]) w (id, frame) JOIN interactions i ON i.id = w.id AND i.notice = w.frame)"
_SETTLE_WITHIN = 5.0
_PAUSE = 0.05


class Then(Enum):
    """What may be done with events of which nothing was stored."""

    AGAIN = auto()       # the same once more
    APART = auto()       # each in a transaction of its own: one of them may be the reason
    NEVER = auto()


class Undone(Exception):
    """The transaction was rolled back: nothing of it is stored."""

    def __init__(self, then: Then, state: str) -> None:
        super().__init__(then, state)
        self.then = then
        self.state = state


class Unsettled(Exception):
    """Whether the transaction was committed could not be found out in time."""


@frozen
class Carriage:
    """Carries events into the database at `dsn`."""

    reactor: Any
    dsn: str

    async def carry(self, wire: Wire, events: str, owners: list[int], waiting: bool) -> Rows:
        """The answers (type intake_answer) to events that are committed; else Undone or Unsettled."""
        try:
            rows = await wire.run(ALONE if waiting else BATCH, (events, owners))
        except psycopg2.Error as error:
            await self._rolled_back(wire)
            raise Undone(*_consequence(error)) from None
        try:
            await wire.run("COMMIT")
        except psycopg2.Error as error:
            if not wire.closed:
                raise Undone(*_consequence(error)) from None
            if not await self._committed(rows):
                raise Undone(Then.AGAIN, "COMMIT") from None
        return [row[1:] for row in rows]

    async def _rolled_back(self, wire: Wire) -> None:
        if not wire.closed:
            try:
                await wire.run("ROLLBACK")
            except psycopg2.Error:
                wire.close()

    async def _committed(self, rows: Rows) -> bool:
        """What became of a transaction whose COMMIT got no answer, asked on other connections."""
        deadline = self.reactor.seconds() + _SETTLE_WITHIN
        while self.reactor.seconds() < deadline:
            status = await self._status(rows)
            if status in ("committed", "aborted"):
                return status == "committed"
            await deferLater(self.reactor, _PAUSE)
        raise Unsettled

    async def _status(self, rows: Rows) -> str | None:
        wire = Wire(self.reactor)
        stored = [answer for answer in (Answer._make(row[1:]) for row in rows) if answer.outcome == "stored"]
        try:
            await wire.open(self.dsn)
            (status,), = await wire.run(_STATUS, (rows[0][0],))
            if status == "committed" and stored:
                (ours,), = await wire.run(_STORED, ([answer.id for answer in stored], [answer.frame for answer in stored]))
                return "committed" if ours else "aborted"
            return str(status)
        except psycopg2.Error:
            return None
        finally:
            wire.close()


def _consequence(error: psycopg2.Error) -> tuple[Then, str]:
    state = error.pgcode or ""
    if state in ("40001", "40P01", "25P03") or state[:2] in ("08", "57") or not state:     # 57: told to go; 25P03: this node was frozen
        return Then.AGAIN, state
    if state[:2] in ("22", "23", "54") or state == "55P03":
        return Then.APART, state
    return Then.NEVER, state

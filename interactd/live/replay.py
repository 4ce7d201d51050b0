"""What a numbered session has not said yet, read from the rows: after a resume, a gap, or a hint that was lost (contract section 7)."""
from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.logger import Logger

from interactd import metrics
from interactd.config import Live as Settings
from interactd.db import Database, Statement
from interactd.errors import Unavailable

if TYPE_CHECKING:
    from interactd.live.numbered import Numbered

SLICE = 100             # messages of a session read at once; the next follow when the client has taken them
AT_ONCE = 200           # sessions in one statement
NOTIFICATION, UPDATE = 0, 1      # kinds; the third is a retract

# Everything of one number comes in one slice. A session whose device has a newer socket gets no row at all.
MISSED = Statement("missed_messages", """
SELECT w.device_id, c.seq, v.since_seq, z.number, z.kind, z.id, CASE z.kind WHEN 0 THEN (
  SELECT CASE WHEN NOT i.late AND i.received < now_ms() - :ring_ms::bigint THEN left(i.notice, -1) || ',"late": true}' ELSE i.notice END
  FROM interactions i WHERE i.user_id = w.user_id AND i.id = z.id)
  WHEN 1 THEN (SELECT interaction_json(i)::text FROM interactions i WHERE i.user_id = w.user_id AND i.id = z.id) END
FROM unnest(:users::bigint[], :devices::bigint[], :generations::bigint[], :seen::bigint[]) w (user_id, device_id, generation, seen)
  JOIN devices v ON v.user_id = w.user_id AND v.id = w.device_id AND v.generation = w.generation AND v.active
  JOIN counters c ON c.user_id = w.user_id
  LEFT JOIN LATERAL (SELECT * FROM (
    SELECT * FROM (
      (SELECT d.seq AS number, 0 AS kind, d.interaction_id AS id FROM deliveries d
        WHERE d.user_id = w.user_id AND d.device_id = w.device_id AND d.seq > w.seen ORDER BY d.seq LIMIT :slice)
      UNION ALL (SELECT i.seq, 1, i.id FROM interactions i
        WHERE i.user_id = w.user_id AND i.seq > w.seen AND i.seq > i.created_seq ORDER BY i.seq FETCH FIRST (:slice) ROWS WITH TIES)
      UNION ALL (SELECT r.seq, 2, r.interaction_id FROM retracts r
        WHERE r.user_id = w.user_id AND r.seq > w.seen AND r.device_id IS DISTINCT FROM w.device_id
          AND EXISTS (SELECT FROM deliveries d WHERE d.interaction_id = r.interaction_id AND d.device_id = w.device_id)
        ORDER BY r.seq LIMIT :slice)) q
    ORDER BY q.number FETCH FIRST (:slice) ROWS WITH TIES) y LIMIT :most) z ON true
ORDER BY w.device_id, z.number, z.kind, z.id""")

# At most `most` of each kind are counted.
HOW_MANY = Statement("missed_count", """
SELECT (SELECT count(*) FROM (SELECT FROM deliveries d WHERE d.user_id = :owner AND d.device_id = :device AND d.seq > :seen LIMIT :most) a)
  + (SELECT count(*) FROM (SELECT FROM interactions i WHERE i.user_id = :owner AND i.seq > :seen AND i.seq > i.created_seq LIMIT :most) b)
  + (SELECT count(*) FROM (SELECT FROM retracts r WHERE r.user_id = :owner AND r.seq > :seen LIMIT :most) c)""")

# Of whom something was stored that their sessions have not seen.
LAGGING = Statement("lagging_sessions", """
SELECT w.device_id FROM unnest(:users::bigint[], :devices::bigint[], :seen::bigint[]) w (user_id, device_id, seen)
JOIN counters c ON c.user_id = w.user_id AND c.event_seq > w.seen""")


class Missed(NamedTuple):
    """One message: its number, what it is, of which interaction, and its JSON text (none for a retract)."""

    number: int
    kind: int
    interaction_id: int
    text: str | None


class Replay:
    """Reads for many sessions in one statement, and goes on at the pace of each client."""

    log = Logger()

    def __init__(self, database: Database, settings: Settings, run: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        self._database = database
        self._most = settings.replay_most
        self._ring_ms = round(settings.ring_time * 1000)
        self._run = run
        self._wanted: dict[Numbered, None] = {}
        self._working = False

    def want(self, session: Numbered) -> None:
        """The session is behind: it is told what it has missed as soon as may be."""
        self._wanted[session] = None
        if not self._working:
            self._working = True
            self._run(self._work())

    async def sweep(self, sessions: Iterable[Numbered]) -> None:
        """Of these sessions, those that have missed something are told it, whether a hint came or not."""
        following = []
        for session in sessions:
            if not session.behind:
                following.append(session)
            elif session.started and not session.line.stalled:
                self.want(session)
        if not following:
            return
        try:
            rows = await self._database.query(
                LAGGING, users=[s.entry.user_id for s in following], devices=[s.entry.device_id for s in following],
                seen=[s.seen for s in following])
        except Unavailable:
            return
        lagging = {device_id for device_id, in rows}
        for session in following:
            if session.entry.device_id in lagging:
                session.catch_up()

    async def _work(self) -> None:
        try:
            while self._wanted:
                batch = list(islice(self._wanted, AT_ONCE))
                for session in batch:
                    del self._wanted[session]
                await self._read([session for session in batch if session.behind and not session.line.stalled])
        except Unavailable:
            self._wanted.clear()            # the sweep finds them again
            self.log.warn("sessions wait for the database to be told what they have missed")
        finally:
            self._working = False

    async def _read(self, sessions: list[Numbered]) -> None:
        if not sessions:
            return
        seen = [session.seen for session in sessions]
        rows = await self._database.query(
            MISSED, users=[s.entry.user_id for s in sessions], devices=[s.entry.device_id for s in sessions],
            generations=[s.entry.generation for s in sessions], seen=seen, ring_ms=self._ring_ms, slice=SLICE, most=2 * SLICE)
        found = {device: list(group) for device, group in groupby(rows, lambda row: row[0])}
        for session, before in zip(sessions, seen):
            mine = found.get(session.entry.device_id)
            if session.seen != before:      # it was told to go on elsewhere meanwhile
                self.want(session)
            elif mine is not None:
                _, head, since, *_ = mine[0]
                await self._tell(session, head, since, [Missed._make(row[3:]) for row in mine if row[3] is not None])

    async def _tell(self, session: Numbered, head: int, since: int, missed: list[Missed]) -> None:
        before = session.seen
        impossible = not since <= before <= head or len(missed) >= 2 * SLICE or await self._too_many(session, len(missed))
        if session.seen == before and impossible:
            metrics.RESYNCS.inc()
            session.resync(head)
        elif session.seen == before:
            more = len(missed) >= SLICE
            session.replay(missed, missed[-1].number if more else head, more)
        if session.behind and not session.line.stalled:
            self.want(session)

    async def _too_many(self, session: Numbered, there: int) -> bool:
        if there < SLICE or session.replayed:
            return False
        entry = session.entry
        rows = await self._database.query(HOW_MANY, owner=entry.user_id, device=entry.device_id, seen=session.seen, most=self._most + 1)
        return bool(rows[0][0] > self._most)

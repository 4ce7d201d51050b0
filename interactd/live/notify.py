"""Who must hear of an event: its frames go to the sockets at once, and a sweep finds what stayed behind (contract section 6)."""
from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from twisted.logger import Logger

from interactd import metrics
from interactd.changes import Changed, DeviceMoved, Notice, Progress
from interactd.config import Live as Settings
from interactd.db import Database, Row, Statement
from interactd.errors import Unavailable
from interactd.live.frames import asking, frame
from interactd.live.ledger import Delivery, Ledger
from interactd.live.numbered import Numbered
from interactd.live.registry import Registry
from interactd.live.session import Plain, Session

Run = Callable[[Coroutine[Any, Any, None]], object]
_TOLD = {"interaction", "contact", "basicInfo"}     # with a contact that goes or is merged, interactions change
AT_ONCE = 100           # deliveries of one device in one sweep; the next follow in the next

# `late` is judged again: what was received longer ago than the ring time does not ring any more.
UNSENT = Statement("unsent_deliveries", """
SELECT w.user_id, w.device_id, i.id,
  CASE WHEN NOT i.late AND i.received < now_ms() - :ring_ms::bigint THEN left(i.notice, -1) || ',"late": true}' ELSE i.notice END
FROM unnest(:users::bigint[], :devices::bigint[], :generations::bigint[]) w (user_id, device_id, generation)
  JOIN devices v ON v.user_id = w.user_id AND v.id = w.device_id AND v.generation = w.generation AND v.active
  CROSS JOIN LATERAL (
    SELECT e.id, e.late, e.received, e.notice, d.seq
    FROM deliveries d JOIN interactions e ON e.id = d.interaction_id AND e.notice IS NOT NULL
    WHERE d.user_id = w.user_id AND d.device_id = w.device_id AND d.sent_at IS NULL AND d.failed_at IS NULL AND d.accepted_at IS NULL
      AND d.stored_at > now() - interval '1 day' AND (:types::text[] = '{}' OR e.type = ANY (:types::text[]))
    ORDER BY d.seq LIMIT :at_once::int) i
ORDER BY w.device_id, i.seq""")


class Notifier:
    """Tells devices of events."""

    log = Logger()

    def __init__(self, database: Database, registry: Registry, ledger: Ledger, settings: Settings, run: Run) -> None:
        self._database = database
        self._registry = registry
        self._ledger = ledger
        self._run = run
        self._types = settings.plain_types
        self._ring_ms = round(settings.ring_time * 1000)
        # What the last two sweeps sent: a notification of it may still be on its way here, straight from its commit.
        self._swept: set[Delivery] = set()
        self._swept_before: set[Delivery] = set()

    def tell(self, notice: Notice) -> None:
        """The notice is written to the sockets of its devices, in this reactor turn, and to nobody else's."""
        sessions = self._registry.of(notice.user_id)
        if not sessions:
            return
        plain, numbered = b"", dict[int, bytes]()       # frames, made once however many sockets they go to
        for device_id, session in tuple(sessions.items()):
            mine = device_id in notice.device_ids
            if isinstance(session, Numbered):
                session.follow(notice, mine, numbered)
            elif isinstance(session, Plain) and mine and self._wanted(notice.type) and not self._known((notice.interaction_id, device_id)):
                plain = plain or session.encoded(notice)
                session.notify(notice.interaction_id, plain)
                metrics.NOTICES.inc()

    def changed(self, change: Changed) -> None:
        """What is told of interactions may have changed with it: numbered sockets read it, and of events the others too."""
        if change.entity_type in _TOLD:
            sessions = tuple(self._registry.of(change.user_id).values())
            for session in sessions:
                if isinstance(session, Numbered):
                    session.catch_up()
            if sessions and change.action == "insert" and change.entity_type == "interaction":
                self._run(self.sweep(sessions))

    def moved(self, event: DeviceMoved) -> None:
        """A phone changed hands: all sockets of its former owner hear of it."""
        for session in tuple(self._registry.of(event.user_id).values()):
            session.announce({"deviceMoved": event.device_id})

    def progressed(self, event: Progress) -> None:
        """A long piece of work goes on: those that know the word hear of it."""
        for session in tuple(self._registry.of(event.user_id).values()):
            if isinstance(session, Numbered):
                session.announce({"progress": event.told})

    async def sweep(self, sessions: Iterable[Session]) -> None:
        """Deliveries of the last day that were stored but not sent go to those of these plain sessions that take them."""
        ready = [session for session in sessions if isinstance(session, Plain) and not session.line.stalled]
        if not ready:
            return
        try:
            await self._ledger.flush()
            with self._ledger.watching() as sent:
                rows = await self._database.query(
                    UNSENT, users=[s.entry.user_id for s in ready], devices=[s.entry.device_id for s in ready],
                    generations=[s.entry.generation for s in ready], types=list(self._types), ring_ms=self._ring_ms, at_once=AT_ONCE)
        except Unavailable:
            self.log.warn("the sweep for unsent deliveries waits for the database")
            return
        for row in rows:
            self._send(row, sent)

    def forget(self) -> None:
        """Time has passed since the sweep before the last."""
        self._swept_before, self._swept = self._swept, set()

    def _send(self, row: Row, sent: set[Delivery]) -> None:
        user_id, device_id, interaction_id, notice = row
        session = self._registry.of(user_id).get(device_id)
        delivery = (interaction_id, device_id)
        if not isinstance(session, Plain) or session.line.stalled or delivery in sent or self._known(delivery):
            return
        self._swept.add(delivery)
        session.notify(interaction_id, frame(notice.encode()) + asking(interaction_id))
        metrics.NOTICES.inc()

    def _known(self, delivery: Delivery) -> bool:
        return delivery in self._swept or delivery in self._swept_before

    def _wanted(self, kind: str) -> bool:
        return not self._types or kind in self._types

"""What happened to each delivery, written down in batches beside the hot path."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from attrs import define
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from interactd import metrics
from interactd.changes import Acknowledged, Hub
from interactd.db import Database, Statement
from interactd.errors import Unavailable

if TYPE_CHECKING:
    from interactd.live.session import Entry

WRITE_AFTER = 0.1       # seconds in which marks gather
AGAIN_AFTER = 1.0       # seconds until a failed write is tried again
MOST = 1000             # marks in one statement
KEPT = 200_000          # marks kept while the database is away; the oldest are lost first

# Only the newest generation of a device counts. Rows are locked in one order by all who lock several of them. In one join
# with `devices` the planner reads all deliveries of each device instead of one row by its key.
MARK = Statement("mark_deliveries", """
WITH made AS MATERIALIZED (
  SELECT m.interaction_id, m.device_id, m.sent, m.acked, m.shown
  FROM unnest(:interactions::bigint[], :devices::bigint[], :generations::bigint[], :sent::float8[], :acked::float8[], :shown::float8[])
    AS m (interaction_id, device_id, generation, sent, acked, shown)
  JOIN devices v ON v.id = m.device_id AND v.generation = m.generation),
held AS (
  SELECT d.interaction_id, d.device_id, m.sent, m.acked,
    CASE WHEN coalesce(d.sent_at, d.pushed_at) IS NOT NULL OR m.sent IS NOT NULL THEN m.shown END AS shown
  FROM made m JOIN deliveries d ON d.interaction_id = m.interaction_id AND d.device_id = m.device_id
  ORDER BY d.interaction_id, d.device_id FOR NO KEY UPDATE OF d)
UPDATE deliveries d SET sent_at = coalesce(d.sent_at, now() - make_interval(secs => h.sent)),
  acked_at = coalesce(d.acked_at, now() - make_interval(secs => h.acked)), shown_at = coalesce(d.shown_at, now() - make_interval(secs => h.shown)),
  due_at = CASE WHEN h.acked IS NULL THEN d.due_at END
FROM held h WHERE d.interaction_id = h.interaction_id AND d.device_id = h.device_id RETURNING h.shown IS NOT NULL""")

Delivery = tuple[int, int]              # interaction, device


@define
class _Mark:
    """When it happened, in seconds of the reactor's clock."""

    sent: float | None = None
    acked: float | None = None
    shown: float | None = None


class Ledger:
    """Marks deliveries as sent, acknowledged and shown: many in one statement, their times as they were."""

    log = Logger()

    def __init__(self, database: Database, hub: Hub, clock: IReactorTime) -> None:
        self._database = database
        self._hub = hub
        self._clock = clock
        self._marks: dict[tuple[int, int, int], _Mark] = {}
        self._timer: IDelayedCall | None = None
        self._pause_until = clock.seconds()     # before that, nothing is written early
        self._lock = DeferredLock()
        self._watchers: list[set[Delivery]] = []

    def sent(self, interaction_id: int, entry: Entry) -> None:
        """The delivery was handed to the network."""
        self._mark(interaction_id, entry).sent = self._clock.seconds()
        for seen in self._watchers:
            seen.add((interaction_id, entry.device_id))

    def acknowledged(self, interaction_id: int, entry: Entry) -> None:
        """The device has it. The first one after a pause is written at once: were this node killed before, another would push to the device."""
        self._mark(interaction_id, entry).acked = now = self._clock.seconds()
        if self._timer is not None and now >= self._pause_until:
            self._timer.reset(0)
        self._hub.publish(Acknowledged(entry.user_id, entry.device_id, interaction_id))

    def shown(self, interaction_id: int, entry: Entry) -> None:
        """The user sees it, says the device; if it was never delivered there, nothing is written."""
        self._mark(interaction_id, entry).shown = self._clock.seconds()

    @contextmanager
    def watching(self) -> Iterator[set[Delivery]]:
        """A set that holds whatever is sent from here on."""
        seen: set[Delivery] = set()
        self._watchers.append(seen)
        try:
            yield seen
        finally:
            self._watchers = [watcher for watcher in self._watchers if watcher is not seen]

    async def flush(self) -> None:
        """All marks made so far are written, or Unavailable is raised and they are kept."""
        await self._lock.run(lambda: Deferred.fromCoroutine(self._write()))

    async def close(self) -> None:
        """As `flush`, for the last time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            await self.flush()
        except Unavailable:
            self.log.warn("{count} marks of deliveries were not written", count=len(self._marks))

    def _mark(self, interaction_id: int, entry: Entry) -> _Mark:
        if self._timer is None:
            self._timer = self._clock.callLater(WRITE_AFTER, self._due)
        return self._marks.setdefault((interaction_id, entry.device_id, entry.generation), _Mark())

    def _due(self) -> None:
        self._timer, self._pause_until = None, self._clock.seconds() + WRITE_AFTER
        Deferred.fromCoroutine(self.flush()).addErrback(self._failed)

    def _failed(self, failure: Any) -> None:
        self.log.warn("marks of deliveries wait for the database ({kind})", kind=failure.type.__name__)
        for key in list(islice(self._marks, max(0, len(self._marks) - KEPT))):
            del self._marks[key]
        self._pause_until = self._clock.seconds() + AGAIN_AFTER
        if self._timer is None:
            self._timer = self._clock.callLater(AGAIN_AFTER, self._due)

    async def _write(self) -> None:
        while self._marks:
            batch = dict(islice(self._marks.items(), MOST))
            for key in batch:
                del self._marks[key]
            try:
                await self._store(batch)
            except Unavailable:
                self._keep(batch)
                raise

    async def _store(self, batch: dict[tuple[int, int, int], _Mark]) -> None:
        now = self._clock.seconds()
        interactions, devices, generations = (list(column) for column in zip(*batch))
        marks = batch.values()
        rows = await self._database.query(
            MARK, interactions=interactions, devices=devices, generations=generations, sent=[_age(now, mark.sent) for mark in marks],
            acked=[_age(now, mark.acked) for mark in marks], shown=[_age(now, mark.shown) for mark in marks])
        metrics.WORDS_IGNORED.inc(sum(mark.shown is not None for mark in marks) - sum(shown for shown, in rows))

    def _keep(self, batch: dict[tuple[int, int, int], _Mark]) -> None:
        for key, mark in self._marks.items():
            kept = batch.setdefault(key, mark)
            kept.sent, kept.acked, kept.shown = kept.sent or mark.sent, kept.acked or mark.acked, kept.shown or mark.shown
        self._marks = batch


def _age(now: float, then: float | None) -> float | None:
    return None if then is None else now - then

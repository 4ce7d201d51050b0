"""A pop-up dismissed on one device goes on the others."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from interactd import metrics
from interactd.changes import Changed, Hub
from interactd.db import Database, Statement, Step
from interactd.errors import NotFound, Unavailable
from interactd.live.ledger import Ledger

if TYPE_CHECKING:
    from interactd.live.session import Entry

KEPT = 10_000           # dismissals kept while the database is away; the oldest are lost first

# Only what was delivered to this device, and only the newest socket of the device may say so.
DELIVERED = Statement("dismissed_was_delivered", """
SELECT refuse('IA404', 'interaction') WHERE NOT EXISTS (
  SELECT FROM deliveries d JOIN devices v ON v.user_id = d.user_id AND v.id = d.device_id AND v.generation = :generation
  WHERE d.user_id = :owner AND d.device_id = :device AND d.interaction_id = :id AND coalesce(d.sent_at, d.pushed_at) IS NOT NULL)""")
TAKE = Statement("dismiss_take", "SELECT take(ARRAY[:owner::bigint])")
RETRACT = Statement("dismiss_retract", """
INSERT INTO retracts (user_id, interaction_id, seq, device_id) VALUES (:owner, :id, number_of(:owner), :device) ON CONFLICT DO NOTHING""")
DISMISSED = Statement("dismissed", """
UPDATE deliveries d SET dismissed_at = coalesce(d.dismissed_at, now())
WHERE d.user_id = :owner AND d.device_id = :device AND d.interaction_id = :id RETURNING number_of(:owner)""")


class Dismissals:
    """Writes down what was dismissed, and tells the user's other devices."""

    def __init__(self, database: Database, hub: Hub, ledger: Ledger, run: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        self._database = database
        self._hub = hub
        self._ledger = ledger
        self._run = run
        self._kept: deque[tuple[Entry, int]] = deque(maxlen=KEPT)

    def dismiss(self, entry: Entry, interaction_id: int) -> None:
        """A device's user does not want to see this notification any more."""
        self._run(self._dismiss(entry, interaction_id))

    async def again(self) -> None:
        """What could not be written while the database was away."""
        for _ in range(len(self._kept)):
            await self._dismiss(*self._kept.popleft())

    async def _dismiss(self, entry: Entry, interaction_id: int) -> None:
        mine = {"owner": entry.user_id, "device": entry.device_id, "id": interaction_id}
        try:
            await self._ledger.flush()
            rows = await self._database.script(
                Step(DELIVERED, {**mine, "generation": entry.generation}), Step(TAKE, {"owner": entry.user_id}),
                Step(RETRACT, mine), Step(DISMISSED, mine))
        except NotFound:
            metrics.WORDS_IGNORED.inc()
        except Unavailable:
            self._kept.append((entry, interaction_id))
        else:
            self._hub.publish(Changed(entry.user_id, rows[0][0], "update", "interaction", interaction_id))

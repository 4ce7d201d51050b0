"""The rows of pushes: who may send which, and what came of it. Every statement is one compare-and-set."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from interactd.config import Apns
from interactd.config import Live as Settings
from interactd.db import Database, Statement, Step
from interactd.push.notification import Kind, Outcome
from interactd.push.presence import Presence

LEASE = 30.0            # seconds for which a node holds what it has claimed
EXPIRE_AT_ONCE = 500    # rows that are looked at in one statement
GRACE = 1.0             # seconds after its time in which a push is its own node's

Pair = tuple[int, int]  # interaction, device

# Rows are first found by their keys or by when they are due, then looked at, then locked and looked at again: in one join the planner
# reads all deliveries of each device. An acknowledgement that was written before, another node's lease, a device that is gone, a call
# that is over: each of them keeps the push from being sent.
_LIFE = "make_interval(secs => CASE WHEN i.type LIKE 'call-%' THEN :ring::float8 ELSE :alert::float8 END)"
_FREE = "d.due_at IS NOT NULL AND (d.lease_until IS NULL OR d.lease_until < now())"
_WAITS = f"{_FREE} AND d.acked_at IS NULL AND d.failed_at IS NULL"
_ROW = "d.interaction_id, d.device_id, d.user_id, d.stored_at, d.due_at"
_ITSELF = "JOIN deliveries d ON d.interaction_id = w.interaction_id AND d.device_id = w.device_id"
# Its newest socket is open at another node, which lives. (One at this node is known without asking.)
_LISTENS = """EXISTS (SELECT FROM devices v JOIN nodes n ON n.id = v.listens_at
    WHERE v.id = w.device_id AND n.id::text <> :node AND n.beat_at > now() - make_interval(secs => :alive::float8))"""
_OVER = "EXISTS (SELECT FROM retracts r WHERE r.user_id = w.user_id AND r.interaction_id = w.interaction_id)"
_GOOD = f"""good AS MATERIALIZED (
  SELECT w.* FROM found w JOIN interactions i ON i.id = w.interaction_id AND i.notice IS NOT NULL
    JOIN devices v ON v.id = w.device_id AND v.active AND v.apns_token IS NOT NULL JOIN users u ON u.id = w.user_id AND u.active
  WHERE w.stored_at + {_LIFE} > now() AND NOT {_OVER}"""
_CLAIM = f"""
UPDATE deliveries d SET lease_node = :node, lease_generation = coalesce(d.lease_generation, 0) + 1,
  lease_until = now() + make_interval(secs => :lease), queued_at = coalesce(d.queued_at, now()), pushed_at = now(),
  push_attempts = d.push_attempts + 1, push_id = coalesce(d.push_id, gen_random_uuid())
FROM picked p JOIN interactions i ON i.id = p.interaction_id JOIN devices v ON v.id = p.device_id
WHERE d.interaction_id = p.interaction_id AND d.device_id = p.device_id
RETURNING d.interaction_id, d.device_id, d.lease_generation, d.push_id::text, i.notice, v.apns_token, v.voip, i.type LIKE 'call-%',
  extract(epoch FROM d.stored_at + {_LIFE} - now())::float8, extract(epoch FROM d.stored_at + {_LIFE})::bigint"""

CLAIM = Statement("push_claim", f"""
WITH asked AS MATERIALIZED (
  SELECT * FROM unnest(:interactions::bigint[], :devices::bigint[], :unheard::boolean[]) w (interaction_id, device_id, unheard)),
found AS MATERIALIZED (SELECT {_ROW} FROM asked w {_ITSELF} WHERE {_WAITS} AND NOT (w.unheard AND {_LISTENS})),
{_GOOD}),
picked AS MATERIALIZED (
  SELECT d.interaction_id, d.device_id FROM good w {_ITSELF} WHERE {_WAITS}
  ORDER BY d.interaction_id, d.device_id FOR NO KEY UPDATE OF d){_CLAIM}""")

CLAIM_DUE = Statement("push_claim_due", f"""
WITH found AS MATERIALIZED (
  SELECT {_ROW} FROM deliveries d WHERE {_WAITS} AND d.due_at < now() - make_interval(secs => :grace) ORDER BY d.due_at LIMIT :most::int + 500),
{_GOOD} ORDER BY w.due_at LIMIT :most),
picked AS MATERIALIZED (
  SELECT d.interaction_id, d.device_id FROM good w {_ITSELF} WHERE {_WAITS} FOR NO KEY UPDATE OF d SKIP LOCKED){_CLAIM}""")

# Still wanted, and still ours: the lease goes on.
RENEW = Statement("push_renew", f"""
WITH asked AS MATERIALIZED (
  SELECT * FROM unnest(:interactions::bigint[], :devices::bigint[], :generations::bigint[]) w (interaction_id, device_id, generation)),
held AS MATERIALIZED (
  SELECT {_ROW} FROM asked w {_ITSELF}
  WHERE d.lease_node = :node AND d.lease_generation = w.generation AND d.due_at IS NOT NULL AND d.acked_at IS NULL AND d.failed_at IS NULL
  ORDER BY d.interaction_id, d.device_id FOR NO KEY UPDATE OF d)
UPDATE deliveries d SET lease_until = now() + make_interval(secs => :lease)
FROM held w JOIN devices v ON v.id = w.device_id AND v.active AND v.apns_token IS NOT NULL JOIN users u ON u.id = w.user_id AND u.active
WHERE d.interaction_id = w.interaction_id AND d.device_id = w.device_id AND NOT {_OVER} RETURNING d.interaction_id, d.device_id""")

_TOLD = """unnest(:interactions::bigint[], :devices::bigint[], :generations::bigint[], :kinds::text[], :reasons::text[], :afters::float8[],
    :stamps::bigint[]) w (interaction_id, device_id, generation, kind, reason, after, stamp)"""
# Whatever was withdrawn without a reason in its row stays due: the database was away when it was asked.
SETTLE = Statement("push_settle", f"""
WITH told AS MATERIALIZED (SELECT * FROM {_TOLD}),
held AS MATERIALIZED (
  SELECT w.* FROM told w JOIN deliveries d ON d.interaction_id = w.interaction_id AND d.device_id = w.device_id
  WHERE d.lease_node = :node AND d.lease_generation = w.generation ORDER BY d.interaction_id, d.device_id FOR NO KEY UPDATE OF d)
UPDATE deliveries d SET lease_node = NULL, lease_until = NULL,
  due_at = CASE WHEN h.kind IN ('later', 'stopped', 'busy') OR h.kind = 'withdrawn' AND d.acked_at IS NULL AND d.failed_at IS NULL
    THEN now() + make_interval(secs => h.after) END,
  accepted_at = CASE WHEN h.kind = 'ok' THEN now() ELSE d.accepted_at END,
  push_failed_at = CASE WHEN h.kind IN ('dead', 'dropped', 'failed', 'expired', 'unknown') THEN now() END,
  push_failed = CASE WHEN h.kind NOT IN ('ok', 'withdrawn') THEN concat_ws(': ', h.kind, nullif(h.reason, '')) END
FROM held h WHERE d.interaction_id = h.interaction_id AND d.device_id = h.device_id""")

# What became of the devices; a success is written once a minute. A token registered after Apple says it died stays.
DEVICES = Statement("push_devices", f"""
WITH told AS MATERIALIZED (
  SELECT w.device_id, bool_or(w.kind = 'ok') AS ok, max(CASE WHEN w.kind IN ('dead', 'dropped', 'failed', 'unknown') THEN w.reason END) AS reason,
    bool_or(w.kind = 'dead') AS dead, max(w.stamp) AS stamp FROM {_TOLD} GROUP BY 1),
held AS MATERIALIZED (
  SELECT t.* FROM told t JOIN devices v ON v.id = t.device_id
  WHERE t.reason IS NOT NULL OR t.ok AND (v.push_ok_at IS NULL OR v.push_ok_at < now() - interval '1 minute') ORDER BY v.id FOR NO KEY UPDATE OF v)
UPDATE devices v SET push_ok_at = CASE WHEN h.ok THEN now() ELSE v.push_ok_at END,
  push_error = coalesce(h.reason, v.push_error), push_error_at = CASE WHEN h.reason IS NOT NULL THEN now() ELSE v.push_error_at END,
  apns_token = CASE WHEN h.dead AND (h.stamp IS NULL OR v.registered_at < h.stamp) THEN NULL ELSE v.apns_token END
FROM held h WHERE v.id = h.device_id""")

EXPIRE = Statement("push_expire", f"""
WITH found AS MATERIALIZED (
  SELECT {_ROW}, d.acked_at IS NULL AND d.failed_at IS NULL AS missed FROM deliveries d WHERE {_FREE} AND d.due_at <= now() ORDER BY d.due_at
  LIMIT :most),
judged AS MATERIALIZED (
  SELECT w.*, w.stored_at + {_LIFE} <= now() AS late, {_OVER} AS retracted,
    NOT EXISTS (SELECT FROM devices v WHERE v.id = w.device_id AND v.active AND v.apns_token IS NOT NULL) AS gone
  FROM found w JOIN interactions i ON i.id = w.interaction_id),
over AS MATERIALIZED (
  SELECT w.* FROM judged w {_ITSELF} WHERE {_FREE} AND (w.late OR w.retracted OR w.gone OR NOT w.missed)
  ORDER BY d.interaction_id, d.device_id FOR NO KEY UPDATE OF d SKIP LOCKED)
UPDATE deliveries d SET due_at = NULL, lease_node = NULL, lease_until = NULL, push_failed_at = CASE WHEN w.missed THEN now() END,
  push_failed = CASE WHEN NOT w.missed THEN NULL WHEN w.retracted THEN 'retracted' WHEN w.gone AND NOT w.late THEN 'device gone'
    ELSE concat_ws(': ', 'expired', coalesce(d.push_failed, nullif(:cause, ''))) END
FROM over w WHERE d.interaction_id = w.interaction_id AND d.device_id = w.device_id RETURNING w.missed AND w.late AND NOT w.retracted""")

LAST_SUCCESS = Statement("push_last_success", """
SELECT v.voip, extract(epoch FROM now() - max(v.push_ok_at))::float8 FROM devices v WHERE v.push_ok_at > now() - interval '1 hour' GROUP BY 1""")


class Claimed(NamedTuple):
    """A push that this node may send now."""

    interaction_id: int
    device_id: int
    generation: int
    push_id: str
    notice: str
    token: str
    voip: bool
    call: bool
    seconds: float          # for which it is worth sending
    until: int              # the same, since 1970

    @property
    def pair(self) -> Pair:
        """Its key."""
        return self.interaction_id, self.device_id


class Told(NamedTuple):
    """What became of a claimed push."""

    claimed: Claimed
    outcome: Outcome


class Records:
    """The statements with what they need to know."""

    def __init__(self, database: Database, live: Settings, apns: Apns, presence: Presence) -> None:
        self._database = database
        self._presence = presence
        self._lives = {"ring": live.ring_time, "alert": apns.alert_time}
        self._lease = {"lease": LEASE}

    @property
    def _node(self) -> dict[str, str]:
        return {"node": str(self._presence.number())}

    async def claim(self, asked: Mapping[Pair, bool]) -> list[Claimed]:
        """Those of these that may be sent, which are this node's now; True: only if no other node has the device's socket."""
        rows = await self._database.query(CLAIM, interactions=[i for i, _ in asked], devices=[d for _, d in asked], unheard=list(asked.values()),
                                          alive=self._presence.alive, **self._node, **self._lives, **self._lease)
        return [Claimed(*row) for row in rows]

    async def claim_due(self, most: int) -> list[Claimed]:
        """Up to so many whose time has come, and that nobody else holds."""
        rows = await self._database.query(CLAIM_DUE, most=most, grace=GRACE, **self._node, **self._lives, **self._lease)
        return [Claimed(*row) for row in rows]

    async def renew(self, claimed: Sequence[Claimed]) -> set[Pair]:
        """Those that are still wanted and this node's."""
        rows = await self._database.query(RENEW, interactions=[c.interaction_id for c in claimed], devices=[c.device_id for c in claimed],
                                          generations=[c.generation for c in claimed], **self._node, **self._lease)
        return {(interaction, device) for interaction, device in rows}

    async def settle(self, told: Sequence[Told]) -> None:
        """What became of these is written down, with their devices."""
        given = {
            "interactions": [one.claimed.interaction_id for one in told], "devices": [one.claimed.device_id for one in told],
            "generations": [one.claimed.generation for one in told], "kinds": [one.outcome.kind.value for one in told],
            "reasons": [one.outcome.reason[:200] for one in told], "afters": [one.outcome.after for one in told],
            "stamps": [one.outcome.timestamp if one.outcome.kind is Kind.DEAD else None for one in told],
        }
        await self._database.script(Step(SETTLE, {**given, **self._node}), Step(DEVICES, given))

    async def expire(self, cause: str) -> int:
        """Pushes that are over are closed; how many their time has passed for."""
        expired, closed = 0, EXPIRE_AT_ONCE
        while closed == EXPIRE_AT_ONCE:
            rows = await self._database.query(EXPIRE, cause=cause, most=EXPIRE_AT_ONCE, **self._lives)
            closed = len(rows)
            expired += sum(late for late, in rows)
        return expired

    async def last_success(self) -> list[tuple[bool, float]]:
        """How many seconds ago Apple accepted a push within the last hour, by whether it was a VoIP device's."""
        return [(voip, ago) for voip, ago in await self._database.query(LAST_SUCCESS)]

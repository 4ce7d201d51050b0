"""What became of an event at each device, and a push to try (contract section 13).

The one module of `push` that stands on the API.
"""
from __future__ import annotations

from time import time
from typing import Any

import orjson

from interactd.api.answer import Answer, value
from interactd.api.call import PAGING, USER, call
from interactd.api.context import Context
from interactd.api.listing import Listing
from interactd.db import Statement
from interactd.errors import TooMany
from interactd.push.notification import Kind, Notification, Outcome
from interactd.push.service import TRY_EVERY

TRY_IN = 20.0           # seconds for which a test push is worth sending
STATES = ("stored", "queued", "sent", "acknowledged", "shown", "dismissed", "failed")
TIMES = {"stored": "stored_at", "queued": "queued_at", "sent": "sent_at", "pushed": "accepted_at", "acknowledged": "acked_at", "shown": "shown_at",
         "dismissed": "dismissed_at", "failed": "coalesce(t.failed_at, t.push_failed_at)"}

_MS = "(extract(epoch FROM {}) * 1000)::bigint"
_SHOWN = f"""json_strip_nulls(json_build_object('device', json_build_object('id', t.id, 'name', t.name), 'state', CASE
    WHEN t.dismissed_at IS NOT NULL THEN 'dismissed' WHEN t.shown_at IS NOT NULL THEN 'shown' WHEN t.acked_at IS NOT NULL THEN 'acknowledged'
    WHEN t.failed_at IS NOT NULL THEN 'failed' WHEN t.accepted_at IS NOT NULL THEN 'sent' WHEN t.push_failed_at IS NOT NULL THEN 'failed'
    WHEN t.sent_at IS NOT NULL THEN 'sent' WHEN t.queued_at IS NOT NULL THEN 'queued' ELSE 'stored' END,
  'via', CASE WHEN t.accepted_at IS NOT NULL AND coalesce(t.acked_at, t.sent_at) IS NOT NULL THEN 'both' WHEN t.accepted_at IS NOT NULL THEN 'push'
    WHEN t.sent_at IS NOT NULL THEN 'socket' END,
  'reason', coalesce(t.failed, t.push_failed), 'pushes', nullif(t.push_attempts, 0), 'apnsId', t.push_id,
  {", ".join(f"'{name}', {_MS.format(column if '(' in column else 't.' + column)}" for name, column in TIMES.items())}))"""
THERE = Statement("deliveries_there", "SELECT must((SELECT i.id FROM interactions i WHERE i.user_id = :owner AND i.id = :id), 'interaction')")
LEDGER = Listing("deliveries", """(SELECT d.*, v.id, v.name FROM deliveries d JOIN devices v ON v.user_id = d.user_id AND v.id = d.device_id
  WHERE d.user_id = :owner AND d.interaction_id = :id) t""", _SHOWN, "true", first=(THERE,))
_INT = {"type": "integer", "format": "int64"}
DELIVERY: dict[str, Any] = {"type": "object", "required": ["device", "state", "stored"], "properties": {
    "device": {"type": "object", "required": ["id"], "properties": {"id": _INT, "name": {"type": "string"}}},
    "state": {"type": "string", "enum": list(STATES)}, "via": {"type": "string", "enum": ["socket", "push", "both"]}, "reason": {"type": "string"},
    "pushes": {"type": "integer", "description": "Attempts to push."}, "apnsId": {"type": "string"}, **{name: _INT for name in TIMES}}}

TO_TRY = Statement("device_to_try", """
SELECT v.apns_token, v.voip, v.active FROM devices v WHERE v.user_id = :owner AND v.id = :id""")
TRIED: dict[str, Any] = {"type": "object", "required": ["outcome", "socket"], "properties": {
    "outcome": {"type": "string", "enum": ["off", "inactive", "no token", *(kind.value for kind in Kind)]}, "reason": {"type": "string"},
    "status": {"type": "integer", "description": "Apple's."}, "apnsId": {"type": "string"}, "topic": {"type": "string"},
    "environment": {"type": "string"},
    "socket": {"type": "boolean", "description": "Whether the device has a socket open, by which events come first."}}}


@call("GET", "/v2/interactions/:id/deliveries", may=USER, realm=900, kind="interaction", name="interaction.deliveries", query=PAGING, wrapped="list",
      answer=DELIVERY)
async def deliveries(c: Context, ident: int) -> Answer:
    """List what became of an interaction at each device: when, by which way, why not."""
    return await LEDGER.answer(c, owner=c.owner, id=ident)


@call("POST", "/v2/devices/:id", cmd="testPush", may=USER, realm=600, kind="device", name="device.test_push", answer=TRIED,
      refuses=(TooMany("this device was tried just now"),))
async def test_push(c: Context, ident: int) -> Answer:
    """Send a test notification to a device by APNs, and tell what happened."""
    token, voip, active = await c.one(TO_TRY, owner=c.owner, id=ident)
    push, found = c.app.push, {"socket": c.app.live.registry.listens(c.owner, ident)}
    if push is None or push.pool is None or push.identity is None:
        return value({"outcome": "off", "reason": "pushes are not switched on here", **found})
    if not active or token is None:
        return value({"outcome": "no token" if active else "inactive", **found})
    if not push.may_try(ident):
        raise TooMany("this device was tried just now", retry_after=round(TRY_EVERY))
    trial = _trial(token, voip, push.config.topic, c.app.clock.seconds())
    outcome = await push.pool.send(trial)
    return value({**_said(outcome), "apnsId": trial.apns_id, "topic": trial.topic, "environment": push.identity.host, **found})


def _trial(token: str, voip: bool, topic: str, now: float) -> Notification:
    body = {"aps": {"alert": "Test notification of interactd", "sound": "default"}, "type": "test"}
    topic, kind = (f"{topic}.voip", "voip") if voip else (topic, "alert")
    return Notification(token, topic, orjson.dumps(body), now + TRY_IN, kind, expiration=int(time() + TRY_IN))


def _said(outcome: Outcome) -> dict[str, Any]:
    said = {"outcome": outcome.kind.value, "reason": outcome.reason, "status": outcome.status}
    return {name: what for name, what in said.items() if what}


CALLS = (deliveries, test_push)

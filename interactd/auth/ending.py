"""The end of a user's sessions by a change of password, a reset or an administrator (contract sections 2 and 4)."""

from attrs import frozen

from interactd.changes import Ended
from interactd.db import Queries, Statement, Step, one

RAISE_AUTH_VERSION = Statement("raise_auth_version", """
UPDATE users SET auth_version = auth_version + 1 WHERE id = :user_id""")

# FOR UPDATE waits for a registration under way, whose foreign key holds its session: what it registers is seen below.
HOLD_SESSIONS = Statement("hold_sessions", """
SELECT id FROM sessions WHERE user_id = :user_id AND id IS DISTINCT FROM :keep::bigint ORDER BY id FOR UPDATE""")

DEACTIVATE_DEVICES = Statement("deactivate_devices", """
WITH devices_off AS (
  UPDATE devices SET active = false WHERE user_id = :user_id AND active AND session_id = ANY(:sessions::bigint[])
  RETURNING id),
triggers_off AS (
  UPDATE trigger_devices SET active = false WHERE user_id = :user_id AND active AND session_id = ANY(:sessions::bigint[])
  RETURNING id)
SELECT ARRAY(SELECT id FROM devices_off ORDER BY id), ARRAY(SELECT id FROM triggers_off ORDER BY id)""")

DROP_DELIVERIES = Statement("drop_queued_deliveries", """
UPDATE deliveries d SET failed_at = now(), failed = 'ended', due_at = NULL
FROM (SELECT q.interaction_id, q.device_id FROM deliveries q
  JOIN devices v ON v.user_id = q.user_id AND v.id = q.device_id
  JOIN users u ON u.id = q.user_id
  WHERE q.user_id = :user_id AND NOT (v.active AND u.active) AND q.failed_at IS NULL AND q.acked_at IS NULL
    AND q.pushed_at IS NULL AND (q.sent_at IS NULL OR q.due_at IS NOT NULL)
  ORDER BY q.interaction_id, q.device_id FOR NO KEY UPDATE OF q) queued
WHERE d.interaction_id = queued.interaction_id AND d.device_id = queued.device_id""")

DELETE_SESSIONS = Statement("delete_sessions", """
DELETE FROM sessions WHERE user_id = :user_id AND id = ANY(:sessions::bigint[])""")

DROP_RESETS = Statement("drop_password_resets", "DELETE FROM password_resets WHERE user_id = :user_id")


@frozen
class Ending:
    """What has ended: `event` to publish after the commit, and the ids of what became inactive."""

    event: Ended
    devices: tuple[int, ...] = ()
    trigger_devices: tuple[int, ...] = ()


async def end_sessions(tx: Queries, user_id: int, keep: int | None = None, deactivate_devices: bool = True) -> Ending:
    """End all the user's sessions but `keep`, with the devices they registered and links that reset the password, and drop
    what is queued for inactive devices.

    The transaction has taken the user's counter before; a user made inactive before loses all that is queued.
    """
    await tx.query(RAISE_AUTH_VERSION, user_id=user_id)
    sessions = [row[0] for row in await tx.query(HOLD_SESSIONS, user_id=user_id, keep=keep)]
    ended = {"user_id": user_id, "sessions": sessions}
    devices, trigger_devices = one(await tx.query(DEACTIVATE_DEVICES, **ended)) if deactivate_devices else ((), ())
    await tx.script(Step(DROP_DELIVERIES, {"user_id": user_id}), Step(DELETE_SESSIONS, ended),
                    Step(DROP_RESETS, {"user_id": user_id}))
    return Ending(Ended(user_id, None, tuple(devices), keep), tuple(devices), tuple(trigger_devices))

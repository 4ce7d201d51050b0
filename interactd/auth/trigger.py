"""The trigger device behind a triggerToken, for calls outside the event intake (which authenticates in its own statement)."""

from attrs import frozen

from interactd.db import Queries, Statement
from interactd.errors import Unauthenticated

TRIGGER_DEVICE = Statement("trigger_device_of_token", """
SELECT t.id, t.user_id, t.device_id, t.switchboard FROM trigger_devices t JOIN users u ON u.id = t.user_id
WHERE t.token_hash = :token_hash AND t.active AND u.active""")


@frozen
class TriggerDevice:
    """A device that may report events for its owner `user_id`."""

    id: int
    user_id: int
    device_id: str
    switchboard: bool


async def trigger(db: Queries, token_hash: bytes) -> TriggerDevice:
    """The active trigger device, of an active owner, whose token has this SHA-256; else Unauthenticated 5002."""
    rows = await db.query(TRIGGER_DEVICE, token_hash=token_hash)
    if not rows:
        raise Unauthenticated("the triggerToken is unknown or revoked", detail=5002)
    return TriggerDevice(*rows[0])

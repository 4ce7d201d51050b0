"""Trigger devices: what events come from (contract section 4, triggerDevice)."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from attrs import frozen

from interactd.api.answer import Answer, created, updated, value
from interactd.api.body import Nothing
from interactd.api.call import PAGING, TRIGGER_APP, USER, Param
from interactd.api.context import Context, taking
from interactd.api.entity import Entity
from interactd.api.fields import Columns, boolean, ident, server, string, text
from interactd.auth.triggerkeys import NewToken
from interactd.db import Statement, Step
from interactd.errors import Forbidden, NotFound, Registered


@frozen
class TriggerDevice:
    """A device that reports events; one with `switchboard` reports them for colleagues (addition)."""

    id: int = ident()
    device_id: str = text("device_id", 200, required=True, create_only=True)
    switchboard: bool = boolean("switchboard", create_only=True)
    active: bool = server("active", {"type": "boolean"})
    trigger_token: str = server("", {"type": "string"}, "NULL::text")      # told by the calls that make one, never kept


def reach(c: Context) -> Mapping[str, Any]:
    """One's own; a trigger app sees only those it registered."""
    return {"owner": c.owner, "session": c.user.session_id if c.user.scope == "trigger app" else None}


async def _check(c: Context, body: Columns, ident: int | None) -> None:
    if body.get("switchboard") and ("customer_admin" not in c.user.roles or c.user.company_id is None):
        raise Forbidden("a switchboard takes the role customer_admin")


def _secret(made: NewToken) -> dict[str, Any]:
    return {"key_id": made.key_id, "salt": "\\x" + made.salt.hex(), "token_hash": "\\x" + made.token_hash.hex()}


def _with_token(shown: str, token: str) -> str:
    return shown[:-1] + ',"triggerToken":' + orjson.dumps(token).decode() + "}"


ROOM = Statement("trigger_devices_room", """
SELECT refuse('IA400', 'a user has at most ' || :most::text || ' trigger devices', '2004')
WHERE (SELECT count(*) FROM trigger_devices WHERE user_id = :owner) >= :most::int""")
RENEWED = Statement("trigger_devices_renewed", """
UPDATE trigger_devices SET salt = :salt::bytea, key_id = :key_id, token_hash = :token_hash::bytea, active = true WHERE id = kept('id')::bigint""")
OF_DEVICE = Statement("trigger_devices_of_device", """
SELECT t.salt, t.key_id FROM trigger_devices t WHERE t.user_id = :owner AND t.device_id = :device_id
  AND (:session::bigint IS NULL OR t.session_id = :session)""")


async def _create(c: Context) -> Answer:
    """Register a trigger device; the answer holds its permanent token."""
    await _check(c, c.body, None)
    made = c.app.trigger_keys.new()
    body = {**c.body, **_secret(made), "session_id": c.user.session_id}
    steps = ENTITY.create_steps(c, body)
    room = Step(ROOM, {"owner": c.owner, "most": c.config.limits.devices})
    return created(_with_token(await ENTITY.written(c, "insert", (steps[0], room, *steps[1:])), made.token))


async def _read(c: Context) -> Answer:
    """The token of the trigger device that `deviceId` names, or all trigger devices."""
    device_id = c.query["deviceId"]
    if device_id is None:
        return await ENTITY.listing.answer(c, **reach(c))
    salt, key_id = await c.one(OF_DEVICE, device_id=device_id, **reach(c))
    return value({"triggerToken": c.app.trigger_keys.token(bytes(salt), key_id)})


async def _renew(c: Context, ident: int) -> Answer:
    """A new token, with which the device is active again; the old one is good no more."""
    made = c.app.trigger_keys.new()
    secret = {"key_id": made.key_id, "salt": made.salt, "token_hash": made.token_hash}
    steps = (taking(c.owner), ENTITY.remembering(c, ident), Step(RENEWED, secret), ENTITY.telling(c, "update"))
    return updated(_with_token(await ENTITY.written(c, "update", steps), made.token))


ENTITY = Entity(TriggerDevice, table="trigger_devices", kind="device", activity="triggerDevice", path="/v2/triggerDevices", realm=601,
                may=TRIGGER_APP, visible="t.user_id = :owner AND (:session::bigint IS NULL OR t.session_id = :session)", scope=reach,
                given=("key_id", "salt", "token_hash", "session_id"), numbered=False)
DEVICE_ID = Param("deviceId", lambda said: string(said, 200), {"type": "string", "maxLength": 200}, example="353092051071645")
KNOWN = Registered("the device is registered already")
LIST = {"type": "array", "items": TriggerDevice}
PAGE = {"type": "object", "required": ["data", "totalLength"], "properties": {"data": LIST, "totalLength": {"type": "integer"}}}
TOKEN = {"type": "object", "required": ["triggerToken"], "properties": {"triggerToken": {"type": "string"}}}
CALLS = (*ENTITY.calls("put", run=_create, refuses=(KNOWN,), example={"deviceId": "2155341-13582-5-38"}),
         *ENTITY.calls("list", run=_read, query=(DEVICE_ID, *PAGING), wrapped="plain", answer={"anyOf": [LIST, PAGE, TOKEN]},
                       refuses=(NotFound("device"),)),
         *ENTITY.calls("delete", may=USER),
         ENTITY.call("POST", "/v2/triggerDevices/:id", "renew", run=_renew, may=USER, cmd="renew", body=Nothing, wrapped="entity",
                     summary="Renew a trigger device's token"))

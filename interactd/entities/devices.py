"""Devices: who is told of events (contract section 4, device)."""
from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from binascii import Error
from typing import Any

from attrs import frozen

from interactd.api.answer import Answer, created, deleted
from interactd.api.call import Param, Transact
from interactd.api.context import Context
from interactd.api.entity import Entity, actor
from interactd.api.entity import text as body_text
from interactd.api.fields import Columns, Field, Wrong, boolean, declare, ident, string, text, truth
from interactd.changes import DeviceMoved, Ended
from interactd.db import Statement, Step
from interactd.errors import Registered

_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){32,100}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{43,134}={0,2}")
_PLAIN = re.compile(r"[A-Za-z0-9._:+/=-]{1,200}")


def apns_token(said: str) -> str | None:
    """The APNs token that an id is, as lower-case hex: hex of 32 to 100 bytes, else base64 of as many; None for any other id."""
    if _HEX.fullmatch(said):
        return said.lower()
    if _BASE64.fullmatch(said):
        bare = said.rstrip("=").replace("+", "-").replace("/", "_")
        try:
            raw = urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
        except Error:
            return None
        return raw.hex() if 32 <= len(raw) <= 100 else None
    return None


def canonical(said: str) -> str:
    """What device ids are compared by: the APNs token, else the id as it stands."""
    return apns_token(said) or said


def _named(said: str) -> str:
    if not 0 < len(said) <= 200:
        raise Wrong("must be 1 to 200 characters", 2004 if said else 2002)
    return said


#: a device as queries name it
DEVICE_ID = Param("deviceId", _named, {"type": "string", "maxLength": 200}, required=True, example="s243df35fd6g43", aliases=("token",))


def _device_id(value: Any) -> Columns:
    said = string(value, 200)
    if not _PLAIN.fullmatch(said):
        raise Wrong("must be an APNs token, or letters, digits and . _ : + / = -")
    return {"device_id": said, "canonical": canonical(said), "apns_token": apns_token(said)}


@frozen
class Device:
    """A device that notifications go to; with `decoded` its id is hex, else base64 of the token's bytes."""

    id: int = ident()
    device_id: str = declare(Field(_device_id, {"type": "string", "maxLength": 200}, "{t}.device_id", required=True, create_only=True,
                                   columns=("device_id", "canonical", "apns_token")))
    decoded: bool = boolean("decoded", create_only=True)
    name: str = text("name", 100)
    active: bool = boolean("active", True)
    voip: bool = declare(Field(lambda said: {"voip": truth(said)}, {
        "type": "boolean", "default": False, "description": "The id is a PushKit token: calls are pushed by the app's VoIP topic, and"
        " nothing else is. Answered only if true."}, "nullif({t}.voip, false)", columns=("voip",), default=False))


# Registrations of one phone go one after the other, so that each sees who had it before.
HOLD = Statement("devices_hold", "SELECT pg_advisory_xact_lock(hashtextextended(:token::text, 7))")
ELSEWHERE = Statement("devices_elsewhere", "SELECT d.user_id FROM devices d WHERE d.apns_token = :token AND d.active AND d.user_id <> :owner")
ROOM = Statement("devices_room", """
SELECT refuse('IA400', 'a user has at most ' || :most::text || ' devices', '2004')
WHERE (SELECT count(*) FROM devices WHERE user_id = :owner) >= :most::int""")
MOVES = Statement("devices_moves", """
SELECT refuse('IA403', 'this device changed hands too often', '4004') WHERE EXISTS (
  SELECT 1 FROM device_moves m WHERE m.at > now() - interval '1 day'
  HAVING count(*) FILTER (WHERE m.user_id = :owner) >= 5 OR count(*) FILTER (WHERE m.token_hash = sha256(convert_to(:token, 'UTF8'))) >= 2)""")
STATE = ("json_strip_nulls(json_build_object('id', old.id, 'deviceId', old.device_id, 'decoded', old.decoded, 'name', old.name, 'active', {},"
         " 'voip', nullif(old.voip, false)))")
MOVED = Statement("devices_moved", f"""
WITH old AS (UPDATE devices d SET active = false WHERE d.apns_token = :token AND d.active AND d.user_id <> :owner RETURNING d.*),
  note AS (INSERT INTO device_moves (user_id, token_hash) SELECT :owner, sha256(convert_to(:token, 'UTF8')) FROM old),
  past AS (DELETE FROM device_moves m WHERE m.at < now() - interval '1 day'),
  unsent AS (UPDATE deliveries v SET failed_at = now(), failed = 'moved', due_at = NULL FROM old
    WHERE v.user_id = old.user_id AND v.device_id = old.id AND v.failed_at IS NULL AND v.acked_at IS NULL AND v.pushed_at IS NULL)
SELECT old.user_id, old.id, number_of(old.user_id), record(old.user_id, :actor::bigint, 'update', 'device', old.id,
  {STATE.format('true')}, {STATE.format('false')}) FROM old""")


# A token that Apple called dead was taken from its device; registered again, it is a new device.
DEAD = Statement("devices_dead", "SELECT d.id FROM devices d WHERE d.user_id = :owner AND d.canonical = :token AND d.apns_token IS NULL")


async def _leave(c: Context, token: str | None) -> None:
    """Takes the counters; whoever had the phone before has it no more. Errors: 403 when that happened too often."""
    given = {"owner": c.owner, "token": token}
    owners = [row[0] for row in await c.script(Step(HOLD, {"token": token}), Step(ELSEWHERE, given))] if token else []
    await c.take(c.owner, *owners)
    if not owners:
        return
    for owner, old, seq, _ in await c.script(Step(MOVES, given), Step(MOVED, {**given, "actor": actor(c)})):
        c.announce(Ended(owner, (), (old,)))
        c.announce(DeviceMoved(owner, old))
        c.changed(owner, seq, "update", "device", old)


async def _create(c: Context) -> Answer:
    """Register a device; a phone that changed hands leaves its former owner's account."""
    c.body["session_id"] = c.user.session_id
    await _leave(c, c.body["apns_token"])
    for dead, in await c.rows(DEAD, owner=c.owner, token=c.body["apns_token"]):
        await ENTITY.remove(c, [dead])
    shown, ident, seq, _ = (await c.script(Step(ROOM, {"owner": c.owner, "most": c.config.limits.devices}),
                                           ENTITY.step(c, ENTITY.insert, body=body_text(c.body)), ENTITY.telling(c, "insert")))[0]
    c.changed(c.owner, seq, "insert", "device", ident)
    return created(shown)


async def _change(c: Context, ident: int) -> Answer:
    """Update a device's name, or whether it is active; an inactive one's sockets close."""
    answer = await ENTITY.change(c, ident)
    if c.body.get("active") is False:
        c.announce(Ended(c.owner, (), (ident,)))
    return answer


async def _delete(c: Context, ident: int) -> Answer:
    """Delete a device; its sockets close at once."""
    await ENTITY.remove(c, [ident])
    c.announce(Ended(c.owner, (), (ident,)))
    return deleted()


ENTITY = Entity(Device, table="devices", kind="device", activity="device", path="/v2/devices", realm=600, given=("session_id",), numbered=False)
KNOWN = Registered("the device is registered already")
EXAMPLE = {"deviceId": "6g79bcd2b124bcd835a0769cas3f9b12bbd2b8a779f7fde29b7c11897dcff4q8", "name": "Ipad 2", "decoded": True, "active": True}
CALLS = (*ENTITY.calls("put", run=_create, transact=Transact.WRITE, refuses=(KNOWN,), example=EXAMPLE), *ENTITY.calls("list"),
         *ENTITY.calls("post", run=_change, example={"name": "Ipad 2", "active": False},
                       refuses=(Registered("the device is active with another registration"),)),
         *ENTITY.calls("delete", run=_delete))

"""The socket as a call: who may open it, refused in JSON before the upgrade (contract section 7).

The one module of `live` that stands on the API: sockets come in by the same road as every request.
"""
from __future__ import annotations

import re
import select
from functools import partial
from typing import Any

import orjson
from attrs import evolve

from interactd.api import pipeline
from interactd.api.answer import Answer, Upgrade
from interactd.api.call import USER, Call, Param
from interactd.api.context import Context
from interactd.api.fields import Wrong
from interactd.changes import Entered
from interactd.db import Statement, one
from interactd.entities.devices import canonical
from interactd.errors import Forbidden, Invalid, Missing, Unauthenticated, Unavailable, UpgradeRequired
from interactd.live.forms import form_of
from interactd.live.session import Entry
from interactd.live.websocket import Socket, resource
from interactd.live.wire import ACTION, REALM
from interactd.live.words import resume_of

SUBPROTOCOL = "interactd.1"
_GONE = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)

# One statement: the session still holds, the device takes its next generation, and what it has missed is known.
ENTER = Statement("enter_live", """
WITH found AS (SELECT d.* FROM devices d WHERE d.user_id = :owner AND d.canonical = :canonical),
entered AS (
  UPDATE devices d SET generation = d.generation + 1, listens_at = :node FROM found f
  WHERE d.user_id = :owner AND d.id = f.id AND d.active
    AND EXISTS (SELECT FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = :session AND s.expires_at > now() AND u.active)
  RETURNING d.id, d.generation)
SELECT f.id, f.active, e.generation, CASE WHEN
    EXISTS (SELECT FROM contacts x WHERE x.user_id = :owner AND x.seq > f.synced_seq)
    OR EXISTS (SELECT FROM interactions x WHERE x.user_id = :owner AND x.seq > f.synced_seq)
    OR EXISTS (SELECT FROM tombstones x WHERE x.user_id = :owner AND x.seq > f.synced_seq)
    OR EXISTS (SELECT FROM notes x WHERE x.user_id = :owner AND x.seq > f.synced_seq)
    OR EXISTS (SELECT FROM tasks x WHERE x.user_id = :owner AND x.seq > f.synced_seq)
    OR EXISTS (SELECT FROM tasks x WHERE x.assigned_to_id = :owner AND x.assigned_seq > f.synced_seq)
    OR EXISTS (SELECT FROM task_lists x WHERE x.user_id = :owner AND x.seq > f.synced_seq)
    OR EXISTS (SELECT FROM deals x WHERE x.user_id = :owner AND x.seq > f.synced_seq)
    OR f.synced_epoch <> c.epoch
  THEN f.synced_at END,
  (SELECT min(v.seq) FROM deliveries v WHERE v.user_id = :owner AND v.device_id = f.id AND v.sent_at IS NULL AND v.failed_at IS NULL
    AND v.accepted_at IS NULL AND v.stored_at > now() - interval '1 day'), c.seq, c.epoch
FROM found f JOIN counters c ON c.user_id = :owner LEFT JOIN entered e ON e.id = f.id""")


def _device_id(said: str) -> str:
    """A blank stands where `+` was not escaped (contract section 1)."""
    if not 0 < len(said) <= 200 or "\0" in said:
        raise Wrong("must be 1 to 200 characters")
    return said.replace(" ", "+")


DEVICE_ID = Param("deviceId", _device_id, {"type": "string", "maxLength": 200}, example="s243df35fd6g43")


async def open_socket(c: Context) -> Answer:
    """Open a WebSocket on which notifications come in, as text frames of JSON."""
    _check(c)
    form, live = form_of(pipeline.offered(c.asked.headers)), c.app.live
    if c.who is None:
        live.admission.check(c.asked.address)
        socket = Socket(live, form, c.asked.address, None)
        socket.authenticate = partial(introduce, c, socket)
        return Upgrade(resource=resource(socket))
    if c.query["deviceId"] is None:
        raise Missing("deviceId is missing")
    entry = await enter(c, c.query["deviceId"], c.asked.raw.channel)
    return Upgrade(resource=resource(Socket(live, form, c.asked.address, entry)))


async def introduce(c: Context, socket: Socket, message: bytes) -> Entry:
    """Who a first message `{"auth": …, "deviceId": …}` brings, a resume with it or not; Invalid for any other, else the handshake's errors."""
    try:
        said = orjson.loads(message)
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict) or not said.keys() <= {"auth", "deviceId", "resume", "epoch"} or not isinstance(said.get("auth"), str):
        raise Invalid("the first message must be auth and deviceId")
    device_id = said.get("deviceId", c.query["deviceId"])
    if not isinstance(device_id, str):
        raise Invalid("deviceId is missing")
    resume = resume_of({name: said[name] for name in ("resume", "epoch") if name in said}) if "resume" in said else None
    c.who = await c.app.sessions.who(said["auth"])
    pipeline.allow(c)
    return evolve(await enter(c, device_id, socket), resume=resume)


def _there(protocol: Any) -> bool:
    """Whether the client has not hung up. What it said before is read first, by a node that was frozen for example."""
    wire = getattr(protocol.transport, "socket", None) if protocol is not None else None
    if wire is None or wire.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(wire, _GONE)
    return not poll.poll(0)


async def enter(c: Context, device_id: str, protocol: Any) -> Entry:
    """The device's next generation. Errors: 404 unknown device, 403 inactive, 401 when the session has ended meanwhile.

    A client that has gone gets none: it would end the socket that it may have opened at another node since.
    """
    if not _there(protocol):
        raise Unavailable("the client has gone")
    rows = await c.rows(ENTER, owner=c.owner, canonical=canonical(device_id.replace("\0", "")), session=c.user.session_id,
                        node=c.app.live.node())
    ident, active, generation, hint, unsent, number, epoch = one(rows, "device")
    if not active:
        raise Forbidden("the device is inactive", detail=1001)
    if generation is None:
        raise Unauthenticated("the authToken is unknown, expired or revoked")
    c.app.hub.publish(Entered(c.owner, ident, generation))
    return Entry(c.owner, c.user.session_id, ident, generation, hint, unsent is not None, number if unsent is None else unsent - 1, epoch)


def _check(c: Context) -> None:
    """What Autobahn would refuse with a page, or after the device's generation was raised."""
    raw, headers = c.asked.raw, c.asked.headers
    if raw.method != b"GET" or raw.clientproto != b"HTTP/1.1" or raw.channel is None or raw.channel.transport is None:
        raise UpgradeRequired("a WebSocket is opened by GET over HTTP/1.1")
    if "upgrade" not in headers.get("connection", "").lower():
        raise UpgradeRequired("Connection must say Upgrade")
    if headers.get("sec-websocket-version") != "13":
        raise UpgradeRequired("Sec-WebSocket-Version must be 13")
    if not re.fullmatch(r"[A-Za-z0-9+/]{22}==", headers.get("sec-websocket-key", "")):
        raise Invalid("Sec-WebSocket-Key must be 16 bytes in base64")


def _socket(path: str, name: str) -> Call:
    return Call("GET", path, name, USER, ACTION, REALM, open_socket, kind="device", query=(DEVICE_ID,), upgrade=True,
                subprotocol=SUBPROTOCOL, success=101, summary=(open_socket.__doc__ or ""))


CALLS = (_socket("/interact-server/socket", "socket.open"), _socket("/v2/socket", "socket.open_v2"))

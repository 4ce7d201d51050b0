"""Sync: a device gets what has changed since it was here last (contract section 9; docs/sync.md)."""
from __future__ import annotations

import re
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from interactd.api.answer import Answer
from interactd.api.call import USER, Param, call, number
from interactd.api.context import Context
from interactd.api.entity import Entity
from interactd.api.fields import LAST_MS, Wrong
from interactd.api.listing import FIRST, Listing
from interactd.db import Database, Statement, Step
from interactd.entities import contacts, deals, devices, interactions, notes, tasklists, tasks
from interactd.errors import NotFound

log = Logger()


def _list(entity: Entity, where: str = "t.user_id = :owner", seq: str = "t.seq") -> Listing:
    name = f"sync_{entity.table}" + seq.removeprefix("t.").removesuffix("seq")
    return Listing(name, f"{entity.table} t", entity.shown, f"{where} AND {seq} > :since AND {seq} <= :upto", seq)


#: what devices hold, in the order of the answer
SYNCED = {"contacts": contacts.ENTITY, "deals": deals.ENTITY, "interactions": interactions.ENTITY, "notes": notes.ENTITY,
          "taskLists": tasklists.ENTITY, "tasks": tasks.ENTITY}
TYPES = tuple(entity.activity for entity in SYNCED.values())
# Several things may have gone at once, and a contact and a note may have the same id: `id` tells them apart.
_GONE = f"""(SELECT g.*, g.entity_id * {len(TYPES) + 1} + array_position('{{{",".join(TYPES)}}}', g.entity_type) AS id FROM tombstones g) t"""
_GRAVE = "json_strip_nulls(json_build_object('id', t.entity_id, 'type', t.entity_type, 'mergedInto', t.merged_into))"
LISTS = (*((name, _list(entity)) for name, entity in SYNCED.items()),
         ("tasks", _list(tasks.ENTITY, "t.assigned_to_id = :owner AND t.user_id <> :owner", "t.assigned_seq")),
         ("deleted", Listing("sync_deleted", _GONE, _GRAVE, "t.user_id = :owner AND t.seq > :since AND t.seq <= :upto", "t.seq")))

# A mark that is lost with the power makes a later answer longer, nothing else: its commit need not wait for the disk.
_QUICK = "set_config('synchronous_commit', 'off', true)"
BEGIN = Statement("sync_begin", f"""
SELECT s.*, {_QUICK} FROM sync_begin(:owner, :canonical, :epoch, :seq, :at) s""")
PROVE = Statement("sync_prove", f"SELECT sync_prove(:owner, :device, :epoch, :seq, :at), {_QUICK}")
FIRSTS = Statement("sync_firsts", "\nUNION ALL\n".join(
    f"SELECT {n} AS place, x{n}.* FROM ({listing.piece.text}) x{n} (entity, k, id, n)" for n, (_, listing) in enumerate(LISTS)) + "\nORDER BY place")


@frozen
class Cursor:
    """What an answer went up to: epoch, number and time."""

    epoch: str
    seq: int
    at: int

    @classmethod
    def read(cls, said: str) -> Cursor:
        """A cursor as `str` wrote it."""
        found = re.fullmatch(r"([0-9a-f]{1,32})\.(\d{1,18})\.(\d{1,15})", said, re.ASCII)
        if found is None:
            raise Wrong("must be a cursor that was given")
        return cls(found[1], int(found[2]), int(found[3]))

    def __str__(self) -> str:
        return f"{self.epoch}.{self.seq}.{self.at}"


SINCE = Param("since", number(0, LAST_MS), {"type": "integer", "format": "int64", "minimum": 0, "maximum": LAST_MS},
              example=1366819829170, aliases=("time",))
CURSOR = Param("cursor", Cursor.read, {"type": "string", "pattern": r"^[0-9a-f]{1,32}\.\d{1,18}\.\d{1,15}$"},
               example="5f3a.812.1366819829170")


_GONE_SCHEMA = {"type": "object", "required": ["id", "type"], "properties": {
    "id": {"type": "integer", "format": "int64"}, "type": {"type": "string", "enum": list(TYPES)}, "mergedInto": {"type": "integer"}}}
_LISTED = {name: {"type": "array", "items": items} for name, items in {**{n: e.row for n, e in SYNCED.items()}, "deleted": _GONE_SCHEMA}.items()}
ANSWER: dict[str, Any] = {"type": "object", "required": [*_LISTED, "lastSyncTime", "cursor"], "properties": {
    **_LISTED, "full": {"const": True, "description": "This is everything: what is not in it is not there."},
    "lastSyncTime": {"type": "integer", "format": "int64"}, "cursor": {"type": "string"}}}


@call("GET", "/v2/sync", may=USER, realm=50, action=17, kind="device", name="sync.pull", query=(devices.DEVICE_ID, SINCE, CURSOR),
      answer=ANSWER, refuses=(NotFound("device"),))
async def pull(c: Context) -> Answer:
    """What has changed since a device was here last: by the cursor or the time that it was given then, else by what is known to have arrived."""
    said, since = c.query["cursor"], c.query["since"]
    has = {"epoch": said.epoch, "seq": said.seq, "at": said.at} if said else {"epoch": None, "seq": None, "at": since}
    begun = Step(BEGIN, {"owner": c.owner, "canonical": devices.canonical(c.query["deviceId"]), **has})
    ((device, start, upto, at, epoch, _),) = await c.db.script(begun)
    values = {"owner": c.owner, "viewer": c.owner, "since": start, "upto": upto}
    firsts = await c.db.query(FIRSTS, **values, after=FIRST, after_id=FIRST, most=c.config.limits.page_slice, skip=0)
    given = Cursor(epoch, upto, at)
    tail = ("" if start else '"full":true,') + f'"lastSyncTime":{at},"cursor":"{given}"}}'
    text = _text(c, values, firsts, tail)
    taken = partial(_taken, c.app.database, c.owner, device, given) if said is None and since is None else None
    if any(n == c.config.limits.page_slice for *_, n in firsts):
        return Answer(200, _encoded(text), taken=taken)
    return Answer(200, "".join([piece async for piece in text]).encode(), taken=taken)


async def _text(c: Context, values: dict[str, Any], firsts: list[tuple[Any, ...]], tail: str) -> AsyncIterator[str]:
    """The lists, each from its first slice on; two of the same name become one."""
    last, some = "", False
    for (name, listing), (_, text, key, ident, n) in zip(LISTS, firsts):
        if name != last:
            yield ("{" if not last else "],") + f'"{name}":['
            last, some = name, False
        if n:
            yield ("," if some else "") + text
            some = True
        if n == c.config.limits.page_slice:
            async for piece in listing.rest(c, values, (key, ident)):
                yield piece
    yield "]," + tail


async def _encoded(text: AsyncIterator[str]) -> AsyncIterator[bytes]:
    async for piece in text:
        yield piece.encode()


def _taken(database: Database, owner: int, device: int, given: Cursor) -> None:
    """A client that says nothing of what it has got has taken the whole answer: the device's mark moves."""
    moved = Deferred.fromCoroutine(database.query(PROVE, owner=owner, device=device, epoch=given.epoch, seq=given.seq, at=given.at))
    moved.addErrback(lambda failure: log.warn("a device's mark stays where it was: {error}", error=failure.value))


CALLS = (pull,)

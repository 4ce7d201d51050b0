"""The calls of the import (contract section 11)."""
from __future__ import annotations

import re
from typing import Any

from attrs import frozen

from interactd.api.answer import Answer, plain, value
from interactd.api.call import USER, Param, call, flag
from interactd.api.context import Context
from interactd.api.fields import Wrong
from interactd.api.fields import plain as field
from interactd.api.fields import string, text
from interactd.errors import Conflict, LoginRefused, NotAllowed, Refused, Unavailable
from interactd.imports import store
from interactd.imports.entries import Filters
from interactd.imports.run import Task, imported
from interactd.imports.vcard_person import moment

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z?", re.ASCII)
_GROUP = re.compile(r"[\w.:%@~/+=-]{1,1000}", re.ASCII)
REFUSES = (LoginRefused("the external system refuses the login"), NotAllowed("the external system does not allow it"),
           Unavailable("the external system is out of reach", detail=7002))


@frozen
class Login:
    """An account with an external system; nothing of it is kept but the user name."""

    external_system: str = text("external_system", 30, required=True)
    username: str = text("username", 255, required=True)
    password: str = field(lambda v: string(v, 4096), {"type": "string", "maxLength": 4096, "writeOnly": True}, "password", required=True)


def _time(said: str) -> int:
    at = moment(said) if _TIME.fullmatch(said) else None
    if at is None:
        raise Wrong("must be a UTC time such as 2012-12-31T00:00:00.000Z")
    return at


def _groups(said: str) -> frozenset[str]:
    ids = frozenset(part.strip() for part in said.split(","))
    if not all(map(_GROUP.fullmatch, ids)):
        raise Wrong("must be ids of groups, joined by commas, or none")
    return ids


TIME = Param("updated-min", _time, {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z?$"}, example="2012-12-31T00:00:00")
GROUPS = Param("groupIds", _groups, {"type": "string", "minLength": 1, "maxLength": 10000}, example="dfdg4f,6get54,none")
IDS: dict[str, Any] = {"type": "array", "items": {"type": "integer", "format": "int64"}}
LISTS = ("failed", "created", "updated", "deleted")
ANSWER: dict[str, Any] = {
    "type": "object", "required": ["externalSystem", "externalSystemAccount", "importTime", *LISTS], "properties": {
        "externalSystem": {"type": "string"}, "externalSystemAccount": {"type": "string"}, "importTime": {"type": "integer", "format": "int64"},
        **dict.fromkeys(LISTS, IDS), "devmsg": {"type": "string", "description": "What there is to know, if there is anything."},
        "incomplete": {"const": True, "description": "Not everything could be read; the next import goes on."},
        "deletionsHeld": {"type": "integer", "description": "So many contacts are gone there that none was deleted: `confirmDeletions=1` does it."}}}
GROUP: dict[str, Any] = {"type": "object", "required": ["externalId", "name"], "properties": {
    "externalId": {"type": "string", "description": "What `groupIds` takes."}, "name": {"type": "string"}}}
STATUS: dict[str, Any] = {"type": "object", "required": ["externalSystem", "externalSystemAccount", "running", "progress"], "properties": {
    "externalSystem": {"type": "string"}, "externalSystemAccount": {"type": "string"}, "running": {"type": "boolean"},
    "started": {"type": "integer", "format": "int64"}, "importTime": {"type": "integer", "format": "int64"}, "progress": {"type": "object"}}}
EXAMPLE = {"externalSystem": "google", "username": "john.doe@googlemail.com", "password": "pa55w0rd"}


@call("POST", "/v2/import", cmd="getContactGroups", may=USER, realm=111, action=10, name="import.groups", body=Login, create=True, example=EXAMPLE,
      answer={"type": "array", "items": GROUP}, refuses=REFUSES)
async def groups(c: Context) -> Answer:
    """List the contact groups of an external system."""
    source = c.app.imports.source(c.body["external_system"], c.body["username"], c.body["password"])
    found = await c.app.imports.at_once(source.groups)
    return value([{"externalId": group.external_id, "name": group.name} for group in found])


@call("POST", "/v2/import", cmd="importContacts", may=USER, realm=111, action=15, name="import.contacts", body=Login, create=True, example=EXAMPLE,
      query=(flag("nameRequired"), flag("phoneRequired"), flag("emailRequired"), TIME, GROUPS, flag("confirmDeletions")), answer=ANSWER,
      refuses=(*REFUSES, Conflict("an import of this account is running"), Refused("the address book is too large", detail=2004)))
async def contacts(c: Context) -> Answer:
    """Import contacts from an external system."""
    system, account, query = c.body["external_system"], c.body["username"], c.query
    source = c.app.imports.source(system, account, c.body.pop("password"))
    chosen = query["groupIds"]
    filters = Filters(query["nameRequired"], query["phoneRequired"], query["emailRequired"], None if chosen is None else chosen - {"none"},
                      chosen is not None and "none" in chosen, query["updated-min"])
    task = Task(system, account, source, filters, query["confirmDeletions"], hung_up=_hung_up(c))
    return value(await c.app.imports.at_once(lambda: imported(c, task)))


def _hung_up(c: Context) -> Any:
    return lambda: bool(c.asked.raw is not None and c.asked.raw._disconnected)


@call("GET", "/v2/import/status", may=USER, realm=111, action=15, name="import.status", answer={"type": "array", "items": STATUS})
async def status(c: Context) -> Answer:
    """Show how far one's imports are, and how the last ones ended."""
    return plain((await c.one(store.STATUS, owner=c.owner))[0])


CALLS = (contacts, groups, status)          # a `cmd` that is missing or unknown is refused as the first one's

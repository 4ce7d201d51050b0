"""Users as administrators see them (contract sections 2 and 4, user)."""
from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import evolve, frozen

from interactd.api import sql
from interactd.api.answer import Answer, created, deleted, updated
from interactd.api.body import faulty
from interactd.api.call import CUSTOMER_ADMIN, PAGING, USER, Call, Transact
from interactd.api.context import RANK, Context
from interactd.api.entity import Entity
from interactd.api.entity import text as body_text
from interactd.api.fields import (MAX_ID, Field, Wrong, boolean, count, declare, fields_of, ident, integer, plain, server, stamp,
                                  string)
from interactd.api.listing import Listing
from interactd.auth.ending import end_sessions
from interactd.db import Statement, Step
from interactd.entities.wiping import wipe
from interactd.errors import EmailTaken, Forbidden, NotFound, Refused

_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")
LIST = {"type": "array", "items": {"type": "string"}}


def email(value: Any) -> str:
    """A login name: an e-mail address."""
    said = string(value, 255)
    if not _ADDRESS.fullmatch(said):
        raise Wrong("must be an e-mail address")
    return said


def password(value: Any) -> str:
    """A password of at most 256 characters; how short it may be says the configuration."""
    return string(value, 256)


@frozen
class User:
    """An account; the password is written only."""

    id: int = ident()
    email: str = plain(email, {"type": "string", "format": "email", "maxLength": 255}, "email", required=True)
    password: str = declare(Field(
        lambda v: {"password": password(v)}, {"type": "string", "maxLength": 256, "writeOnly": True}, columns=("password_hash",)))
    company_id: int = integer("company_id", 1, MAX_ID)
    active: bool = boolean("active", True)
    date_created: int = stamp("date_created")
    groups: list[dict[str, Any]] = server("groups", {"type": "array", "items": {"type": "object"}}, """
      (SELECT coalesce(json_agg(json_build_object('id', g.id, 'name', g.name) ORDER BY g.id), '[]')
       FROM group_members m JOIN groups g ON g.id = m.group_id WHERE m.user_id = {t}.id)""")
    roles: list[str] = server("roles", LIST, """
      (SELECT coalesce(json_agg(r.role ORDER BY r.role), '["user"]') FROM user_roles r WHERE r.user_id = {t}.id)""")
    interactions_count: int = count("interactions_count", "(SELECT count(*) FROM interactions i WHERE i.user_id = {t}.id)")


MEMBER_SHOWN = sql.shown(fields_of(User), "u")


def reach(c: Context) -> Mapping[str, Any]:
    """Which users there are for whoever asks: all for an interact_admin, else those of one's own company."""
    return {"company": None if c.rank == 2 else c.user.company_id}


RANK_SQL = "CASE r.role WHEN 'interact_admin' THEN 2 WHEN 'customer_admin' THEN 1 ELSE 0 END"
ABOVE = Statement("users_above", f"""
SELECT refuse('IA403', 'the user holds a role above your own', '4004') FROM user_roles r
WHERE r.user_id = ANY(:ids::bigint[]) AND {RANK_SQL} > :rank LIMIT 1""")
ADMINS_BEFORE = Statement("users_admins_before", """
SELECT pg_advisory_xact_lock(7033), keep('admins', (SELECT count(*) FROM users u JOIN user_roles r ON r.user_id = u.id
  WHERE u.active AND r.role = 'interact_admin')::text)""")
ADMINS_AFTER = Statement("users_admins_after", """
SELECT refuse('IA403', 'the last active interact_admin stays', '4004') WHERE kept('admins')::int > 0 AND NOT EXISTS (
  SELECT 1 FROM users u JOIN user_roles r ON r.user_id = u.id WHERE u.active AND r.role = 'interact_admin')""")
COMPANY_SET = Statement("users_company_set", """
SELECT refuse('IA402', 'companyId is set already', '6002') FROM users u
WHERE u.id = :id AND u.company_id IS NOT NULL AND u.company_id IS DISTINCT FROM :company_id::bigint""")
COMPANY_THERE = Statement("users_company_there", """
SELECT refuse('IA404', 'company', '3003') WHERE NOT EXISTS (SELECT 1 FROM companies k WHERE k.id = :company_id::bigint)""")
EMAIL_CHANGES = Statement("users_email_changes", "SELECT 1 FROM users u WHERE u.id = :id AND u.email <> :email")


# Tasks show the e-mail of who is to do them: their owners see it change.
TAKE = Statement("users_take", """
SELECT take(ARRAY(SELECT :id::bigint UNION SELECT t.user_id FROM tasks t WHERE t.assigned_to_id = :id AND :email::boolean))""")
DELETE = Statement("users_gone", "DELETE FROM users WHERE id = ANY(:ids::bigint[])")


def guarded(c: Context, ids: list[int], *steps: Step) -> tuple[Step, ...]:
    """The steps, between the guards: no role above one's own, and an active interact_admin stays."""
    return (Step(ADMINS_BEFORE), Step(ABOVE, {"ids": ids, "rank": c.rank}), *steps, Step(ADMINS_AFTER))


async def hashed(c: Context) -> None:
    """The body's password is replaced by its hash, off the reactor thread."""
    said = c.body.pop("password", None)
    if said is None:
        return
    c.body["password_hash"] = await hash_of(c, "password", said)


async def hash_of(c: Context, attribute: str, said: str) -> str:
    """What is kept of a new password; 400 that names the attribute if it is too short."""
    if len(said) < c.config.auth.password_min:
        raise faulty(attribute, f"must have at least {c.config.auth.password_min} characters", 2004)
    return await c.app.passwords.hash(said)


def _company_there(c: Context) -> tuple[Step, ...]:
    return (Step(COMPANY_THERE, {"company_id": c.body["company_id"]}),) if c.body.get("company_id") is not None else ()


def check_company(c: Context, named: int | None) -> None:
    """Nothing, or 403: a customer_admin names the own company only."""
    if c.rank < 2 and named is not None and named != c.user.company_id:
        raise Forbidden("that is another company", detail=4003)


async def _create(c: Context) -> Answer:
    """Create a user."""
    check_company(c, c.body.get("company_id"))
    if c.rank < 2:
        c.body["company_id"] = c.user.company_id
    steps = (*_company_there(c), ENTITY.step(c, ENTITY.insert, body=body_text(c.body)), ENTITY.telling(c, "insert"))
    shown, ident, _, _ = (await c.script(*steps))[0]
    return created(shown)


async def _change(c: Context, ident: int) -> Answer:
    """Update a user; a new password or e-mail, or making it inactive, ends its sessions."""
    check_company(c, c.body.get("company_id"))
    first: tuple[Step, ...] = (Step(TAKE, {"id": ident, "email": "email" in c.body}), ENTITY.remembering(c, ident))
    if "company_id" in c.body:
        if c.body["company_id"] is None:
            raise Refused("companyId can not be taken back")
        first += _company_there(c) + (Step(COMPANY_SET, {"id": ident, "company_id": c.body["company_id"]}),)
    await c.script(*first)
    ends = "password_hash" in c.body or c.body.get("active") is False or (
        "email" in c.body and await c.maybe(EMAIL_CHANGES, id=ident, email=c.body["email"]) is not None)
    write = (ENTITY.step(c, ENTITY.update, body=body_text(c.body)),)
    await c.script(*guarded(c, [ident], *write))
    shown, _, _, _ = (await c.script(ENTITY.telling(c, "update")))[0]
    c.changed(ident, 0, "update", "user", ident)
    return with_deactivated(updated(shown), *(await ended(c, ident) if ends else ((), ())))


async def ended(c: Context, user_id: int, keep: int | None = None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """All the user's sessions but `keep` end; which devices and trigger devices became inactive."""
    ending = await end_sessions(c.db, user_id, keep)
    c.announce(ending.event)
    return ending.devices, ending.trigger_devices


def with_deactivated(answer: Answer, devices: tuple[int, ...], trigger_devices: tuple[int, ...]) -> Answer:
    """The answer, with `deactivated` where something was."""
    if not devices and not trigger_devices:
        return answer
    assert isinstance(answer.body, bytes)
    said = b',"deactivated":{"devices":%b,"triggerDevices":%b}}' % (str(list(devices)).encode(), str(list(trigger_devices)).encode())
    return evolve(answer, body=answer.body[:-1] + said)


async def _remove(c: Context, ids: list[int]) -> Answer:
    await c.script(ENTITY.step(c, ENTITY.there, ids=ids), Step(ADMINS_BEFORE), Step(ABOVE, {"ids": ids, "rank": c.rank}))
    for user_id in sorted(ids):
        await wipe(c, user_id)
    await c.script(ENTITY.step(c, RECORD_DELETED, ids=ids), Step(DELETE, {"ids": ids}), Step(ADMINS_AFTER))
    return deleted()


async def _delete(c: Context, ident: int) -> Answer:
    """Delete a user and all its data."""
    return await _remove(c, [ident])


async def _delete_ids(c: Context) -> Answer:
    """Delete several users and all their data, all or none."""
    return await _remove(c, c.query["ids"])


async def _colleagues(c: Context) -> Answer:
    """The active users of one's own company, as tasks are assigned to them."""
    return await COLLEAGUES.answer(c, company=c.user.company_id or 0)


COLLEAGUE: dict[str, Any] = {"type": "object", "required": ["id", "displayName"], "properties": {
    "id": {"type": "integer", "format": "int64"}, "displayName": {"type": "string"}}}
COLLEAGUES = Listing("colleagues", "users t", "json_build_object('id', t.id, 'displayName', t.email)", "t.company_id = :company AND t.active")
ENTITY = Entity(User, table="users", kind="user", activity="user", path="/v2/admin/users", realm=703, may=CUSTOMER_ADMIN, owned=False,
                visible="(:company::bigint IS NULL OR t.company_id = :company)", scope=reach)
# The activity is the actor's, who keeps it unless it is the actor's own account that goes.
RECORD_DELETED = Statement("users_record_deleted", f"""
SELECT record(:owner, :actor, 'delete', 'user', t.id, {ENTITY.shown}, NULL) FROM users t
WHERE t.id = ANY(:ids::bigint[]) AND :owner <> ALL(:ids::bigint[])""")
NOT_YOURS = Forbidden("that is another company", detail=4003)
REFUSES = (NOT_YOURS, NotFound("company", detail=3003), EmailTaken("the e-mail belongs to another user"))
CALLS = (*ENTITY.calls("put", run=_create, prepare=hashed, refuses=REFUSES, example={"email": "John@gmail.com", "password": "john04"}),
         *ENTITY.calls("list", "get"),
         *ENTITY.calls("post", run=_change, prepare=hashed, transact=Transact.WRITE, example={"active": False},
                       refuses=(*REFUSES, Refused("companyId is set already"))),
         *ENTITY.calls("delete", run=_delete, transact=Transact.WRITE), *ENTITY.calls("delete_ids", run=_delete_ids, transact=Transact.WRITE),
         Call("GET", "/v2/users", "user.colleagues", USER, 10, 703, _colleagues, kind="user", query=PAGING, answer=COLLEAGUE, wrapped="list",
              summary="List the users of one's own company"))
__all__ = ["CALLS", "ENTITY", "MEMBER_SHOWN", "RANK", "User"]

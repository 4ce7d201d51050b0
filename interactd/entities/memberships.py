"""Roles and groups of a user: add, remove, set (contract section 5, tables 96 and 97)."""
from __future__ import annotations

from typing import Any

from interactd.api.answer import Answer, plain
from interactd.api.call import CUSTOMER_ADMIN, Call, Transact
from interactd.api.context import RANK, Context
from interactd.api.fields import Wrong, identity
from interactd.db import Statement, Step
from interactd.entities.users import ENTITY, guarded
from interactd.errors import Forbidden, Invalid, NotFound

CMDS = ("add", "remove", "set")
ROLES_GO = Statement("roles_go", """
DELETE FROM user_roles WHERE user_id = :id
  AND CASE :cmd WHEN 'remove' THEN role = ANY(:roles::text[]) WHEN 'set' THEN role <> ALL(:roles::text[]) ELSE false END""")
ROLES_COME = Statement("roles_come", """
INSERT INTO user_roles (user_id, role) SELECT :id, r FROM unnest(:roles::text[]) r WHERE :cmd <> 'remove' ON CONFLICT DO NOTHING""")
GROUPS_THERE = Statement("user_groups_there", """
SELECT refuse('IA404', 'group ' || min(g), '3003') FROM unnest(:groups::bigint[]) g
WHERE NOT EXISTS (SELECT 1 FROM groups x JOIN users u ON u.company_id = x.company_id WHERE x.id = g AND u.id = :id) HAVING count(*) > 0""")
GROUPS_GO = Statement("user_groups_go", """
DELETE FROM group_members WHERE user_id = :id
  AND CASE :cmd WHEN 'remove' THEN group_id = ANY(:groups::bigint[]) WHEN 'set' THEN group_id <> ALL(:groups::bigint[]) ELSE false END""")
GROUPS_COME = Statement("user_groups_come", """
INSERT INTO group_members (company_id, group_id, user_id) SELECT u.company_id, g, u.id FROM unnest(:groups::bigint[]) g, users u
WHERE u.id = :id AND :cmd <> 'remove' ON CONFLICT DO NOTHING""")


def role_names(value: Any) -> list[str]:
    """A body that is a list of role names; 404 for one that is none."""
    if not isinstance(value, list) or len(value) > 100 or not all(isinstance(v, str) for v in value):
        raise Invalid("the body must be a list of role names")
    for role in value:
        if role not in RANK:
            raise NotFound("role", detail=3003, devmsg="there is no such role")
    return list(dict.fromkeys(value))


def group_ids(value: Any) -> list[int]:
    """A body that is a list of group ids."""
    if not isinstance(value, list) or len(value) > 1000:
        raise Invalid("the body must be a list of group ids")
    try:
        return list(dict.fromkeys(identity(v) for v in value))
    except Wrong as wrong:
        raise Invalid("a group's id " + wrong.problem, detail=wrong.detail) from None


async def _written(c: Context, ident: int, *steps: Step) -> Answer:
    await c.script(ENTITY.remembering(c, ident), *guarded(c, [ident], *steps), ENTITY.telling(c, "update"))
    c.changed(ident, 0, "update", "user", ident)
    return plain((await c.one(ENTITY.get, id=ident, **ENTITY.scope(c)))[0])


async def _roles(c: Context, ident: int) -> Answer:
    if any(RANK[role] > c.rank for role in c.body):
        raise Forbidden("the role is above your own")
    given = {"id": ident, "roles": c.body, "cmd": c.call.cmd}
    return await _written(c, ident, Step(ROLES_GO, given), Step(ROLES_COME, given))


async def _groups(c: Context, ident: int) -> Answer:
    given = {"id": ident, "groups": c.body, "cmd": c.call.cmd}
    return await _written(c, ident, Step(GROUPS_THERE, {"id": ident, "groups": c.body}), Step(GROUPS_GO, given), Step(GROUPS_COME, given))


def _calls(what: str, realm: int, run: Any, **options: Any) -> tuple[Call, ...]:
    return tuple(Call("POST", f"/v2/admin/users/:id/{what}", f"user.{what}.{cmd}", CUSTOMER_ADMIN, 11, realm, run, kind="user", cmd=cmd,
                      transact=Transact.WRITE, answer=ENTITY.row, summary=f"{cmd.capitalize()} {what} of a user", **options) for cmd in CMDS)


CALLS = (*_calls("roles", 702, _roles, read=role_names, body_schema={"type": "array", "items": {"type": "string", "enum": list(RANK)}},
                 example=["customer_admin"], refuses=(NotFound("role", detail=3003),)),
         *_calls("groups", 704, _groups, read=group_ids, body_schema={"type": "array", "items": {"type": "integer"}}, example=[12, 453, 28, 199],
                 refuses=(NotFound("group", detail=3003),)))

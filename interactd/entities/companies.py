"""Companies (contract section 4, company), and what lists one company's groups and custom fields."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve, frozen

from interactd.api.answer import Answer
from interactd.api.call import CUSTOMER_ADMIN, INTERACT_ADMIN
from interactd.api.context import Context
from interactd.api.entity import Entity
from interactd.api.fields import Columns, count, ident, server, text
from interactd.db import Statement, Step
from interactd.entities.users import MEMBER_SHOWN, User
from interactd.errors import Conflict


@frozen
class Company:
    """A company; region and area code say how its users' national and local numbers are read (additions)."""

    id: int = ident()
    name: str = text("name", 255, required=True)
    company_id: int = count("company_id", "{t}.id")
    region: str = text("region", 2)
    area_code: str = text("area_code", 10)
    users: list[User] = server("users", {"type": "array"}, "(SELECT coalesce(json_agg(%s ORDER BY u.id), '[]') FROM users u "
                               "WHERE u.company_id = {t}.id)" % MEMBER_SHOWN, row=User)


def reach(c: Context) -> Mapping[str, Any]:
    """Which companies there are for whoever asks: all for an interact_admin, else one's own."""
    return {"company": None if c.rank == 2 else c.user.company_id}


EMPTIED = Statement("companies_empty", """
WITH g AS (DELETE FROM groups WHERE company_id = ANY(:ids::bigint[]) AND NOT EXISTS (SELECT 1 FROM users u WHERE u.company_id = groups.company_id))
DELETE FROM custom_fields WHERE company_id = ANY(:ids::bigint[])
  AND NOT EXISTS (SELECT 1 FROM users u WHERE u.company_id = custom_fields.company_id)""")
RENUMBERED = Statement("companies_renumbered", "UPDATE companies SET numbers_version = numbers_version + 1 WHERE id = kept('id')::bigint")


def _after(c: Context, body: Columns, ident: int | None) -> tuple[Step, ...]:
    return (Step(RENUMBERED),) if body.keys() & {"region", "area_code"} else ()


async def _delete_ids(c: Context) -> Answer:
    """Delete companies without users, all or none; their groups and custom fields go with them."""
    return await ENTITY.remove(c, c.query["ids"], Step(EMPTIED, {"ids": c.query["ids"]}))


ENTITY = Entity(Company, table="companies", kind="company", activity="company", path="/v2/admin/companies", realm=701, may=INTERACT_ADMIN,
                owned=False, visible="(:company::bigint IS NULL OR t.id = :company)", scope=reach, after=_after)
PUT = ENTITY.calls("put")
CALLS = (*PUT, *(evolve(put, path="/v2/companies", documented=False) for put in PUT),
         *ENTITY.calls("list", "post"), *ENTITY.calls("get", may=CUSTOMER_ADMIN),
         *ENTITY.calls("delete_ids", run=_delete_ids, refuses=(Conflict("the company still has users"),)))

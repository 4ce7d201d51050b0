"""Companies (contract section 4, company), and what lists one company's groups and custom fields."""
from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson
from attrs import evolve, frozen

from interactd import keys
from interactd.api.answer import Answer
from interactd.api.body import faulty
from interactd.api.call import CUSTOMER_ADMIN, INTERACT_ADMIN
from interactd.api.context import Context
from interactd.api.entity import Entity
from interactd.api.fields import Columns, Wrong, count, ident, plain, server, string, text, texts
from interactd.db import Statement, Step
from interactd.entities.users import MEMBER_SHOWN, User
from interactd.errors import Conflict, Forbidden
from interactd.events.numbers import number


def _region(value: Any) -> str:
    try:
        return keys.region(string(value, 2))
    except ValueError as right:
        raise Wrong(f"must be {right}") from None


def _area_code(value: Any) -> str:
    if not re.fullmatch(r"\d{1,9}", string(value, 10), re.ASCII):
        raise Wrong("must be an area code in digits, such as 30 or 030 for Berlin")
    return str(value)


@frozen
class Company:
    """A company, its own numbers, and how its users' numbers are read.

    Region and area code are for national and local numbers, `lines` are its own, which never match a contact (additions).
    """

    id: int = ident()
    name: str = text("name", 255, required=True)
    company_id: int = count("company_id", "{t}.id")
    region: str = plain(_region, {"type": "string", "pattern": "^[A-Z]{2}$"}, "region")
    area_code: str = plain(_area_code, {"type": "string", "pattern": "^[0-9]{1,9}$"}, "area_code")
    lines: list[str] = texts("lines", 50, "(SELECT coalesce(json_agg(l.value ORDER BY l.canon, l.ext), '[]') FROM company_lines l "
                                          "WHERE l.company_id = {t}.id)")
    users: list[User] = server("users", {"type": "array"}, "(SELECT coalesce(json_agg(%s ORDER BY u.id), '[]') FROM users u "
                               "WHERE u.company_id = {t}.id)" % MEMBER_SHOWN, row=User)


def reach(c: Context) -> Mapping[str, Any]:
    """Which companies there are for whoever asks: all for an interact_admin, else one's own."""
    return {"company": None if c.rank == 2 else c.user.company_id}


EMPTIED = Statement("companies_empty", """
WITH g AS (DELETE FROM groups WHERE company_id = ANY(:ids::bigint[]) AND NOT EXISTS (SELECT 1 FROM users u WHERE u.company_id = groups.company_id))
DELETE FROM custom_fields WHERE company_id = ANY(:ids::bigint[])
  AND NOT EXISTS (SELECT 1 FROM users u WHERE u.company_id = custom_fields.company_id)""")
PLACE = Statement("companies_place", "SELECT k.region, k.area_code FROM companies k WHERE k.id = :id")
LINES_GO = Statement("companies_lines_go", "DELETE FROM company_lines WHERE company_id = kept('id')::bigint")
LINES_COME = Statement("companies_lines_come", """
INSERT INTO company_lines (company_id, value, canon, ext)
SELECT kept('id')::bigint, l.value, l.canon, l.ext FROM jsonb_to_recordset(:lines::jsonb) l (value text, canon text, ext text)""")
RENUMBERED = Statement("companies_renumbered", "UPDATE companies SET numbers_version = numbers_version + 1 WHERE id = kept('id')::bigint")


async def _check(c: Context, body: Columns, ident: int | None) -> None:
    """A customer_admin says of the own company what the additions are for; lines get the form they are compared by."""
    if c.rank < 2 and "name" in body:
        raise Forbidden("a company's name takes the role interact_admin")
    if "lines" in body:
        known = (await c.maybe(PLACE, id=ident)) or (None, None)
        region, area_code = (body.get(name, stored) or getattr(c.config.numbers, name)
                             for name, stored in zip(("region", "area_code"), known))
        body["lines"] = _formed(body["lines"], region, area_code)


def _formed(lines: list[str], region: str, area_code: str) -> list[Columns]:
    forms: dict[tuple[str, str], Columns] = {}
    for place, line in enumerate(lines):
        form = number(line, region, area_code)
        if form is None:
            raise faulty(f"lines[{place}]", "must be a phone number")
        forms.setdefault((form.canon, form.ext), {"value": line, "canon": form.canon, "ext": form.ext})
    return list(forms.values())


def _after(c: Context, body: Columns, ident: int | None) -> tuple[Step, ...]:
    steps = (Step(LINES_GO), Step(LINES_COME, {"lines": orjson.dumps(body["lines"]).decode()})) if "lines" in body else ()
    return (*steps, Step(RENUMBERED)) if body.keys() & {"region", "area_code"} else steps


async def _delete_ids(c: Context) -> Answer:
    """Delete companies without users, all or none; their groups and custom fields go with them."""
    return await ENTITY.remove(c, c.query["ids"], Step(EMPTIED, {"ids": c.query["ids"]}))


ENTITY = Entity(Company, table="companies", kind="company", activity="company", path="/v2/admin/companies", realm=701, may=INTERACT_ADMIN,
                owned=False, visible="(:company::bigint IS NULL OR t.id = :company)", scope=reach, check=_check, after=_after)
PUT = ENTITY.calls("put", example={"name": "xailabs GmbH"})
CALLS = (*PUT, *(evolve(put, path="/v2/companies", documented=False) for put in PUT),
         *ENTITY.calls("list"), *ENTITY.calls("get", may=CUSTOMER_ADMIN),
         *ENTITY.calls("post", may=CUSTOMER_ADMIN, example={"region": "DE", "areaCode": "30"}),
         *ENTITY.calls("delete_ids", run=_delete_ids, refuses=(Conflict("the company still has users"),)))

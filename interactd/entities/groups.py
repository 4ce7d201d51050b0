"""Groups of a company (contract section 4, group)."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve, frozen

from interactd.api.answer import Answer
from interactd.api.body import missing
from interactd.api.call import CUSTOMER_ADMIN, PAGING, USER
from interactd.api.context import Context
from interactd.api.entity import Entity, Steps
from interactd.api.fields import MAX_ID, Columns, ident, integer, server, text
from interactd.api.listing import Listing
from interactd.db import Statement, Step
from interactd.entities.users import MEMBER_SHOWN, NOT_YOURS, User, check_company
from interactd.errors import Missing, NotFound, Refused


@frozen
class Group:
    """A group; a plain user sees of its members only id and e-mail."""

    id: int = ident()
    name: str = text("name", 255, required=True)
    company_id: int = integer("company_id", 1, MAX_ID)
    users: list[User] = server("users", {"type": "array"}, f"""
      (SELECT coalesce(json_agg(CASE WHEN :full::boolean THEN {MEMBER_SHOWN}
        ELSE json_build_object('id', u.id, 'email', u.email) END ORDER BY u.id), '[]')
       FROM group_members m JOIN users u ON u.id = m.user_id WHERE m.group_id = {{t}}.id)""", row=User)


def reach(c: Context) -> Mapping[str, Any]:
    """All groups for an interact_admin, else those of one's own company; `full` for administrators."""
    return {"company": None if c.rank == 2 else c.user.company_id or 0, "full": c.rank > 0}


async def own_company(c: Context, body: Columns, ident: int | None) -> None:
    """A new row's company: the one named, if it may be, else one's own; 400 without any."""
    check_company(c, body.get("company_id"))
    if ident is None and body.get("company_id") is None:
        if c.user.company_id is None:
            raise missing("companyId")
        body["company_id"] = c.user.company_id


def company_stays(table: str) -> Steps:
    """The step that refuses another company than the row has; none where a body names none."""
    stays = Statement(f"{table}_company_stays", f"""
SELECT refuse('IA402', 'companyId never changes', '6002') FROM {table} t
WHERE t.id = kept('id')::bigint AND t.company_id IS DISTINCT FROM :company_id::bigint""")

    def before(c: Context, body: Columns, ident: int | None) -> tuple[Step, ...]:
        return (Step(stays, {"company_id": body["company_id"]}),) if ident is not None and "company_id" in body else ()
    return before


COMPANY_THERE = Statement("company_of_list_there", """
SELECT must((SELECT k.id FROM companies k WHERE k.id = :of AND (:company::bigint IS NULL OR k.id = :company)), 'company')""")
ENTITY = Entity(Group, table="groups", kind="group", activity="group", path="/v2/admin/groups", realm=704, may=CUSTOMER_ADMIN, owned=False,
                visible="(:company::bigint IS NULL OR t.company_id = :company)", scope=reach, check=own_company, before=company_stays("groups"))
OF_COMPANY = Listing("groups_of_company", "groups t", ENTITY.shown, "t.company_id = :of", first=(COMPANY_THERE,))


async def _of_company(c: Context, company: int) -> Answer:
    """Groups of a company."""
    return await OF_COMPANY.answer(c, of=company, **reach(c))


REFUSES = (Missing("companyId is missing"), NotFound("company", detail=3003), NOT_YOURS)
CHANGES = (NOT_YOURS, Refused("companyId never changes"))
ONE = (*ENTITY.calls("get", may=USER), *ENTITY.calls("post", refuses=CHANGES, example={"name": "sales department"}), *ENTITY.calls("delete"))
CALLS = (*ENTITY.calls("put", refuses=REFUSES, example={"name": "Sales dept.", "companyId": 12}), *ONE, *ENTITY.calls("delete_ids"),
         *(evolve(one, path="/v2/admin/group/:id", documented=False) for one in ONE),
         ENTITY.call("GET", "/v2/admin/companies/:id/groups", "of_company", run=_of_company, may=USER, kind="company", query=PAGING,
                     wrapped="list", summary="Groups of a company"))

"""Custom fields of a company (contract section 4, customField)."""
from __future__ import annotations

from attrs import evolve, frozen

from interactd.api.answer import Answer, plain
from interactd.api.call import CUSTOMER_ADMIN, PAGING, USER, Param, Transact
from interactd.api.context import Context
from interactd.api.entity import Entity
from interactd.api.fields import MAX_ID, choice, ident, integer, string, text
from interactd.api.listing import Listing
from interactd.db import Retriable, Statement, Step
from interactd.entities import groups
from interactd.errors import Conflict


@frozen
class CustomField:
    """A field that the contacts of a company's users may have; only its name changes."""

    id: int = ident()
    name: str = text("name", 100, required=True)
    data_type: str = choice("data_type", "varchar", required=True, create_only=True)
    entity_type: str = choice("entity_type", "contact", required=True, create_only=True)
    company_id: int = integer("company_id", 1, MAX_ID)


def reach(c: Context) -> dict[str, int | None]:
    """All fields for an interact_admin, else those of one's own company."""
    return {"company": None if c.rank == 2 else c.user.company_id or 0}


ENTITY = Entity(CustomField, table="custom_fields", kind="entity", activity="customField", path="/v2/admin/customFields", realm=705,
                may=CUSTOMER_ADMIN, owned=False, visible="(:company::bigint IS NULL OR t.company_id = :company)", scope=reach,
                check=groups.own_company, before=groups.company_stays("custom_fields"))
OF_COMPANY = Listing("custom_fields_of_company", "custom_fields t", ENTITY.shown, "t.company_id = :of AND t.entity_type = :entity_type",
                     first=(groups.COMPANY_THERE,))
ENTITY_TYPE = Param("entityType", lambda said: string(said, 50), {"type": "string"}, default="contact", example="contact")


HOLDERS = Statement("custom_fields_holders", """
SELECT DISTINCT v.user_id, number_of(v.user_id) FROM contact_custom_values v WHERE v.custom_field_id = ANY(:ids::bigint[])""")
# A value that is being stored holds its field by a foreign key: after this none comes.
HOLD = Statement("custom_fields_hold", "SELECT t.id FROM custom_fields t WHERE t.id = ANY(:ids::bigint[]) ORDER BY t.id FOR UPDATE")
_OF_HOLDER = """FROM (SELECT DISTINCT v.user_id, v.contact_id FROM contact_custom_values v WHERE v.custom_field_id = ANY(:ids::bigint[])) h
WHERE c.user_id = h.user_id AND c.id = h.contact_id"""
RENAMED = Statement("custom_fields_renamed", f"UPDATE contacts c SET seq = number_of(c.user_id) {_OF_HOLDER}")
EMPTIED = Statement("custom_fields_emptied", f"""
UPDATE contacts c SET version = c.version + 1, changed = time_of(c.user_id), seq = number_of(c.user_id) {_OF_HOLDER}""")


async def _hold(c: Context, ids: list[int], changes: Statement) -> None:
    """The contacts that hold values of these fields change by this statement, under their owners' counters."""
    owners = {row[0] for row in await c.rows(HOLDERS, ids=ids)}
    await c.take(*owners)
    numbers = dict(await c.script(Step(HOLD, {"ids": ids}), Step(HOLDERS, {"ids": ids})))
    if not owners >= numbers.keys():
        raise Retriable("a contact was given a value meanwhile")
    await c.rows(changes, ids=ids)
    for owner, seq in numbers.items():
        c.changed(owner, seq, "update", "customField", ids[0])


async def _change(c: Context, ident: int) -> Answer:
    """Rename a custom field; the contacts that hold a value of it show the new name."""
    await c.script(ENTITY.remembering(c, ident))
    await _hold(c, [ident], RENAMED)
    return await ENTITY.change(c, ident)


async def _delete_ids(c: Context) -> Answer:
    """Delete several custom fields, all or none; their values go, which is a change of the contacts that held them."""
    ids = c.query["ids"]
    await c.script(ENTITY.step(c, ENTITY.there, ids=ids))
    await _hold(c, ids, EMPTIED)
    return await ENTITY.remove(c, ids)


async def _of_company(c: Context, company: int) -> Answer:
    """Custom fields of a company."""
    return await OF_COMPANY.answer(c, of=company, entity_type=c.query["entityType"], **reach(c))


async def _own(c: Context) -> Answer:
    """Custom fields of one's own company."""
    if c.user.company_id is None:
        return plain("[]")
    return await _of_company(c, c.user.company_id)


_LISTED = {"may": USER, "kind": "company", "query": (ENTITY_TYPE, *PAGING), "wrapped": "list"}
TAKEN = Conflict("the company has a field of that name already")
PUT = ENTITY.calls("put", refuses=(*groups.REFUSES, TAKEN), example={"name": "family status", "dataType": "varchar", "entityType": "contact"})
LIST = ENTITY.call("GET", "/v2/admin/companies/:id/customFields", "of_company", run=_of_company, summary="Custom fields of a company", **_LISTED)
CALLS = (*PUT, *(evolve(put, path="/v2/customFields", documented=False) for put in PUT), *ENTITY.calls("get", may=USER),
         *ENTITY.calls("post", run=_change, transact=Transact.WRITE, refuses=(*groups.CHANGES, TAKEN), example={"name": "hair color"}),
         *ENTITY.calls("delete_ids", run=_delete_ids, transact=Transact.WRITE),
         LIST, evolve(LIST, path="/v2/admin/company/:id/customFields", documented=False),
         ENTITY.call("GET", "/v2/admin/customFields", "own", run=_own, documented=False, **_LISTED))

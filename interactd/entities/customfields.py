"""Custom fields of a company (contract section 4, customField)."""
from __future__ import annotations

from attrs import frozen

from interactd.api.answer import Answer, plain
from interactd.api.call import CUSTOMER_ADMIN, PAGING, USER, Param
from interactd.api.context import Context
from interactd.api.entity import Entity
from interactd.api.fields import MAX_ID, choice, ident, integer, string, text
from interactd.api.listing import Listing
from interactd.entities import groups
from interactd.errors import Conflict


@frozen
class CustomField:
    """A field that the contacts of a company's users may have; only its name changes."""

    id: int = ident()
    name: str = text("name", 100, required=True)
    data_type: str = choice("data_type", "varchar", required=True, create_only=True)
    entity_type: str = choice("entity_type", "contact", required=True, create_only=True)
    company_id: int = integer("company_id", 1, MAX_ID, create_only=True)


def reach(c: Context) -> dict[str, int | None]:
    """All fields for an interact_admin, else those of one's own company."""
    return {"company": None if c.rank == 2 else c.user.company_id or 0}


ENTITY = Entity(CustomField, table="custom_fields", kind="entity", activity="customField", path="/v2/admin/customFields", realm=705,
                may=CUSTOMER_ADMIN, owned=False, visible="(:company::bigint IS NULL OR t.company_id = :company)", scope=reach,
                check=groups.own_company)
OF_COMPANY = Listing("custom_fields_of_company", "custom_fields t", ENTITY.shown, "t.company_id = :of AND t.entity_type = :entity_type",
                     first=(groups.COMPANY_THERE,))
ENTITY_TYPE = Param("entityType", lambda said: string(said, 50), {"type": "string"}, default="contact")


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
CALLS = (*ENTITY.calls("put", refuses=(*groups.REFUSES, TAKEN)), *ENTITY.calls("get", may=USER), *ENTITY.calls("post", refuses=(TAKEN,)),
         *ENTITY.calls("delete_ids"),
         ENTITY.call("GET", "/v2/admin/companies/:id/customFields", "of_company", run=_of_company, summary="Custom fields of a company", **_LISTED),
         ENTITY.call("GET", "/v2/admin/customFields", "own", run=_own, documented=False, **_LISTED))

"""The lists under a contact: what belongs to it or refers to it, each in the form of its own entity (contract section 5)."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from interactd.api.answer import Answer, plain
from interactd.api.call import PAGING, USER, Call
from interactd.api.context import Context
from interactd.api.entity import Entity
from interactd.api.listing import Listing
from interactd.db import Statement, Step
from interactd.entities import deals, interactions, notes, pictures, tasks
from interactd.entities.contact_parts import PROFILES, Profiles
from interactd.entities.contacts import ANSWER, KNOWN, PROJECTIONS
from interactd.entities.projections import PROJECTION

LINKED = """t.user_id = :owner AND t.id IN (
  SELECT l.organization_id FROM contact_links l WHERE l.user_id = :owner AND l.person_id = :id UNION ALL
  SELECT l.person_id FROM contact_links l WHERE l.user_id = :owner AND l.organization_id = :id)"""
TALKED = """t.id IN (SELECT i.id FROM interactions i WHERE i.user_id = :owner AND i.person_id = :id UNION ALL
  SELECT i.id FROM interactions i WHERE i.user_id = :owner AND i.organization_id = :id)"""
CONTACTS = {name: Listing(f"contact_contacts_{name}", "contacts t", shown, LINKED, wrapped=True, first=(KNOWN,))
            for name, shown in PROJECTIONS.items()}
GET_PROFILES = Statement("contact_profiles_get", "SELECT (json_strip_nulls(%s))::text FROM contacts t WHERE t.user_id = :owner AND t.id = :id"
                         % PROFILES.replace("{t}", "t"))


def _words(name: str, table: str, column: str) -> Listing:
    source = f"""(SELECT w.{column}, row_number() OVER (ORDER BY w.{column}) AS id FROM {table} w
      WHERE w.user_id = :owner AND w.contact_id = :id) t"""
    return Listing(name, source, f"to_json(t.{column})", "true", first=(KNOWN,))


def _of(entity: Entity, where: str = "t.contact_id = :id") -> Listing:
    return Listing(f"contact_{entity.table}", f"{entity.table} t", entity.shown, f"t.user_id = :owner AND {where}", entity.order, first=(KNOWN,))


def _under(path: str, realm: int, run: Callable[..., Any], answer: Any, **options: Any) -> Call:
    given = {"query": PAGING, "wrapped": "list", **options}
    return Call("GET", f"/v2/contacts/:id/{path}", f"contact.{path}", may=USER, action=10, realm=realm, run=run, kind="contact", answer=answer,
                summary=f"List the {path} of a contact", **given)


def _listed(listing: Listing, scope: Callable[[Context], Any] | None = None) -> Callable[..., Any]:
    async def run(c: Context, ident: int) -> Answer:
        return await listing.answer(c, **{**(scope(c) if scope else {}), "owner": c.owner, "id": ident})
    return run


async def _contacts(c: Context, ident: int) -> Answer:
    return await CONTACTS[c.query["projection"]].answer(c, owner=c.owner, id=ident)


async def _profiles(c: Context, ident: int) -> Answer:
    return plain((await c.script(Step(KNOWN, {"owner": c.owner, "id": ident}), Step(GET_PROFILES, {"owner": c.owner, "id": ident})))[0][0])


def _entities(path: str, realm: int, entity: Entity, where: str = "t.contact_id = :id") -> Call:
    return _under(path, realm, _listed(_of(entity, where), entity.scope), entity.row)


TEXT = {"type": "string"}
CALLS = (
    _under("contacts", 103, _contacts, ANSWER, query=(PROJECTION, *PAGING), wrapped="data"),
    _under("profiles", 107, _profiles, Profiles, query=(), wrapped="plain"),
    _under("searchTerms", 108, _listed(_words("contact_search_terms", "contact_search_terms", "term")), TEXT),
    _under("tags", 109, _listed(_words("contact_tags", "contact_tags", "tag")), TEXT),
    _entities("notes", 106, notes.ENTITY),
    _entities("deals", 104, deals.ENTITY),
    _entities("tasks", 110, tasks.ENTITY),
    _entities("pictures", 100, pictures.ENTITY),
    _entities("interactions", 105, interactions.ENTITY, TALKED),
)

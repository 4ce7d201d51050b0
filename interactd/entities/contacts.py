"""Contacts: persons and organizations with all that belongs to them (contract section 4, contact)."""
from __future__ import annotations

from typing import Any

from attrs import frozen

from interactd.api.answer import Answer, plain
from interactd.api.body import Faults
from interactd.api.call import PAGING, flag
from interactd.api.context import Context
from interactd.api.entity import Entity
from interactd.api.fields import (Columns, Field, Wrong, boolean, choice, declare, ident, ids, items, part, server, stamp, string,
                                  text, texts, whole)
from interactd.api.listing import Listing
from interactd.db import Statement, Step
from interactd.entities import contact_parts as parts
from interactd.entities.basicinfos import SHOWN as INFO_SHOWN
from interactd.entities.basicinfos import BasicInfo, formed, place
from interactd.entities.contact_parts import Address, CustomValue, Profiles, of_contact
from interactd.entities.erasing import erase
from interactd.entities.projections import FLAT_SCHEMA, PICTURES, PROJECTION, SEARCHED, THIN, THIN_SCHEMA, flat
from interactd.errors import Fault, Refused
from interactd.events.numbers import number

PERSON = {"title": "title", "first_name": "firstName", "middle_name": "middleName", "last_name": "lastName", "profession": "profession",
          "gender": "gender"}
ORGANIZATION = {"organization_name": "organizationName", "business": "business"}
IDS = {"type": "array", "items": {"type": "integer", "format": "int64"}}


def _attached(table: str, *columns: str) -> Any:
    rows = " UNION ALL ".join(f"SELECT x.id FROM {table} x WHERE x.user_id = {{t}}.user_id AND x.{column} = {{t}}.id" for column in columns)
    return server(table, IDS, f"(SELECT coalesce(json_agg(x.id ORDER BY x.id), '[]') FROM ({rows}) x)")


def _expected_version() -> Any:
    return declare(Field(lambda v: {"version": whole(v)}, {"type": "integer"}, "{t}.version", update_only=True))


def _organization_name() -> Any:
    schema = {"type": "string", "minLength": 1, "maxLength": 255}
    return declare(Field(lambda v: {"organization_name": string(v, 255)}, schema, "{t}.organization_name",
                         columns=("organization_name",), clears={"organization_name": None}, aliases=("name",)))


@frozen
class Contact:
    """A person or an organization."""

    id: int = ident()
    version: int = _expected_version()
    contact_type: str = choice("contact_type", "person", "organization", required=True)
    hot: bool = boolean("hot")
    oneself: bool = boolean("oneself", shown="CASE WHEN {t}.oneself THEN true END")
    basic_infos: list[BasicInfo] = items(BasicInfo, of_contact("basic_infos", "b", INFO_SHOWN, "b.id"))
    addresses: list[Address] = items(Address, parts.ADDRESSES)
    profiles: Profiles = part(Profiles, parts.PROFILES)
    tags: list[str] = texts("tags", 100, parts.TAGS)
    search_terms: list[str] = texts("search_terms", 100, parts.SEARCH_TERMS)
    custom_fields: list[CustomValue] = items(CustomValue, parts.CUSTOM_FIELDS)
    related_to: list[int] = ids("related_to", parts.RELATED_TO)
    pictures: list[dict[str, str]] = server("pictures", {"type": "array", "items": {"type": "object"}}, PICTURES)
    deals: list[int] = _attached("deals", "contact_id")
    notes: list[int] = _attached("notes", "contact_id")
    tasks: list[int] = _attached("tasks", "contact_id")
    interactions: list[int] = _attached("interactions", "person_id", "organization_id")
    display_name: str = server("display_name", {"type": "string"})
    created: int = stamp("created")
    changed: int = stamp("changed")
    origin: int = server("origin", {"type": "integer", "format": "int64"})
    shared_by: int = server("shared_by", {"type": "integer", "format": "int64"})
    title: str = text("title", 255)
    first_name: str = text("first_name", 255, blank=False)
    middle_name: str = text("middle_name", 255)
    last_name: str = text("last_name", 255, blank=False)
    profession: str = text("profession", 255)
    gender: str = choice("gender", "m", "f")
    organization_name: str = _organization_name()
    business: str = text("business", 255)

    @staticmethod
    def judge(columns: Columns, create: bool, faults: Faults) -> None:
        """Faults that depend on whether it is a person or an organization; an update without contactType is judged by its row."""
        kind = columns.get("contact_type")
        if kind is not None:
            faults.unknown += [Fault(key, f"is unknown for this contactType: {kind}") for key in foreign(kind, columns)]
        wrong = {fault.attribute for fault, _ in faults.rest}
        if create and kind == "person" and not (columns.get("first_name") or columns.get("last_name") or wrong & {"firstName", "lastName"}):
            faults.missing.append(Fault("firstName", "or lastName is missing"))
        if create and kind == "organization" and not ("organization_name" in columns or "organizationName" in wrong):
            faults.missing.append(Fault("organizationName", "is missing"))
        if kind == "organization" and columns.get("organization_name", "") is None:
            faults.wrong("organizationName", Wrong("must not be empty", 2002))


def foreign(kind: str, columns: Columns) -> list[str]:
    """The attributes set that a contact of this type does not have."""
    names = PERSON if kind == "organization" else ORGANIZATION
    return [key for column, key in names.items() if columns.get(column) is not None]


ROOM = Statement("contacts_room", """
SELECT refuse('IA400', 'a user has at most ' || :most::int || ' contacts', '2004')
WHERE (SELECT count(*) FROM contacts WHERE user_id = :owner) >= :most""")
GUARD = Statement("contacts_guard", """
SELECT CASE WHEN t.contact_type <> :kind::text THEN refuse('IA402', 'contactType never changes', '6002')
  WHEN t.contact_type = 'person' AND :not_person::text <> '' THEN refuse('IA400', :not_person || ' is unknown for a person', '2005')
  WHEN t.contact_type = 'organization' AND :not_organization::text <> ''
    THEN refuse('IA400', :not_organization || ' is unknown for an organization', '2005')
  WHEN t.version <> :version::int THEN refuse('IA409', 'version conflict') END
FROM contacts t WHERE t.user_id = :owner AND t.id = kept('id')::bigint""")
NAMED = Statement("contacts_named", """
SELECT refuse('IA400', 'a name must stay', '2002') FROM contacts t WHERE t.user_id = :owner AND t.id = kept('id')::bigint
AND CASE t.contact_type WHEN 'person' THEN coalesce(t.first_name, t.last_name) ELSE t.organization_name END IS NULL""")
KNOWN = Statement("contacts_known", "SELECT must((SELECT t.id FROM contacts t WHERE t.user_id = :owner AND t.id = :id), 'contact')")

# Whoever has a task of the contact assigned, or one that shows its number, sees it change.
TAKE = Statement("contacts_take", """
SELECT take(ARRAY(SELECT :owner::bigint
  UNION SELECT t.assigned_to_id FROM tasks t WHERE t.user_id = :owner AND t.contact_id = ANY(:ids::bigint[])
  UNION SELECT t.assigned_to_id FROM basic_infos b JOIN task_numbers n ON n.user_id = b.user_id AND n.basic_info_id = b.id
    JOIN tasks t ON t.user_id = n.user_id AND t.id = n.task_id WHERE b.user_id = :owner AND b.contact_id = ANY(:ids)))""")
NOTES_GO = Statement("contacts_notes_go", """
WITH gone AS (DELETE FROM notes n WHERE n.user_id = :owner AND n.contact_id = ANY(:ids::bigint[]) RETURNING n.id)
INSERT INTO tombstones (user_id, entity_type, entity_id, seq) SELECT :owner, 'note', gone.id, number_of(:owner) FROM gone""")


async def _check(c: Context, body: Columns, ident: int | None) -> None:
    parts.counted(c, body)
    if "basic_infos" in body:
        body["basic_infos"] = await formed(c, body["basic_infos"])


def _before(c: Context, body: Columns, ident: int | None) -> tuple[Step, ...]:
    if ident is None:
        return (Step(ROOM, {"owner": c.owner, "most": c.config.limits.contacts}),)
    return (Step(GUARD, {"owner": c.owner, "kind": body.get("contact_type"), "version": body["version"],
                         "not_person": ", ".join(foreign("person", body)), "not_organization": ", ".join(foreign("organization", body))}),)


def _after(c: Context, body: Columns, ident: int | None) -> tuple[Step, ...]:
    named = (Step(NAMED, {"owner": c.owner}),) if ident is not None else ()
    return (*named, *parts.steps(c, body))


ENTITY = Entity(Contact, table="contacts", kind="contact", activity="contact", path="/v2/contacts", realm=100, wrapped=True, synced=True, take=TAKE,
                on_update={"version": "t.version + 1", "changed": "time_of(:owner)"}, check=_check, before=_before, after=_after)

PROJECTIONS = {"base": ENTITY.shown, "thin": THIN, "flat": flat(ENTITY.fields)}
LISTS = {name: Listing(f"contacts_{name}", "contacts t", shown, ENTITY.visible, wrapped=True) for name, shown in PROJECTIONS.items()}
ONE = {name: Statement(f"contacts_get_{name}", f"SELECT ({shown})::text FROM contacts t WHERE t.id = :id AND {ENTITY.visible}")
       for name, shown in PROJECTIONS.items()}


_PATTERNS = "(SELECT search_patterns(:q))"
_HOLDS = f"(s.words LIKE ALL ({_PATTERNS}::text[]) OR s.words LIKE '%' || :number || '%')"
FOUND = {name: Listing(f"contacts_found_{name}", "contacts t JOIN contact_search s ON s.user_id = t.user_id AND s.contact_id = t.id", shown,
                       f"{ENTITY.visible} AND {_HOLDS}", f"search_rank(s.name, s.words, {_PATTERNS})", wrapped=True)
         for name, shown in PROJECTIONS.items()}


async def _list(c: Context) -> Answer:
    """List contacts, or those that a search finds, best first."""
    if c.query["q"] is not None:
        form = number(c.query["q"], *place(c))          # as it would be dialled here: `011 49 …` in the USA is `+49 …`
        digits = None if form is None else form.canon.lstrip("+") + form.ext
        return await FOUND[c.query["projection"]].answer(c, owner=c.owner, q=c.query["q"], number=digits)
    return await LISTS[c.query["projection"]].answer(c, owner=c.owner)


async def _get(c: Context, ident: int) -> Answer:
    """Read a contact."""
    return plain((await c.one(ONE[c.query["projection"]], id=ident, owner=c.owner))[0])


async def remove(c: Context, ids: list[int]) -> Answer:
    """Deletes contacts, all or none, with what is only theirs; deals, tasks and interactions stay without them."""
    return await ENTITY.remove(c, ids, Step(NOTES_GO, {"owner": c.owner, "ids": ids}))


async def _delete(c: Context, ident: int) -> Answer:
    """Delete a contact; with `erase`, so that nothing of the person is left."""
    if not c.query["erase"]:
        return await remove(c, [ident])

    async def whole() -> Answer:
        await c.script(Step(TAKE, {"owner": c.owner, "ids": [ident]}))
        return await erase(c, ident, lambda: remove(c, [ident]))
    return await c.transaction(whole)


async def _delete_ids(c: Context) -> Answer:
    """Delete several contacts, all or none."""
    return await remove(c, c.query["ids"])


WEBSITE = {"type": "website", "identifier": "instagram", "value": "http://instagram.com/instagram"}
PUT = {"firstName": "John", "contactType": "person", "basicInfos": [
    {"id": 498, "type": "phone", "value": "02332667998"}, {"type": "fax", "value": "023326670"}, WEBSITE]}
POST = {"version": 12, "firstName": "Remo", "basicInfos": [
    {"id": 46, "type": "mobile", "value": "+4917134455667"}, {"type": "phone", "value": "033056434239"}, WEBSITE]}
ERASED: dict[str, Any] = {"type": "object", "required": ["code", "devmsg"], "properties": {
    "code": {"const": 204}, "devmsg": {"type": "string"}, "erased": {
        "type": "object", "description": "With `erase`: how many rows lost what they said of the person, or went.",
        "additionalProperties": {"type": "integer"}}}}
ANSWER = {"anyOf": [Contact, THIN_SCHEMA, FLAT_SCHEMA]}
CALLS = (*ENTITY.calls("put", example=PUT, refuses=parts.REFUSES),
         *ENTITY.calls("list", run=_list, query=(PROJECTION, SEARCHED, *PAGING), answer=ANSWER),
         *ENTITY.calls("get", run=_get, query=(PROJECTION,), answer=ANSWER),
         *ENTITY.calls("post", example=POST, refuses=(*parts.REFUSES, Refused("contactType never changes"))),
         *ENTITY.calls("delete", run=_delete, query=(flag("erase"),), answer=ERASED, wrapped="plain"),
         *ENTITY.calls("delete_ids", run=_delete_ids))

"""Values that stand with several contacts, and whose they are (contract section 10)."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from interactd.api import sql
from interactd.api.answer import Answer
from interactd.api.call import PAGING, USER, Param, call
from interactd.api.context import Context
from interactd.api.fields import fields_of, string
from interactd.api.listing import Listing
from interactd.entities.basicinfos import place
from interactd.entities.contacts import Contact
from interactd.events.numbers import canonical

VALUE = Param("value", lambda said: string(said, 255), {"type": "string", "maxLength": 255}, required=True, example="+12025552846")

DUPLICATES = Listing("duplicates", """(SELECT d.form, row_number() OVER (ORDER BY d.form) AS id FROM (
    SELECT b.canon || CASE b.ext WHEN '' THEN '' ELSE ';ext=' || b.ext END AS form FROM (
      SELECT canon, ext, contact_id FROM basic_infos WHERE user_id = :owner AND contact_id IS NOT NULL UNION ALL
      SELECT canon, ext, import_contact_id FROM import_infos WHERE user_id = :owner) b
    WHERE b.canon IS NOT NULL GROUP BY b.canon, b.ext HAVING count(DISTINCT b.contact_id) > 1) d) t""", "to_json(t.form)", "true")

_FORMS = "(b.canon, b.ext) IN (SELECT f.canon, f.ext FROM unnest(:canons::text[], :exts::text[]) f (canon, ext))"
CONFLICTS = Listing("conflicts", f"""(
    SELECT DISTINCT b.contact_id AS id, false AS imported FROM basic_infos b
    WHERE b.user_id = :owner AND b.contact_id IS NOT NULL AND {_FORMS} UNION ALL
    SELECT DISTINCT b.import_contact_id, true FROM import_infos b WHERE b.user_id = :owner AND {_FORMS}) t""",
                    f"""CASE WHEN t.imported THEN (SELECT import_contact_json(i) FROM import_contacts i WHERE i.user_id = :owner AND i.id = t.id)
    ELSE (SELECT {sql.shown(fields_of(Contact), "x")} FROM contacts x WHERE x.user_id = :owner AND x.id = t.id) END""", "true", wrapped=True)


@call("GET", "/v2/cleanup", cmd="getDuplicates", may=USER, realm=90, name="cleanup.duplicates", query=PAGING, wrapped="list",
      answer={"type": "string"})
async def duplicates(c: Context) -> Answer:
    """List the values that stand with more than one contact or import contact."""
    return await DUPLICATES.answer(c, owner=c.owner)


@call("GET", "/v2/cleanup", cmd="getConflicts", may=USER, realm=90, name="cleanup.conflicts", query=(VALUE, *PAGING), wrapped="data",
      answer={"anyOf": [Contact, {"type": "object", "required": ["id", "importContact"], "properties": {"importContact": {"const": True}}}]})
async def conflicts(c: Context) -> Answer:
    """List the contacts and import contacts that have a value, in any spelling."""
    found = sorted(set(_forms(c, c.query["value"])))
    return await CONFLICTS.answer(c, owner=c.owner, canons=[canon for canon, _ in found], exts=[ext for _, ext in found])


def _forms(c: Context, value: str) -> Iterator[tuple[str, str]]:
    # a `+` inside may be a blank as sent (contract section 1): both are tried
    spellings = [value, value[:1] + value[1:].replace("+", " "), *(["+" + value] if value.isascii() and value.isdigit() else [])]
    for kind in ("phone", "email", "website"):
        for spelling in spellings:
            form: Any = canonical(kind, spelling, *place(c))
            if form is not None:
                yield form.canon, form.ext


CALLS = (duplicates, conflicts)

"""Merging: several contacts and import contacts become one (contract section 10)."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import frozen

from interactd.api import body as bodies
from interactd.api.answer import Answer, updated
from interactd.api.call import USER, call
from interactd.api.context import Context
from interactd.api.entity import text as as_text
from interactd.api.fields import Columns, Wrong, fields_of, identity, ids, part
from interactd.db import Step
from interactd.entities import contact_parts as parts
from interactd.entities.basicinfos import formed
from interactd.entities.contacts import ENTITY, TAKE, Contact
from interactd.errors import Outdated, Refused
from interactd.sync import merging_sql as s


@frozen
class Merge:
    """What becomes of which contacts; `contact` is updated if it has an id, else created."""

    contact_ids: list[int] = ids("contact_ids", "")
    import_contact_ids: list[int] = ids("import_contact_ids", "")
    contact: Contact = part(Contact, "", required=True)


def read(value: Any) -> Columns:
    """The body's columns: the lists of ids, the contact's columns, its id. Errors: 400 with every fault, the contact's as `contact.…`."""
    sent, faults = bodies.as_object(value), bodies.Faults()
    said, lists = sent.get("contact"), {key: given for key, given in sent.items() if key != "contact"}
    if said is None:
        bodies.read(Merge, sent, create=True)       # says what else is wrong beside the missing contact
    ident = _ident(said, faults)
    columns = bodies.gather((f for f in fields_of(Merge) if f.name != "contact"), lists, faults, create=True)
    contact = bodies.gather(Contact, said, faults, create=said.get("id") is None, prefix="contact.") if isinstance(said, dict) else {}
    faults.check()
    merged = [i for i in columns.get("contact_ids", []) if i != ident]
    return {"id": ident, "contact": contact, "merged": merged, "imported": columns.get("import_contact_ids", [])}


def _ident(said: Any, faults: bodies.Faults) -> int | None:
    if not isinstance(said, dict):
        faults.wrong("contact", Wrong("must be an object"))
        return None
    try:
        return None if said.get("id") is None else identity(said["id"])
    except Wrong as wrong:
        faults.wrong("contact.id", wrong)
        return None


@call("POST", "/v2/contacts", cmd="merge", may=USER, realm=100, action=13, kind="contact", name="contact.merge", body=Merge, create=True,
      read=read, answer=Contact, wrapped="entity",
      example={"contactIds": [12], "importContactIds": [11, 23, 32], "contact": {
          "id": 52, "version": 4, "firstName": "Remo", "basicInfos": [{"type": "mobile", "value": "+4917134455667"}]}},
      refuses=(*parts.REFUSES, Outdated("version conflict"), Refused("contactType never changes")))
async def merge(c: Context) -> Answer:
    """Merge contacts and import contacts into one, which is updated or created; all that hangs on them moves to it."""
    contact, ident, merged = c.body["contact"], c.body["id"], c.body["merged"]
    parts.counted(c, contact, "contact.")
    if "basic_infos" in contact:
        contact["basic_infos"] = await formed(c, contact["basic_infos"])
    shown, stays, seq, _ = (await c.script(*_steps(c, contact)))[0]
    c.changed(c.owner, seq, "insert" if ident is None else "update", "contact", stays)
    for gone in merged + c.body["imported"]:
        c.changed(c.owner, seq, "delete", "contact", gone)
    return updated(shown)


def _steps(c: Context, contact: Columns) -> Iterator[Step]:
    ident, given = c.body["id"], {"owner": c.owner, "merged": c.body["merged"], "imported": c.body["imported"]}

    def step(statement: Any, **values: Any) -> Step:
        said = {**given, **values}
        return Step(statement, {name: said[name] for name in statement.names})
    known = [*given["merged"], *([] if ident is None else [ident])]
    yield step(TAKE, ids=known)
    yield step(s.THERE, ids=known)
    if ident is not None:
        yield ENTITY.remembering(c, ident)
    yield from ENTITY.before(c, contact, ident)
    yield ENTITY.step(c, ENTITY.insert if ident is None else ENTITY.update, body=as_text(contact))
    yield step(s.ALIKE)
    for name, column, own in (("basic_infos", "infos", s.INFOS), ("addresses", "addresses", s.ADDRESSES)):
        if name in contact:
            yield step(s.NAMED[column], ids=parts.ids_of(contact[name]))
        else:
            yield from (step(statement) for statement in own)
    yield from ENTITY.after(c, contact, ident)
    for name, statements in s.UNITED.items():
        if name not in contact:
            yield from (step(statement) for statement in statements)
    yield from (step(statement) for statement in s.MOVED)
    yield step(s.ROOM, most=c.config.limits.items)
    yield ENTITY.step(c, ENTITY.delete, ids=given["merged"])
    yield from (step(statement) for statement in s.GONE)
    yield ENTITY.telling(c, "insert")


CALLS = (merge,)

"""Numbers, addresses and websites, each with the form it is compared by (contract sections 4 and 6, basicInfo)."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import frozen

from interactd.api import sql
from interactd.api.answer import Answer, created, updated
from interactd.api.call import PAGING, USER, call
from interactd.api.context import Context, taking
from interactd.api.entity import Entity
from interactd.api.entity import text as body_text
from interactd.api.fields import Columns, Field, choice, count, declare, fields_of, ident, one_of, text, truth
from interactd.api.listing import Listing
from interactd.db import Statement, Step
from interactd.errors import Conflict
from interactd.events.numbers import columns

TYPES = ("email", "fax", "mobile", "phone", "website")
SUBTYPES = ("home", "work", "other")


def initially(column: str, read: Callable[[Any], Any], schema: Mapping[str, Any], **options: Any) -> Any:
    """A field whose default the statement stores, so that a row that is there already keeps its own."""
    return declare(Field(lambda v: {column: read(v)}, schema, "{t}." + column, columns=(column,), clears={column: schema["default"]},
                         **options, default_sql=f"'{schema['default']}'"))


@frozen
class BasicInfo:
    """A way to reach somebody; unassigned as long as it belongs to no contact."""

    id: int = ident()
    type: str = choice("type", *TYPES, required=True)
    subtype: str = initially("subtype", one_of(SUBTYPES), {"type": "string", "enum": list(SUBTYPES), "default": "other"})
    value: str = text("value", 255, required=True)
    identifier: str = text("identifier", 100)
    excluded: bool = initially("excluded", truth, {"type": "boolean", "default": False})


@frozen
class CountedInfo(BasicInfo):
    """A basicInfo by itself: how many events it kept away, and when the last one (additions)."""

    excluded_count: int = count("excluded_count", "nullif({t}.excluded_count, 0)")
    last_excluded: int = count("last_excluded")


SHOWN = sql.inside(fields_of(BasicInfo), "b")
STORED = "type, subtype, value, identifier, excluded, canon, ext, nsn, tail, canon_version"

VALUES = Statement("basic_infos_values", "SELECT b.id, b.value FROM basic_infos b WHERE b.user_id = :owner AND b.id = ANY(:ids::bigint[])")
FIND = Statement("basic_infos_find", """
SELECT keep('id', b.id::text), keep('old', b.old) FROM (SELECT t.id, (%s)::text AS old FROM basic_infos t
  WHERE t.user_id = :owner AND t.contact_id IS NULL AND t.canon IS NOT DISTINCT FROM :canon AND t.ext = :ext
    AND (t.canon IS NOT NULL OR t.value = :value)
  ORDER BY t.id LIMIT 1) b""" % sql.shown(fields_of(CountedInfo)))
UPDATE = Statement("basic_infos_patch", f"""
UPDATE basic_infos b SET ({STORED}) = (SELECT {STORED} FROM patched(b, :body::jsonb)) WHERE b.user_id = :owner AND b.id = kept('id')::bigint""")
INSERT = Statement("basic_infos_keep", f"""
INSERT INTO basic_infos (user_id, {STORED})
SELECT :owner, n.type, coalesce(n.subtype, 'other'), n.value, n.identifier, coalesce(n.excluded, false), n.canon, n.ext, n.nsn, n.tail,
  n.canon_version
FROM patched(NULL::basic_infos, :body::jsonb) n WHERE kept('id') IS NULL RETURNING keep('id', id::text)""")
RAISE = Statement("basic_infos_raise", """
UPDATE contacts c SET version = c.version + 1, changed = time_of(:owner), seq = number_of(:owner)
FROM basic_infos b WHERE b.user_id = :owner AND b.id = kept('id')::bigint AND c.user_id = b.user_id AND c.id = b.contact_id""")


# Whoever has a scheduled call to the number assigned sees it change.
TAKE = Statement("basic_infos_take", """
SELECT take(ARRAY(SELECT :owner::bigint
  UNION SELECT t.assigned_to_id FROM task_numbers n JOIN tasks t ON t.user_id = n.user_id AND t.id = n.task_id
    WHERE n.user_id = :owner AND n.basic_info_id = ANY(:ids::bigint[])))""")


def family(kind: str) -> str:
    """The types whose values have one form: phone (with mobile and fax), email, website."""
    return "phone" if kind in ("phone", "mobile", "fax") else kind


def place(c: Context) -> tuple[str, str]:
    """Region and area code by which the user's numbers are read: the company's, else the configuration's."""
    return c.user.region or c.config.numbers.region, c.user.area_code or c.config.numbers.area_code


def forms(c: Context, item: Columns) -> Columns:
    """The item with the columns its value is compared by, for every family of types that it may be of."""
    if "value" not in item:
        return item
    families = [family(item["type"])] if "type" in item else ["phone", "email", "website"]
    return {**item, "forms": {name: columns(name, item["value"], *place(c)) for name in families}}


async def formed(c: Context, items: Iterable[Columns]) -> list[Columns]:
    """The items with their forms; one that changes its type alone is formed by the value it has."""
    items = list(items)
    unsaid = [item["id"] for item in items if "type" in item and "value" not in item and "id" in item]
    values = dict(await c.rows(VALUES, owner=c.owner, ids=unsaid)) if unsaid else {}
    return [forms(c, {**item, "value": values[item["id"]]} if item.get("id") in values else item) for item in items]


async def _create(c: Context) -> Answer:
    """Keep a value without contact; one that is kept already is updated."""
    body = forms(c, c.body)
    form = body["forms"][family(body["type"])]
    said = body_text(body)
    steps = (taking(c.owner), Step(FIND, {"owner": c.owner, "canon": form["canon"], "ext": form["ext"], "value": body["value"]}),
             Step(UPDATE, {"owner": c.owner, "body": said}), Step(INSERT, {"owner": c.owner, "body": said}), ENTITY.telling(c, "insert"))
    return created(await ENTITY.written(c, "insert", steps))


async def _change(c: Context, ident: int) -> Answer:
    """Update a basicInfo; what it is compared by follows, and its contact's version rises."""
    body, = await formed(c, [{**c.body, "id": ident}])
    steps = (*ENTITY.taking(c, [ident]), ENTITY.remembering(c, ident), Step(UPDATE, {"owner": c.owner, "body": body_text(body)}),
             Step(RAISE, {"owner": c.owner}), ENTITY.telling(c, "update"))
    return updated(await ENTITY.written(c, "update", steps))


ENTITY = Entity(CountedInfo, table="basic_infos", kind="basicinfo", activity="basicInfo", path="/v2/basicInfos", realm=800, numbered=False,
                take=TAKE)
TAGS = Listing("tags", """(SELECT d.tag, row_number() OVER (ORDER BY d.tag) AS id
  FROM (SELECT DISTINCT tag FROM contact_tags WHERE user_id = :owner) d) t""", "to_json(t.tag)", "true")


@call("GET", "/v2/tags", may=USER, realm=500, kind="tag", name="tag.list", query=PAGING, wrapped="list",
      answer={"type": "string"})
async def tags(c: Context) -> Answer:
    """List the tags in use, sorted, each once."""
    return await TAGS.answer(c, owner=c.owner)


CALLS = (*ENTITY.calls("put", run=_create, example={"type": "phone", "value": "+491774528462", "excluded": True}),
         *ENTITY.calls("post", run=_change, example={"value": "+493029352225", "subtype": "work", "excluded": True},
                       refuses=(Conflict("the value is kept already"),)), tags)

"""What a contact is made of beside its own row: basicInfos, addresses, profiles, tags, search terms, custom fields, relations.

Each list of a body becomes one, two or three statements of the contact's script: what it refers to must be there, what it
does not name goes, what it names is stored. `kept('id')` is the contact.
"""
from __future__ import annotations

from typing import Any

from attrs import frozen

from interactd.api import sql
from interactd.api.body import faulty
from interactd.api.context import Context
from interactd.api.entity import text as as_text
from interactd.api.fields import Columns, boolean, camel, fields_of, ident, identity, one_of, part, plain, server, text
from interactd.db import Statement, Step
from interactd.entities.basicinfos import STORED, SUBTYPES, initially
from interactd.errors import Assigned, NotFound

NETWORKS = ("facebook", "aim", "gplus", "gtalk", "icq", "jabber", "linkedIn", "skype", "twitter", "xing")
MINE = "user_id = :owner AND contact_id = kept('id')::bigint"


@frozen
class Address:
    """A postal address; its keys are known in any letter case (the seed's scan shows `addressline2`)."""

    id: int = ident()
    address_line1: str = text("address_line1", 255, any_case=True)
    address_line2: str = text("address_line2", 255, any_case=True)
    address_line3: str = text("address_line3", 255, any_case=True)
    zip_code: str = text("zip_code", 20, any_case=True)
    city: str = text("city", 100, any_case=True)
    state: str = text("state", 100, any_case=True)
    country: str = text("country", 100, any_case=True)
    subtype: str = initially("subtype", one_of(SUBTYPES), {"type": "string", "enum": list(SUBTYPES), "default": "other"}, any_case=True)


@frozen
class Profile:
    """Somebody's account with a network."""

    connected: bool = boolean("connected")
    username: str = text("username", 255)
    url: str = text("url", 1000)


@frozen
class Profiles:
    """The ten networks."""

    facebook: Profile = part(Profile, "")
    aim: Profile = part(Profile, "")
    gplus: Profile = part(Profile, "")
    gtalk: Profile = part(Profile, "")
    icq: Profile = part(Profile, "")
    jabber: Profile = part(Profile, "")
    linked_in: Profile = part(Profile, "")
    skype: Profile = part(Profile, "")
    twitter: Profile = part(Profile, "")
    xing: Profile = part(Profile, "")


@frozen
class CustomValue:
    """The value of a custom field of the company; `id` is the field's."""

    id: int = plain(identity, {"type": "integer", "format": "int64"}, "id", required=True)
    name: str = server("name", {"type": "string"})
    value: str = text("value", 255)


def of_contact(table: str, alias: str, shown: str, order: str, where: str = "true") -> str:
    """A list of a contact's rows of a table, as JSON."""
    return (f"(SELECT coalesce(json_agg({shown} ORDER BY {order}), '[]') FROM {table} {alias} "
            f"WHERE {alias}.user_id = {{t}}.user_id AND {alias}.contact_id = {{t}}.id AND {where})")


ADDRESSES = of_contact("addresses", "a", sql.inside(fields_of(Address), "a"), "a.id")
TAGS = of_contact("contact_tags", "g", "g.tag", "g.tag")
SEARCH_TERMS = of_contact("contact_search_terms", "s", "s.term", "s.term")
PROFILES = """(SELECT json_build_object(%s) FROM (
  SELECT p.network, json_build_object('connected', p.connected, 'username', p.username, 'url', p.url)::text AS entity
  FROM contact_profiles p WHERE p.user_id = {t}.user_id AND p.contact_id = {t}.id OFFSET 0) p)""" % ", ".join(
    f"""'{n}', coalesce(max(p.entity) FILTER (WHERE p.network = '{n}'), '{{"connected": false}}')::json""" for n in NETWORKS)
CUSTOM_FIELDS = """(SELECT coalesce(json_agg(json_build_object('id', f.id, 'name', f.name, 'value', v.value) ORDER BY f.id), '[]')
  FROM contact_custom_values v JOIN custom_fields f ON f.id = v.custom_field_id WHERE v.user_id = {t}.user_id AND v.contact_id = {t}.id)"""
RELATED_TO = """(SELECT coalesce(json_agg(o.id ORDER BY o.id), '[]') FROM (
  SELECT l.organization_id AS id FROM contact_links l WHERE l.user_id = {t}.user_id AND l.person_id = {t}.id UNION ALL
  SELECT l.person_id FROM contact_links l WHERE l.user_id = {t}.user_id AND l.organization_id = {t}.id) o)"""

INFOS_THERE = Statement("contact_infos_there", """
SELECT CASE WHEN b.id IS NULL THEN refuse('IA404', 'basicinfo ' || i, '3003')
  WHEN b.contact_id <> kept('id')::bigint THEN refuse('IA301', 'basicInfo ' || i || ' stands with another contact') END
FROM unnest(:ids::bigint[]) i LEFT JOIN basic_infos b ON b.user_id = :owner AND b.id = i""")
INFOS_DROP = Statement("contact_infos_drop", f"DELETE FROM basic_infos WHERE {MINE} AND NOT id = ANY(:ids::bigint[])")
# An item without id takes over the unassigned basicInfo of the same canonical form, so that its events are the contact's.
INFOS_STORE = Statement("contact_infos_store", f"""
WITH v AS (SELECT e.item, e.n, (e.item ->> 'id')::bigint AS named, patched(NULL::basic_infos, e.item) AS new
    FROM jsonb_array_elements(:items::jsonb) WITH ORDINALITY e (item, n)),
  absorbed AS (SELECT DISTINCT ON (b.id) v.n, b.id FROM v JOIN basic_infos b
    ON b.user_id = :owner AND b.contact_id IS NULL AND b.canon = (v.new).canon AND b.ext = (v.new).ext
    WHERE v.named IS NULL AND NOT EXISTS (SELECT 1 FROM v o WHERE o.named = b.id) ORDER BY b.id, v.n),
  w AS (SELECT v.n, v.item, v.new, coalesce(v.named, a.id) AS id FROM v LEFT JOIN absorbed a USING (n)),
  changed AS (UPDATE basic_infos b SET (contact_id, {STORED}) = (SELECT kept('id')::bigint, {STORED} FROM patched(b, w.item))
    FROM w WHERE b.user_id = :owner AND b.id = w.id)
INSERT INTO basic_infos (user_id, contact_id, {STORED})
SELECT :owner, kept('id')::bigint, (w.new).type, coalesce((w.new).subtype, 'other'), (w.new).value, (w.new).identifier,
  coalesce((w.new).excluded, false), (w.new).canon, (w.new).ext, (w.new).nsn, (w.new).tail, (w.new).canon_version
FROM w WHERE w.id IS NULL ORDER BY w.n""")

_LINES = "address_line1, address_line2, address_line3, zip_code, city, state, country"
ADDRESSES_THERE = Statement("contact_addresses_there", f"""
SELECT refuse('IA404', 'address ' || i, '3003') FROM unnest(:ids::bigint[]) i
WHERE NOT EXISTS (SELECT 1 FROM addresses WHERE {MINE} AND id = i)""")
ADDRESSES_DROP = Statement("contact_addresses_drop", f"DELETE FROM addresses WHERE {MINE} AND NOT id = ANY(:ids::bigint[])")
ADDRESSES_STORE = Statement("contact_addresses_store", f"""
WITH v AS (SELECT e.item, e.n, (e.item ->> 'id')::bigint AS id FROM jsonb_array_elements(:items::jsonb) WITH ORDINALITY e (item, n)),
  changed AS (UPDATE addresses a SET ({_LINES}, subtype) = (SELECT {_LINES}, subtype FROM jsonb_populate_record(a, v.item))
    FROM v WHERE a.user_id = :owner AND a.id = v.id)
INSERT INTO addresses (user_id, contact_id, {_LINES}, subtype)
SELECT :owner, kept('id')::bigint, {_LINES}, coalesce(subtype, 'other')
FROM v, jsonb_populate_record(NULL::addresses, v.item - 'id') r WHERE v.id IS NULL ORDER BY v.n""")

PROFILES_DROP = Statement("contact_profiles_drop", f"DELETE FROM contact_profiles WHERE {MINE} AND network = ANY(:networks::text[])")
PROFILES_STORE = Statement("contact_profiles_store", """
INSERT INTO contact_profiles (user_id, contact_id, network, connected, username, url)
SELECT :owner, kept('id')::bigint, v.key, coalesce(n.connected, false), n.username, n.url
FROM jsonb_each(:items::jsonb) v
  LEFT JOIN contact_profiles p ON p.user_id = :owner AND p.contact_id = kept('id')::bigint AND p.network = v.key,
  LATERAL jsonb_populate_record(p, v.value) n
ON CONFLICT (user_id, contact_id, network) DO UPDATE SET connected = excluded.connected, username = excluded.username, url = excluded.url""")

TAGS_DROP = Statement("contact_tags_drop", f"DELETE FROM contact_tags WHERE {MINE} AND NOT tag = ANY(:items::text[])")
TAGS_STORE = Statement("contact_tags_store", """
INSERT INTO contact_tags (user_id, contact_id, tag) SELECT :owner, kept('id')::bigint, i FROM unnest(:items::text[]) i ON CONFLICT DO NOTHING""")
TERMS_DROP = Statement("contact_terms_drop", f"DELETE FROM contact_search_terms WHERE {MINE} AND NOT term = ANY(:items::text[])")
TERMS_STORE = Statement("contact_terms_store", """
INSERT INTO contact_search_terms (user_id, contact_id, term) SELECT :owner, kept('id')::bigint, i FROM unnest(:items::text[]) i
ON CONFLICT DO NOTHING""")

CUSTOM_THERE = Statement("contact_custom_there", """
SELECT refuse('IA404', 'entity customField ' || i, '3003') FROM unnest(:ids::bigint[]) i
WHERE NOT EXISTS (SELECT 1 FROM custom_fields f JOIN users u ON u.company_id = f.company_id WHERE u.id = :owner AND f.id = i)""")
CUSTOM_DROP = Statement("contact_custom_drop", f"DELETE FROM contact_custom_values WHERE {MINE} AND NOT custom_field_id = ANY(:staying::bigint[])")
CUSTOM_STORE = Statement("contact_custom_store", """
INSERT INTO contact_custom_values (user_id, contact_id, company_id, custom_field_id, value)
SELECT :owner, kept('id')::bigint, u.company_id, v.id, v.value
FROM jsonb_to_recordset(:items::jsonb) v (id bigint, value text), users u WHERE u.id = :owner AND v.value IS NOT NULL
ON CONFLICT (user_id, contact_id, custom_field_id) DO UPDATE SET value = excluded.value""")

LINKS_THERE = Statement("contact_links_there", """
SELECT CASE WHEN o.id IS NULL THEN refuse('IA404', 'contact ' || i, '3003')
  WHEN o.contact_type = t.contact_type THEN refuse('IA400', 'relatedTo joins a person and an organization') END
FROM contacts t CROSS JOIN unnest(:ids::bigint[]) i LEFT JOIN contacts o ON o.user_id = :owner AND o.id = i
WHERE t.user_id = :owner AND t.id = kept('id')::bigint""")
LINKS_DROP = Statement("contact_links_drop", """
DELETE FROM contact_links WHERE user_id = :owner AND (person_id = kept('id')::bigint AND NOT organization_id = ANY(:ids::bigint[])
  OR organization_id = kept('id')::bigint AND NOT person_id = ANY(:ids::bigint[]))""")
LINKS_STORE = Statement("contact_links_store", """
INSERT INTO contact_links (user_id, person_id, organization_id)
SELECT :owner, CASE t.contact_type WHEN 'person' THEN t.id ELSE i END, CASE t.contact_type WHEN 'person' THEN i ELSE t.id END
FROM contacts t CROSS JOIN unnest(:ids::bigint[]) i WHERE t.user_id = :owner AND t.id = kept('id')::bigint ON CONFLICT DO NOTHING""")

#: what a body's lists can be refused for
REFUSES = (*(NotFound(what, detail=3003) for what in ("contact", "basicinfo", "address", "entity")),
           Assigned("a basicInfo stands with another contact"))

LISTS = ("basic_infos", "addresses", "tags", "search_terms", "custom_fields", "related_to")


def counted(c: Context, body: Columns, prefix: str = "") -> None:
    """Nothing, or 400: a list that is too long, or names an id twice."""
    most = c.config.limits.items
    for name in LISTS:
        items = body.get(name, ())
        if len(items) > most:
            raise faulty(prefix + camel(name), f"must have at most {most} items", 2004)
        named = ids_of(items)
        if len(named) > len(set(named)):
            raise faulty(prefix + camel(name), "names an id twice")


def ids_of(items: Any) -> list[int]:
    """The ids that the items of a list name."""
    return [item["id"] for item in items if isinstance(item, dict) and "id" in item]


def steps(c: Context, body: Columns) -> tuple[Step, ...]:
    """What stores the lists that a body has, after the contact's own row."""
    made: list[Step] = []
    for name, statements in STORING.items():
        if name in body:
            given = {"owner": c.owner, **_values(name, body[name])}
            made += [Step(s, {n: given[n] for n in s.names}) for s in statements]
    return tuple(made)


def _values(name: str, items: Any) -> dict[str, Any]:
    if name == "profiles":
        said = {camel(network): profile for network, profile in (items if items is not None else dict.fromkeys(NETWORKS)).items()}
        return {"networks": [n for n, profile in said.items() if profile is None],
                "items": as_text({n: profile for n, profile in said.items() if profile is not None})}
    if name in ("tags", "search_terms"):
        return {"items": items}
    if name == "related_to":
        return {"ids": items}
    staying = [item["id"] for item in items if "id" in item and item.get("value", "") is not None]
    return {"ids": ids_of(items), "staying": staying, "items": as_text(items)}


STORING = {
    "basic_infos": (INFOS_THERE, INFOS_DROP, INFOS_STORE), "addresses": (ADDRESSES_THERE, ADDRESSES_DROP, ADDRESSES_STORE),
    "profiles": (PROFILES_DROP, PROFILES_STORE), "tags": (TAGS_DROP, TAGS_STORE), "search_terms": (TERMS_DROP, TERMS_STORE),
    "custom_fields": (CUSTOM_THERE, CUSTOM_DROP, CUSTOM_STORE), "related_to": (LINKS_THERE, LINKS_DROP, LINKS_STORE),
}

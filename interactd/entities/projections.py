"""A contact thin, and flat (contract section 4, Projections)."""
from __future__ import annotations

from interactd.api.call import Param, word
from interactd.api.fields import Field, Wrong, string
from interactd.entities.basicinfos import TYPES
from interactd.entities.contact_parts import NETWORKS, of_contact

PROJECTION = word("projection", "thin", "base", "flat", default="base")


def _query(said: str) -> str:
    if not said.strip():
        raise Wrong("must not be empty", 2002)
    return string(said, 100)


_TEXTS = {"type": "array", "items": {"type": "string"}}
_TEXT_OF = {"type": "object", "additionalProperties": {"type": "string"}}
_HEAD = {"id": {"type": "integer", "format": "int64"}, "version": {"type": "integer"},
         "contactType": {"type": "string", "enum": ["person", "organization"]}, "displayName": {"type": "string"}, "hot": {"type": "boolean"}}
THIN_SCHEMA = {"type": "object", "title": "thin", "required": list(_HEAD), "additionalProperties": False,
               "properties": {**_HEAD, "picture": {"type": "string"}, "extra": {"type": ["string", "integer"]}}}
FLAT_SCHEMA = {"type": "object", "title": "flat", "required": [*_HEAD, *TYPES], "properties": {
    **_HEAD, **dict.fromkeys((*TYPES, "addresses", "pictures"), _TEXTS), "profiles": _TEXT_OF, "customFields": _TEXT_OF}}

SEARCHED = Param("q", _query, {"type": "string", "minLength": 1, "maxLength": 100}, example="ada")

PICTURES = of_contact("pictures", "p", "json_build_object('type', p.type, 'url', picture_url(p.id, p.key))", "p.id")
PICTURE_URLS = of_contact("pictures", "p", "picture_url(p.id, p.key)", "p.id")

THIN = """json_strip_nulls(json_build_object('id', t.id, 'version', t.version, 'contactType', t.contact_type, 'displayName', t.display_name,
  'hot', t.hot, 'picture', (SELECT picture_url(p.id, p.key) FROM pictures p
    WHERE p.user_id = t.user_id AND p.contact_id = t.id AND p.is_default),
  'extra', (SELECT CASE count(*) WHEN 0 THEN NULL WHEN 1 THEN to_json(min(o.display_name)) ELSE to_json(count(*)) END
    FROM contact_links l JOIN contacts o ON o.user_id = l.user_id
      AND o.id = CASE t.contact_type WHEN 'person' THEN l.organization_id ELSE l.person_id END
    WHERE l.user_id = t.user_id AND (l.person_id = t.id OR l.organization_id = t.id))))"""

_LINE = """concat_ws(', ', a.address_line1, a.address_line2, a.address_line3, nullif(concat_ws(' ', a.zip_code, a.city), ''), a.state, a.country)"""
_FLATTENED = {
    "addresses": of_contact("addresses", "a", _LINE, "a.id"),
    "pictures": PICTURE_URLS,
    "profiles": """(SELECT coalesce(json_object_agg(p.network, coalesce(p.url, p.username)
      ORDER BY array_position('{%s}'::text[], p.network)), '{}') FROM contact_profiles p
      WHERE p.user_id = {t}.user_id AND p.contact_id = {t}.id AND coalesce(p.url, p.username) IS NOT NULL)""" % ",".join(NETWORKS),
    "custom_fields": """(SELECT coalesce(json_object_agg(f.name, v.value ORDER BY f.id), '{}') FROM contact_custom_values v
      JOIN custom_fields f ON f.id = v.custom_field_id WHERE v.user_id = {t}.user_id AND v.contact_id = {t}.id)""",
}


def flat(fields: tuple[Field, ...]) -> str:
    """The JSON of a contact as base, without nesting: values, lines and names instead of objects."""
    pairs = []
    for f in fields:
        if f.name == "basic_infos":
            pairs += [f"'{kind}', " + of_contact("basic_infos", "b", "b.value", "b.id", f"b.type = '{kind}'") for kind in TYPES]
        elif f.shown:
            pairs.append(f"'{f.key}', " + _FLATTENED.get(f.name, f.shown))
    return "json_strip_nulls(json_build_object(%s))" % ", ".join(pairs).replace("{t}", "t")

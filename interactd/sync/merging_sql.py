"""The statements of a merge: `kept('id')` is the contact that stays, :merged and :imported are those that go."""
from __future__ import annotations

from interactd.db import Statement

_STAYS = "kept('id')::bigint"
_MERGED = "user_id = :owner AND contact_id = ANY(:merged::bigint[])"

THERE = Statement("merge_there", """
SELECT refuse('IA404', 'contact ' || i, '3003') FROM unnest(:ids::bigint[] || :imported::bigint[]) WITH ORDINALITY e (i, n)
WHERE NOT CASE WHEN n <= cardinality(:ids::bigint[]) THEN EXISTS (SELECT 1 FROM contacts t WHERE t.user_id = :owner AND t.id = i)
  ELSE EXISTS (SELECT 1 FROM import_contacts t WHERE t.user_id = :owner AND t.id = i) END""")
ALIKE = Statement("merge_alike", f"""
SELECT refuse('IA400', 'persons and organizations can not be merged') FROM contacts t WHERE t.user_id = :owner AND t.id = {_STAYS}
AND (EXISTS (SELECT 1 FROM contacts m WHERE m.user_id = :owner AND m.id = ANY(:merged::bigint[]) AND m.contact_type <> t.contact_type)
  OR EXISTS (SELECT 1 FROM import_contacts i WHERE i.user_id = :owner AND i.id = ANY(:imported::bigint[])
    AND coalesce(i.card ->> 'contactType', 'person') <> t.contact_type))""")

# A list that the body has is final, and may name what the merged ones had.
NAMED = {
    "infos": Statement("merge_infos_named", f"UPDATE basic_infos SET contact_id = {_STAYS} WHERE {_MERGED} AND id = ANY(:ids::bigint[])"),
    "addresses": Statement("merge_addresses_named", f"UPDATE addresses SET contact_id = {_STAYS} WHERE {_MERGED} AND id = ANY(:ids::bigint[])"),
}

# Without it theirs move, equal values once.
_EQUAL = "(o.canon, o.ext) = (b.canon, b.ext) OR b.canon IS NULL AND o.canon IS NULL AND (o.type, o.value) = (b.type, b.value)"
INFOS = (
    Statement("merge_infos_move", f"""
UPDATE basic_infos b SET contact_id = {_STAYS} WHERE b.user_id = :owner AND b.contact_id = ANY(:merged::bigint[]) AND NOT EXISTS (
  SELECT 1 FROM basic_infos o WHERE o.user_id = :owner AND (o.contact_id = {_STAYS} OR o.contact_id = ANY(:merged::bigint[]) AND o.id < b.id)
    AND ({_EQUAL}))"""),
    Statement("merge_infos_import", f"""
INSERT INTO basic_infos (user_id, contact_id, type, subtype, value, identifier, canon, ext, nsn, tail, canon_version)
SELECT :owner, {_STAYS}, b.type, b.subtype, b.value, b.identifier, b.canon, b.ext, b.nsn, b.tail, b.canon_version
FROM (SELECT DISTINCT ON (coalesce(f.canon, f.type || ' ' || f.value), f.ext) f.* FROM import_infos f
  WHERE f.user_id = :owner AND f.import_contact_id = ANY(:imported::bigint[])
  ORDER BY coalesce(f.canon, f.type || ' ' || f.value), f.ext, f.import_contact_id, f.place) b
WHERE NOT EXISTS (SELECT 1 FROM basic_infos o WHERE o.user_id = :owner AND o.contact_id = {_STAYS} AND ({_EQUAL}))
ORDER BY b.import_contact_id, b.place"""),
)
_LINES = "address_line1, address_line2, address_line3, zip_code, city, state, country"


def _lines(alias: str) -> str:
    return "(" + ", ".join(f"{alias}.{line.strip()}" for line in _LINES.split(",")) + ")"


ADDRESSES = (
    Statement("merge_addresses_move", f"""
UPDATE addresses b SET contact_id = {_STAYS} WHERE b.user_id = :owner AND b.contact_id = ANY(:merged::bigint[]) AND NOT EXISTS (
  SELECT 1 FROM addresses o WHERE o.user_id = :owner AND (o.contact_id = {_STAYS} OR o.contact_id = ANY(:merged::bigint[]) AND o.id < b.id)
    AND {_lines("o")} IS NOT DISTINCT FROM {_lines("b")})"""),
    Statement("merge_addresses_import", f"""
INSERT INTO addresses (user_id, contact_id, {_LINES}, subtype)
SELECT :owner, {_STAYS}, a."addressLine1", a."addressLine2", a."addressLine3", a."zipCode", a.city, a.state, a.country, coalesce(a.subtype, 'other')
FROM import_contacts i, jsonb_to_recordset(coalesce(i.card -> 'addresses', '[]')) a ("addressLine1" text, "addressLine2" text, "addressLine3" text,
  "zipCode" text, city text, state text, country text, subtype text)
WHERE i.user_id = :owner AND i.id = ANY(:imported::bigint[]) AND NOT EXISTS (
  SELECT 1 FROM addresses o WHERE o.user_id = :owner AND o.contact_id = {_STAYS}
    AND {_lines("o")} IS NOT DISTINCT FROM (a."addressLine1", a."addressLine2", a."addressLine3", a."zipCode", a.city, a.state, a.country))"""),
)

# What is not said of the rest is united too: nothing is lost by a merge that does not speak of it.
UNITED = {
    "tags": (Statement("merge_tags", f"""
INSERT INTO contact_tags (user_id, contact_id, tag) SELECT DISTINCT :owner::bigint, {_STAYS}, g.tag FROM contact_tags g WHERE g.{_MERGED}
ON CONFLICT DO NOTHING"""),),
    "search_terms": (Statement("merge_terms", f"""
INSERT INTO contact_search_terms (user_id, contact_id, term) SELECT DISTINCT :owner::bigint, {_STAYS}, g.term
FROM contact_search_terms g WHERE g.{_MERGED}
ON CONFLICT DO NOTHING"""),),
    "profiles": (Statement("merge_profiles", f"""
INSERT INTO contact_profiles (user_id, contact_id, network, connected, username, url)
SELECT DISTINCT ON (p.network) :owner::bigint, {_STAYS}, p.network, p.connected, p.username, p.url FROM contact_profiles p WHERE p.{_MERGED}
ORDER BY p.network, p.contact_id ON CONFLICT DO NOTHING"""),),
    "custom_fields": (Statement("merge_custom", f"""
INSERT INTO contact_custom_values (user_id, contact_id, company_id, custom_field_id, value)
SELECT DISTINCT ON (v.custom_field_id) :owner::bigint, {_STAYS}, v.company_id, v.custom_field_id, v.value
FROM contact_custom_values v WHERE v.{_MERGED}
ORDER BY v.custom_field_id, v.contact_id ON CONFLICT DO NOTHING"""),),
    "related_to": (Statement("merge_links", f"""
INSERT INTO contact_links (user_id, person_id, organization_id)
SELECT DISTINCT :owner::bigint, CASE WHEN l.person_id = ANY(:merged::bigint[]) THEN {_STAYS} ELSE l.person_id END,
  CASE WHEN l.organization_id = ANY(:merged::bigint[]) THEN {_STAYS} ELSE l.organization_id END
FROM contact_links l WHERE l.user_id = :owner AND (l.person_id = ANY(:merged::bigint[]) OR l.organization_id = ANY(:merged::bigint[]))
ON CONFLICT DO NOTHING"""),),
}

MOVED = (
    Statement("merge_deals", f"UPDATE deals SET contact_id = {_STAYS}, seq = number_of(:owner) WHERE {_MERGED}"),
    Statement("merge_notes", f"UPDATE notes SET contact_id = {_STAYS}, seq = number_of(:owner) WHERE {_MERGED}"),
    Statement("merge_tasks", f"UPDATE tasks SET contact_id = {_STAYS} WHERE {_MERGED}"),
    Statement("merge_persons", f"""
UPDATE interactions SET person_id = {_STAYS}, seq = number_of(:owner) WHERE user_id = :owner AND person_id = ANY(:merged::bigint[])"""),
    Statement("merge_organizations", f"""
UPDATE interactions SET organization_id = {_STAYS}, seq = number_of(:owner) WHERE user_id = :owner AND organization_id = ANY(:merged::bigint[])"""),
    # what named a basicInfo that goes names its equal
    Statement("merge_numbers", f"""
UPDATE interactions i SET basic_info_id = o.id, seq = number_of(:owner)
FROM basic_infos b JOIN LATERAL (SELECT o.id FROM basic_infos o WHERE o.user_id = :owner AND o.contact_id = {_STAYS} AND ({_EQUAL}) LIMIT 1) o ON true
WHERE b.user_id = :owner AND b.contact_id = ANY(:merged::bigint[]) AND i.user_id = :owner AND i.basic_info_id = b.id"""),
    Statement("merge_task_numbers", f"""
INSERT INTO task_numbers (user_id, task_id, basic_info_id)
SELECT DISTINCT :owner::bigint, n.task_id, o.id FROM task_numbers n JOIN basic_infos b ON b.user_id = n.user_id AND b.id = n.basic_info_id
  JOIN LATERAL (SELECT o.id FROM basic_infos o WHERE o.user_id = :owner AND o.contact_id = {_STAYS} AND ({_EQUAL}) LIMIT 1) o ON true
WHERE n.user_id = :owner AND b.contact_id = ANY(:merged::bigint[]) ON CONFLICT DO NOTHING"""),
    Statement("merge_pictures", f"UPDATE pictures SET contact_id = {_STAYS}, is_default = false WHERE {_MERGED}"),
    Statement("merge_default_picture", f"""
UPDATE pictures SET is_default = true WHERE user_id = :owner AND id = (SELECT min(p.id) FROM pictures p
  WHERE p.user_id = :owner AND p.contact_id = {_STAYS} HAVING NOT bool_or(p.is_default))"""),
    Statement("merge_external", f"UPDATE external_contacts SET contact_id = {_STAYS} WHERE {_MERGED}"),
    Statement("merge_imported", f"""
INSERT INTO external_contacts (user_id, system, account, external_id, contact_id, etag, place, card)
SELECT :owner, i.system, i.account, i.external_id, {_STAYS}, i.etag, i.place, i.card || jsonb_build_object('basicInfos', (
  SELECT coalesce(jsonb_agg(jsonb_build_object('type', f.type, 'subtype', f.subtype, 'value', f.value) || CASE WHEN f.identifier IS NULL THEN '{{}}'
    ELSE jsonb_build_object('identifier', f.identifier) END ORDER BY f.place), '[]')
  FROM import_infos f WHERE f.user_id = i.user_id AND f.import_contact_id = i.id))
FROM import_contacts i WHERE i.user_id = :owner AND i.id = ANY(:imported::bigint[])
ON CONFLICT (user_id, system, account, external_id) DO UPDATE
SET contact_id = excluded.contact_id, etag = excluded.etag, place = excluded.place, card = excluded.card, version = NULL"""),
)
ROOM = Statement("merge_room", f"""
SELECT refuse('IA400', 'the merged contact would have more than ' || :most::int || ' ' || x.what, '2004') FROM (VALUES
  ('basicInfos', (SELECT count(*) FROM basic_infos WHERE user_id = :owner AND contact_id = {_STAYS})),
  ('addresses', (SELECT count(*) FROM addresses WHERE user_id = :owner AND contact_id = {_STAYS})),
  ('tags', (SELECT count(*) FROM contact_tags WHERE user_id = :owner AND contact_id = {_STAYS})),
  ('searchTerms', (SELECT count(*) FROM contact_search_terms WHERE user_id = :owner AND contact_id = {_STAYS}))) x (what, n) WHERE x.n > :most""")
GONE = (
    Statement("merge_imports_go", "DELETE FROM import_contacts WHERE user_id = :owner AND id = ANY(:imported::bigint[])"),
    Statement("merge_tombstones", f"""
INSERT INTO tombstones (user_id, entity_type, entity_id, seq, merged_into)
SELECT :owner, 'contact', i, number_of(:owner), {_STAYS} FROM unnest(:merged::bigint[] || :imported::bigint[]) i
ON CONFLICT (user_id, entity_type, entity_id) DO UPDATE SET merged_into = excluded.merged_into"""),
)

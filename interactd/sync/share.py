"""Sharing: each member of some groups gets a copy of a contact (contract section 10)."""
from __future__ import annotations

from typing import Any

from interactd.api.answer import Answer, updated
from interactd.api.body import Nothing
from interactd.api.call import USER, Param, Transact, call, id_list
from interactd.api.context import Context
from interactd.db import Statement, Step
from interactd.entities.contacts import ENTITY, Contact
from interactd.errors import NotFound, Refused

MOST = 500
GROUPS = Param("groups", id_list, {"type": "string", "pattern": r"^\d+(,\d+)*$"}, required=True, example="12,32")
_OWN = """contact_type, title, first_name, middle_name, last_name, profession, gender, organization_name, business"""
_COPIES = "unnest(:users::bigint[], :copies::bigint[]) m (user_id, copy)"

IN_COMPANY = Statement("share_groups", """
SELECT refuse('IA404', 'group ' || i) FROM unnest(:groups::bigint[]) i
WHERE NOT EXISTS (SELECT 1 FROM groups g JOIN users u ON u.company_id = g.company_id WHERE g.id = i AND u.id = :owner)""")
MEMBERS = Statement("share_members", """
SELECT DISTINCT u.id FROM group_members m JOIN users u ON u.id = m.user_id AND u.active WHERE m.group_id = ANY(:groups::bigint[]) LIMIT :most""")
ASSIGNEES = Statement("share_assignees", "SELECT DISTINCT t.assigned_to_id FROM tasks t WHERE t.user_id = :owner AND t.contact_id = :id")
RECEIVERS = Statement("share_receivers", """
INSERT INTO share_receipts (user_id, origin)
SELECT m, coalesce(t.origin, t.id) FROM contacts t, unnest(:members::bigint[]) m WHERE t.user_id = :owner AND t.id = :id
ON CONFLICT DO NOTHING RETURNING user_id""")
FULL = Statement("share_full", """
SELECT refuse('IA400', 'a member has ' || :most::int || ' contacts already', '2004') FROM unnest(:users::bigint[]) m
WHERE (SELECT count(*) FROM contacts c WHERE c.user_id = m) >= :most LIMIT 1""")
COPY = Statement("share_copy", f"""
INSERT INTO contacts (user_id, {_OWN}, hot, oneself, created, origin, shared_by, seq)
SELECT m, {_OWN}, m = :owner AND hot, m = :owner AND oneself, CASE m WHEN :owner THEN created ELSE time_of(m) END, coalesce(origin, id), :owner,
  number_of(m)
FROM contacts, unnest(:users::bigint[]) m WHERE user_id = :owner AND id = :id RETURNING user_id, id""")

# What colleagues get: rows of their own; `excluded` is personal. A value that they keep unassigned becomes the copy's.
_MINE = "b.user_id = :owner AND b.contact_id = :id"
CHILDREN = (
    Statement("share_infos_absorbed", f"""
UPDATE basic_infos k SET contact_id = x.copy, type = x.type, subtype = x.subtype, value = x.value, identifier = x.identifier
FROM (SELECT DISTINCT ON (m.user_id, b.canon, b.ext) m.user_id, m.copy, b.* FROM basic_infos b, {_COPIES} WHERE {_MINE}
  ORDER BY m.user_id, b.canon, b.ext, b.id) x (owner_id, copy, id, user_id, contact_id, type, subtype, value, identifier, excluded, excluded_count,
    last_excluded, canon, ext, nsn, tail, canon_version)
WHERE k.user_id = x.owner_id AND k.contact_id IS NULL AND k.canon = x.canon AND k.ext = x.ext"""),
    Statement("share_infos", f"""
INSERT INTO basic_infos (user_id, contact_id, type, subtype, value, identifier, canon, ext, nsn, tail, canon_version)
SELECT m.user_id, m.copy, b.type, b.subtype, b.value, b.identifier, b.canon, b.ext, b.nsn, b.tail, b.canon_version
FROM basic_infos b, {_COPIES} WHERE {_MINE} AND NOT EXISTS (SELECT 1 FROM basic_infos k
  WHERE k.user_id = m.user_id AND k.contact_id = m.copy AND k.canon = b.canon AND k.ext = b.ext AND k.type = b.type AND k.value = b.value)
ORDER BY b.id"""),
    Statement("share_addresses", f"""
INSERT INTO addresses (user_id, contact_id, address_line1, address_line2, address_line3, zip_code, city, state, country, subtype)
SELECT m.user_id, m.copy, b.address_line1, b.address_line2, b.address_line3, b.zip_code, b.city, b.state, b.country, b.subtype
FROM addresses b, {_COPIES} WHERE {_MINE} ORDER BY b.id"""),
    Statement("share_profiles", f"""
INSERT INTO contact_profiles (user_id, contact_id, network, connected, username, url)
SELECT m.user_id, m.copy, b.network, b.connected, b.username, b.url FROM contact_profiles b, {_COPIES} WHERE {_MINE}"""),
    Statement("share_tags", f"""
INSERT INTO contact_tags (user_id, contact_id, tag) SELECT m.user_id, m.copy, b.tag FROM contact_tags b, {_COPIES} WHERE {_MINE}"""),
    Statement("share_custom", f"""
INSERT INTO contact_custom_values (user_id, contact_id, company_id, custom_field_id, value)
SELECT m.user_id, m.copy, b.company_id, b.custom_field_id, b.value FROM contact_custom_values b, {_COPIES} WHERE {_MINE}"""),
    Statement("share_pictures", f"""
INSERT INTO pictures (user_id, contact_id, is_default, type, image, thumb64, thumb256, media_type, etag, source_url)
SELECT m.user_id, m.copy, b.is_default, b.type, b.image, b.thumb64, b.thumb256, b.media_type, b.etag, b.source_url
FROM pictures b, {_COPIES} WHERE {_MINE} ORDER BY b.id"""),
)


def _moved(table: str, column: str = "contact_id", numbered: str = "") -> Statement:
    return Statement(f"share_move_{table}_{column}", f"UPDATE {table} SET {column} = :copy{numbered} WHERE user_id = :owner AND {column} = :id")


# The sharer's copy takes over the rows themselves, so that what refers to them stays right.
MOVES = (
    *(_moved(table) for table in ("basic_infos", "addresses", "contact_profiles", "contact_tags", "contact_search_terms", "contact_custom_values",
                                  "pictures", "external_contacts")),
    *(_moved("contact_links", column) for column in ("person_id", "organization_id")),
    *(_moved(table, "contact_id", ", seq = number_of(:owner)") for table in ("deals", "notes")),
    _moved("tasks"),           # numbered by the schema, for the assignees too
    *(_moved("interactions", column, ", seq = number_of(:owner)") for column in ("person_id", "organization_id")),
)
SUCCESSOR = Statement("share_successor", """
UPDATE tombstones SET merged_into = :copy WHERE user_id = :owner AND entity_type = 'contact' AND entity_id = :id""")
LINKED = Statement("share_linked", """
UPDATE contacts c SET version = c.version + 1, changed = time_of(:owner), seq = number_of(:owner) FROM contact_links l
WHERE l.user_id = :owner AND c.user_id = :owner
  AND (l.person_id = :copy AND c.id = l.organization_id OR l.organization_id = :copy AND c.id = l.person_id)""")
TOLD = Statement("share_told", f"""
SELECT x.entity::text, x.user_id, x.id, number_of(x.user_id), record(x.user_id, :owner, 'insert', 'contact', x.id, NULL, x.entity)
FROM (SELECT t.user_id, t.id, {ENTITY.shown} AS entity FROM contacts t JOIN {_COPIES} ON m.user_id = t.user_id AND m.copy = t.id OFFSET 0) x""")


REFUSES = (NotFound("group"), Refused("the groups have no active members"), Refused("the groups have too many members", detail=2004))


@call("POST", "/v2/contacts/:id", cmd="share", may=USER, realm=100, action=16, kind="contact", name="contact.share", query=(GROUPS,), body=Nothing,
      answer=Contact, wrapped="entity", transact=Transact.WRITE, refuses=REFUSES)
async def share(c: Context, ident: int) -> Answer:
    """Share a contact with groups: each member gets a copy; the sharer's own copy replaces the original."""
    members = await _members(c)
    given = {"owner": c.owner, "id": ident}
    assignees = [row[0] for row in await c.rows(ASSIGNEES, **given)]
    await c.take(c.owner, *members, *assignees)
    rows = await c.script(ENTITY.step(c, ENTITY.there, ids=[ident]), Step(RECEIVERS, {**given, "members": [c.owner, *members]}))
    users = sorted({c.owner, *(row[0] for row in rows)})
    others = [user for user in users if user != c.owner]
    copies = dict(await c.script(Step(FULL, {"users": others, "most": c.config.limits.contacts}), Step(COPY, {**given, "users": users})))
    told = await c.script(*_steps(c, ident, copies, others))
    for _, user, copy, seq, _ in told:
        c.changed(user, seq, "insert", "contact", copy)
        if user == c.owner:
            c.changed(user, seq, "delete", "contact", ident)
    return updated(next(shown for shown, user, *_ in told if user == c.owner))


async def _members(c: Context) -> list[int]:
    given = {"groups": c.query["groups"]}
    rows = await c.script(Step(IN_COMPANY, {**given, "owner": c.owner}), Step(MEMBERS, {**given, "most": MOST + 1}))
    if not rows:
        raise Refused("the groups have no active members")
    if len(rows) > MOST:
        raise Refused(f"the groups have more than {MOST} members", detail=2004)
    return [row[0] for row in rows if row[0] != c.owner]


def _steps(c: Context, ident: int, copies: dict[int, int], others: list[int]) -> tuple[Step, ...]:
    theirs = {"owner": c.owner, "id": ident, "users": others, "copies": [copies[user] for user in others]}
    own: dict[str, Any] = {"owner": c.owner, "id": ident, "copy": copies[c.owner]}
    every = {"owner": c.owner, "users": list(copies), "copies": list(copies.values())}
    return (*(Step(s, theirs) for s in CHILDREN), *(Step(s, own) for s in (*MOVES, LINKED)), ENTITY.step(c, ENTITY.delete, ids=[ident]),
            Step(SUCCESSOR, own), Step(TOLD, every))


CALLS = (share,)

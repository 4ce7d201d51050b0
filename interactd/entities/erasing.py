"""Erasing: a person goes with every trace, and no import brings the person back (contract section 12).

What is left are keyed digests (`erased_people`) of what the person is known by: ids in other systems, e-mail addresses, mobile numbers,
and the name together with any other number, since a number alone may be a whole company's.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

import orjson
from attrs import frozen

from interactd.api.answer import Answer, value
from interactd.api.context import Context
from interactd.auth.triggerkeys import TriggerKeys
from interactd.db import Statement

# What the person is known by, and the rows in which something of the person stands. Contacts that were merged into this one count as it.
TRACES = Statement("erase_traces", """
WITH RECURSIVE same (id) AS (SELECT :id::bigint
  UNION SELECT m.entity_id FROM tombstones m JOIN same s ON m.merged_into = s.id WHERE m.user_id = :owner AND m.entity_type = 'contact'),
info AS (SELECT b.id, b.type, b.canon, b.ext FROM basic_infos b WHERE b.user_id = :owner AND b.contact_id = :id),
waiting AS (SELECT DISTINCT f.import_contact_id AS id FROM import_infos f JOIN info ON f.canon = info.canon AND f.ext = info.ext
  WHERE f.user_id = :owner AND info.type IN ('email', 'mobile'))
SELECT t.display_name, (SELECT json_agg(json_build_array(info.type, info.canon, info.ext)) FROM info WHERE info.canon IS NOT NULL)::text,
  (SELECT json_agg(json_build_array(x.system, x.account, x.external_id)) FROM (
    SELECT e.system, e.account, e.external_id FROM external_contacts e WHERE e.user_id = :owner AND e.contact_id IN (SELECT id FROM same)
    UNION SELECT i.system, i.account, i.external_id FROM import_contacts i WHERE i.user_id = :owner AND i.id IN (SELECT id FROM waiting)) x)::text,
  ARRAY(SELECT id FROM same), ARRAY(SELECT id FROM info), ARRAY(SELECT id FROM waiting),
  ARRAY(SELECT i.id FROM interactions i WHERE i.user_id = :owner
    AND (i.person_id = :id OR i.organization_id = :id OR i.basic_info_id IN (SELECT id FROM info))),
  ARRAY(SELECT n.id FROM notes n WHERE n.user_id = :owner AND n.contact_id = :id),
  ARRAY(SELECT p.id FROM pictures p WHERE p.user_id = :owner AND p.contact_id = :id)
FROM contacts t WHERE t.user_id = :owner AND t.id = :id""")
REMEMBER = Statement("erase_remember", """
INSERT INTO erased_people (user_id, mark, key_id) SELECT :owner, m, :key_id FROM unnest(:marks::bytea[]) m ON CONFLICT DO NOTHING""")
PUSHES = Statement("erase_pushes", """
UPDATE deliveries d SET failed_at = now(), failed = 'erased', due_at = NULL WHERE d.user_id = :owner AND d.interaction_id = ANY(:events::bigint[])
  AND d.failed_at IS NULL AND d.acked_at IS NULL AND d.pushed_at IS NULL AND (d.sent_at IS NULL OR d.due_at IS NOT NULL) RETURNING 1""")
UNKNOWN = Statement("erase_unassigned", """
DELETE FROM basic_infos b WHERE b.user_id = :owner AND b.contact_id IS NULL AND b.id IN (
  SELECT i.basic_info_id FROM interactions i WHERE i.user_id = :owner AND i.id = ANY(:events::bigint[])) RETURNING b.id""")
# A device that resumes is told that there was an event, and no more.
EVENTS = Statement("erase_events", """
UPDATE interactions i SET data = NULL, basic_info_id = NULL, seq = number_of(:owner), notice = json_strip_nulls(json_build_object(
  'type', i.type, 'interactionId', i.id, 'time', i.time, 'seq', i.created_seq, 'late', CASE WHEN i.late THEN true END))::text
WHERE i.user_id = :owner AND i.id = ANY(:events::bigint[]) RETURNING 1""")
IMPORTS = Statement("erase_imports", """
WITH entries AS (DELETE FROM external_contacts e WHERE e.user_id = :owner AND e.contact_id = ANY(:same::bigint[]) RETURNING 1),
waiting AS (DELETE FROM import_contacts i WHERE i.user_id = :owner AND i.id = ANY(:waiting::bigint[]) RETURNING 1)
SELECT 1 FROM entries UNION ALL SELECT 1 FROM waiting""")
STATES = Statement("erase_states", """
UPDATE activities a SET old_state = NULL, new_state = NULL
WHERE a.user_id = :owner AND (a.old_state IS NOT NULL OR a.new_state IS NOT NULL) AND CASE a.entity_type
  WHEN 'contact' THEN a.entity_id = ANY(:same::bigint[]) WHEN 'basicInfo' THEN a.entity_id = ANY(:infos::bigint[])
  WHEN 'interaction' THEN a.entity_id = ANY(:events::bigint[]) WHEN 'note' THEN a.entity_id = ANY(:notes::bigint[])
  WHEN 'picture' THEN a.entity_id = ANY(:pictures::bigint[])
  WHEN 'deal' THEN :named::text[] && ARRAY[a.old_state #>> '{relatedTo,id}', a.new_state #>> '{relatedTo,id}']
  WHEN 'task' THEN :named::text[] && ARRAY[CASE a.old_state #>> '{relatedTo,type}' WHEN 'contact' THEN a.old_state #>> '{relatedTo,id}' END,
    CASE a.new_state #>> '{relatedTo,type}' WHEN 'contact' THEN a.new_state #>> '{relatedTo,id}' END]
  ELSE false END RETURNING 1""")
KNOWN = Statement("erased_marks", "SELECT e.mark FROM erased_people e WHERE e.user_id = :owner AND e.mark = ANY(:marks::bytea[])")

#: names in `erased` of the answer, and in which order it is done
COUNTED = {"pushes": PUSHES, "basicInfos": UNKNOWN, "interactions": EVENTS, "importRows": IMPORTS}


@frozen
class Traits:
    """What a person is known by: a name, (type, canonical value, extension) of basicInfos, (system, account, id) of entries elsewhere."""

    name: str
    infos: Iterable[Iterable[str]]
    entries: Iterable[Iterable[str]]

    @property
    def said(self) -> frozenset[str]:
        """A text for each."""
        called = " ".join(self.name.casefold().split())
        texts = {"\0".join(("entry", *entry)) for entry in self.entries}
        for kind, canon, ext in self.infos:
            texts.add("\0".join(("called", called, canon, ext)))
            if kind in ("email", "mobile"):
                texts.add("\0".join(("reached", canon, ext)))
        return frozenset(texts)


async def erase(c: Context, ident: int, remove: Callable[[], Awaitable[Answer]]) -> Answer:
    """A contact goes by `remove` (within the call's transaction, its counters taken), and every trace of it; the answer counts what went."""
    name, infos, entries, same, info_ids, waiting, events, notes, pictures = await c.one(TRACES, owner=c.owner, id=ident)
    rows = {"owner": c.owner, "same": same, "infos": info_ids, "waiting": waiting, "events": events, "notes": notes, "pictures": pictures,
            "named": [str(one) for one in same]}
    traits = Traits(name, orjson.loads(infos or "[]"), orjson.loads(entries or "[]"))
    keys = c.app.trigger_keys
    await c.rows(REMEMBER, owner=c.owner, key_id=keys.newest, marks=[keys.marks(said)[keys.newest] for said in sorted(traits.said)])
    went = {what: len(await c.rows(statement, **{n: rows[n] for n in statement.names})) for what, statement in COUNTED.items()}
    went["basicInfos"] += len(info_ids)
    await remove()
    went["activities"] = len(await c.rows(STATES, **{n: rows[n] for n in STATES.names}))
    return value({"code": 204, "devmsg": "success", "erased": went})


async def erased(c: Context, people: Mapping[str, Traits]) -> frozenset[str]:
    """The keys of those people whom the user had erased."""
    keys: TriggerKeys = c.app.trigger_keys
    marked = {key: [mark for said in traits.said for mark in keys.marks(said).values()] for key, traits in people.items()}
    known = {bytes(row[0]) for row in await c.rows(KNOWN, owner=c.owner, marks=[mark for marks in marked.values() for mark in marks])}
    return frozenset(key for key, marks in marked.items() if not known.isdisjoint(marks))

"""The statements of an import. Each script of them is a transaction of its own: one entry, or the import's state."""
from __future__ import annotations

from typing import Any

import orjson
from attrs import evolve, frozen

from interactd.api.context import Context
from interactd.db import Statement, Step
from interactd.entities.contacts import ENTITY, NOTES_GO

_BOOK = "user_id = :owner AND system = :system AND account = :account"
_ENTRY = _BOOK + " AND external_id = :external_id"
LEASE = "interval '2 minutes'"

# One import of an address book at a time; one whose node died is over when its lease ends.
CLAIM = Statement("import_claim", f"""
INSERT INTO import_states (user_id, system, account, run, until, started)
VALUES (:owner, :system, :account, :run, now() + {LEASE}, now_ms())
ON CONFLICT (user_id, system, account) DO UPDATE SET run = excluded.run, until = excluded.until, started = excluded.started, progress = '{{}}'
  WHERE import_states.until IS NULL OR import_states.until < now()
RETURNING token::text, signature, started""")
KEEP = Statement("import_keep", f"""
UPDATE import_states SET until = now() + {LEASE}, progress = :progress::jsonb, told = now() WHERE {_BOOK} AND run = :run RETURNING 1""")
END = Statement("import_end", f"""
UPDATE import_states SET run = NULL, until = NULL, progress = :progress::jsonb, told = now() WHERE {_BOOK} AND run = :run""")
SUCCEED = Statement("import_succeed", f"""
UPDATE import_states SET run = NULL, until = NULL, progress = :progress::jsonb, told = now(), import_time = started,
  token = CASE WHEN :keep::boolean THEN token ELSE :token::jsonb END, signature = CASE WHEN :keep::boolean THEN signature ELSE :signature END
WHERE {_BOOK} AND run = :run""")
STATUS = Statement("import_status", """
SELECT coalesce(json_agg(json_strip_nulls(json_build_object('externalSystem', s.system, 'externalSystemAccount', s.account,
    'running', coalesce(s.until > now(), false), 'started', s.started, 'importTime', s.import_time, 'progress', s.progress))
  ORDER BY s.started DESC), '[]')::text
FROM import_states s WHERE s.user_id = :owner""")

# A wipe removes the row first: then nothing more is stored.
HELD = Statement("import_held", f"""
SELECT refuse('IA410', 'the import was ended') WHERE NOT EXISTS (SELECT 1 FROM import_states WHERE {_BOOK} AND run = :run FOR KEY SHARE)""")

KNOWN = Statement("import_known", f"""
SELECT external_id, place, etag, contact_id, photo FROM external_contacts WHERE {_BOOK} AND external_id > :after ORDER BY external_id LIMIT :most""")
WAITING = Statement("import_waiting", f"""
SELECT external_id, place, id FROM import_contacts WHERE {_BOOK} AND external_id > :after ORDER BY external_id LIMIT :most""")
TAKEN = Statement("import_taken", """
SELECT DISTINCT b.canon, b.ext FROM unnest(:canons::text[], :exts::text[]) f (canon, ext)
  JOIN basic_infos b ON b.user_id = :owner AND b.canon = f.canon AND b.ext = f.ext
WHERE b.contact_id IS NOT NULL AND b.type <> 'website' AND NOT (:shared::boolean AND EXISTS (SELECT 1 FROM external_contacts e
  WHERE e.user_id = b.user_id AND e.contact_id = b.contact_id AND e.system = :system AND e.account = :account))""")

LINK = Statement("import_link", """
INSERT INTO external_contacts (user_id, system, account, external_id, contact_id, place, etag, card, version)
SELECT :owner, :system, :account, :external_id, t.id, :place, :etag, :card::jsonb, CASE WHEN NOT :edited::boolean THEN t.version END
FROM contacts t WHERE t.user_id = :owner AND t.id = kept('id')::bigint
ON CONFLICT (user_id, system, account, external_id) DO UPDATE
SET contact_id = excluded.contact_id, place = excluded.place, etag = excluded.etag, card = excluded.card, version = excluded.version""")
READ_AGAIN = Statement("import_read_again", f"UPDATE external_contacts SET etag = :etag, card = :card::jsonb, place = :place WHERE {_ENTRY}")
MOVED = Statement("import_moved", f"UPDATE external_contacts SET external_id = :new_id, place = :place WHERE {_ENTRY} RETURNING 1")
BASE = Statement("import_base", f"""
SELECT e.card::text, e.version IS NOT DISTINCT FROM t.version, ({ENTITY.shown})::text FROM external_contacts e
  JOIN contacts t ON t.user_id = e.user_id AND t.id = e.contact_id
WHERE e.user_id = :owner AND e.system = :system AND e.account = :account AND e.external_id = :external_id""")

WAITS = Statement("import_waits", """
INSERT INTO import_contacts (user_id, system, account, external_id, place, etag, card, display_name)
VALUES (:owner, :system, :account, :external_id, :place, :etag, :card::jsonb, :name)
ON CONFLICT (user_id, system, account, external_id) DO UPDATE
SET place = excluded.place, etag = excluded.etag, card = excluded.card, display_name = excluded.display_name, at = now()
RETURNING keep('id', id::text)""")
WAITS_NO_INFOS = Statement("import_waits_no_infos", "DELETE FROM import_infos WHERE user_id = :owner AND import_contact_id = kept('id')::bigint")
WAITS_INFOS = Statement("import_waits_infos", """
WITH added AS (INSERT INTO import_infos (user_id, import_contact_id, place, type, subtype, value, identifier, canon, ext, nsn, tail, canon_version)
  SELECT :owner, kept('id')::bigint, v.n, v.type, v.subtype, v.value, v.identifier, v.canon, v.ext, v.nsn, v.tail, v.canon_version
  FROM jsonb_to_recordset(:infos::jsonb) v (n int, type text, subtype text, value text, identifier text, canon text, ext text, nsn text, tail text,
    canon_version int))
SELECT kept('id')::bigint""")
WAITS_NO_MORE = Statement("import_waits_no_more", f"DELETE FROM import_contacts WHERE {_ENTRY}")

# What was edited here, or has something hanging on it, stays.
UNTOUCHED = Statement("import_untouched", """
SELECT refuse('IA410', 'the contact is in use here') FROM external_contacts e JOIN contacts t ON t.user_id = e.user_id AND t.id = e.contact_id
WHERE e.user_id = :owner AND e.system = :system AND e.account = :account AND e.external_id = :external_id
  AND (e.version IS DISTINCT FROM t.version OR EXISTS (SELECT 1 FROM notes n WHERE n.user_id = t.user_id AND n.contact_id = t.id)
    OR EXISTS (SELECT 1 FROM deals d WHERE d.user_id = t.user_id AND d.contact_id = t.id)
    OR EXISTS (SELECT 1 FROM tasks k WHERE k.user_id = t.user_id AND k.contact_id = t.id)
    OR EXISTS (SELECT 1 FROM interactions i WHERE i.user_id = t.user_id AND (i.person_id = t.id OR i.organization_id = t.id))
    OR EXISTS (SELECT 1 FROM external_contacts o WHERE o.user_id = t.user_id AND o.contact_id = t.id
      AND (o.system, o.account, o.external_id) <> (e.system, e.account, e.external_id)))""")
FORGET = Statement("import_forget", f"DELETE FROM external_contacts WHERE {_ENTRY}")


def as_json(value: Any) -> str:
    """The text of a jsonb parameter."""
    return orjson.dumps(value).decode()


PICTURE = Statement("import_picture", """
SELECT p.id FROM pictures p WHERE p.user_id = :owner AND p.contact_id = :contact AND p.type = :type ORDER BY p.id LIMIT 1""")
PICTURE_OF = Statement("import_picture_of", "UPDATE pictures SET type = :type WHERE user_id = :owner AND id = kept('id')::bigint AND type <> :type")
PICTURED = Statement("import_pictured", f"UPDATE external_contacts SET photo = :mark WHERE {_ENTRY}")


@frozen
class Book:
    """A user's address book in another system, held by one import."""

    c: Context
    system: str
    account: str
    run: str
    external_id: str = ""

    def of(self, external_id: str) -> Book:
        """The same, for the statements about one entry."""
        return evolve(self, external_id=external_id)

    def step(self, statement: Statement, **values: Any) -> Step:
        """A statement with what it wants of the book and `values`."""
        given = {"owner": self.c.owner, "system": self.system, "account": self.account, "run": self.run, "external_id": self.external_id, **values}
        return Step(statement, {name: given[name] for name in statement.names})

    async def rows(self, *steps: Step) -> list[tuple[Any, ...]]:
        """The rows of the last of these steps, which are one transaction."""
        return await self.c.script(*steps)

    def told(self) -> None:
        """What was announced is published: its transaction is committed."""
        for event in self.c.announced:
            self.c.app.hub.publish(event)
        self.c.announced.clear()


def storing(book: Book, steps: tuple[Step, ...], **link: Any) -> tuple[Step, ...]:
    """An entity's write (take, …, telling) that holds the import and links the entry with the contact."""
    take, *work, telling = steps
    return (take, book.step(HELD), *work, book.step(LINK, **link), telling)


def leaving(book: Book, contact: int) -> tuple[Step, ...]:
    """The script that deletes a contact whose entry is gone; IA410 when it is in use here."""
    given = {"owner": book.c.owner, "ids": [contact]}
    return ENTITY.delete_steps(book.c, [contact], book.step(HELD), book.step(UNTOUCHED), Step(NOTES_GO, given), book.step(FORGET))


def waiting(book: Book, entry: dict[str, Any], infos: list[dict[str, Any]]) -> tuple[Step, ...]:
    """The script that keeps an entry as an import contact and answers its id."""
    return (book.step(HELD), book.step(WAITS, **entry), book.step(WAITS_NO_INFOS), book.step(WAITS_INFOS, infos=as_json(infos)))

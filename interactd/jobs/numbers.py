"""Canonical forms are renewed when the rules, the metadata or a company's region change (contract 6.4)."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from interactd.api.context import taking
from interactd.config import Config
from interactd.db import Database, Statement, Step
from interactd.events.numbers import columns, number, version

BATCH = 100          # parsing so many numbers holds the reactor for some milliseconds

PLACES = Statement("numbers_places", """
SELECT 0::bigint, NULL::text, NULL::text UNION ALL SELECT c.id, c.region, c.area_code FROM companies c""")
STALE = Statement("numbers_stale", """
SELECT b.id, b.user_id, b.type, b.value, p.region, p.area_code
FROM basic_infos b JOIN users u ON u.id = b.user_id
  JOIN jsonb_to_recordset(:places::jsonb) p (company bigint, region text, area_code text, version int) ON p.company = coalesce(u.company_id, 0)
WHERE b.id > :after::bigint AND b.canon_version <> p.version ORDER BY b.id LIMIT :most""")
# The values of import contacts, which nobody else refers to.
STALE_IMPORTED = Statement("numbers_stale_imported", """
SELECT f.import_contact_id, f.place, f.type, f.value, p.region, p.area_code
FROM import_infos f JOIN users u ON u.id = f.user_id
  JOIN jsonb_to_recordset(:places::jsonb) p (company bigint, region text, area_code text, version int) ON p.company = coalesce(u.company_id, 0)
WHERE (f.import_contact_id, f.place) > (:after::bigint, :place::int) AND f.canon_version <> p.version
ORDER BY f.import_contact_id, f.place LIMIT :most""")
RENEW_IMPORTED = Statement("numbers_renew_imported", """
UPDATE import_infos f SET canon = v.canon, ext = v.ext, nsn = v.nsn, tail = v.tail, canon_version = v.canon_version
FROM jsonb_to_recordset(:forms::jsonb) v (id bigint, place int, type text, value text, canon text, ext text, nsn text, tail text, canon_version int)
WHERE f.import_contact_id = v.id AND f.place = v.place AND f.type = v.type AND f.value = v.value""")
# Events keep unassigned numbers under the owner's counter: while it is held none can come between.
HOLD = Statement("numbers_hold", "SELECT 1 FROM counters c WHERE c.user_id = ANY(:owners::bigint[]) ORDER BY c.user_id FOR NO KEY UPDATE")
_FORMS = """jsonb_to_recordset(:forms::jsonb) v (id bigint, type text, value text, canon text, ext text, nsn text, tail text, canon_version int)
  JOIN basic_infos o ON o.id = v.id AND o.type = v.type AND o.value = v.value"""
RENEW = Statement("numbers_renew", f"""
WITH v AS (SELECT v.*, o.user_id, o.contact_id,
  row_number() OVER (PARTITION BY o.user_id, o.contact_id, v.canon, v.ext ORDER BY v.id) AS n FROM {_FORMS})
UPDATE basic_infos b SET canon = v.canon, ext = v.ext, nsn = v.nsn, tail = v.tail, canon_version = v.canon_version
FROM v WHERE b.id = v.id AND (v.contact_id IS NOT NULL OR v.canon IS NULL OR v.n = 1 AND NOT EXISTS (SELECT 1 FROM basic_infos k
  WHERE k.user_id = v.user_id AND k.contact_id IS NULL AND k.canon = v.canon AND k.ext = v.ext AND k.id <> v.id))""")
LEFT = Statement("numbers_left", f"SELECT v.id, o.user_id, v.canon, v.ext FROM {_FORMS} WHERE o.canon_version <> v.canon_version")

_TWIN = "b.user_id = :owner AND b.contact_id IS NULL AND b.canon = :canon AND b.ext = :ext AND b.id <> :id"
MOVE = Statement("numbers_move", f"""
UPDATE interactions i SET basic_info_id = b.id, seq = number_of(:owner) FROM basic_infos b
WHERE {_TWIN} AND i.user_id = b.user_id AND i.basic_info_id = :id""")
JOIN = Statement("numbers_join", f"""
UPDATE basic_infos b SET excluded = b.excluded OR x.excluded, excluded_count = b.excluded_count + x.excluded_count,
  last_excluded = greatest(b.last_excluded, x.last_excluded)
FROM basic_infos x WHERE {_TWIN} AND x.user_id = b.user_id AND x.id = :id AND x.contact_id IS NULL""")
DROP = Statement("numbers_drop", "DELETE FROM basic_infos x WHERE x.user_id = :owner AND x.id = :id AND x.contact_id IS NULL")

LINES = Statement("numbers_lines", """
SELECT l.company_id, l.value, l.canon, l.ext, c.region, c.area_code FROM company_lines l JOIN companies c ON c.id = l.company_id""")
# One that became equal to another line is that one now; a company that set its lines meanwhile has them in the right form.
RENEW_LINE = Statement("numbers_renew_line", """
WITH gone AS (DELETE FROM company_lines WHERE company_id = :company AND canon = :old_canon AND ext = :old_ext AND value = :value RETURNING value)
INSERT INTO company_lines (company_id, value, canon, ext) SELECT :company, gone.value, :canon, :ext FROM gone ON CONFLICT DO NOTHING""")


async def renew_lines(db: Database, config: Config) -> None:
    """Renews the forms of companies' own numbers."""
    for company, value, canon, ext, region, area_code in await db.query(LINES):
        form = number(value, region or config.numbers.region, area_code or config.numbers.area_code)
        if form is not None and (form.canon, form.ext) != (canon, ext):
            await db.query(RENEW_LINE, company=company, value=value, old_canon=canon, old_ext=ext, canon=form.canon, ext=form.ext)


async def renew(db: Database, config: Config, wanted: Callable[[], bool] = lambda: True) -> int:
    """Renews every form that was made by other rules than its owner's now, as long as that is wanted; answers how many."""
    places = orjson.dumps([_place(config, *row) for row in await db.query(PLACES)]).decode()
    return await _renew_all(db, places, wanted) + await _renew_imported(db, places, wanted)


async def _renew_all(db: Database, places: str, wanted: Callable[[], bool]) -> int:
    after = renewed = 0
    while wanted():
        stale = await db.query(STALE, places=places, after=after, most=BATCH)
        if not stale:
            break
        await _renew(db, stale)
        after = stale[-1][0]
        renewed += len(stale)
    return renewed


async def _renew_imported(db: Database, places: str, wanted: Callable[[], bool]) -> int:
    after, renewed = (0, 0), 0
    while wanted():
        stale = await db.query(STALE_IMPORTED, places=places, after=after[0], place=after[1], most=BATCH)
        if not stale:
            break
        made = [{"id": i, "place": n, "type": kind, "value": said, **columns(kind, said, region, area)} for i, n, kind, said, region, area in stale]
        await db.query(RENEW_IMPORTED, forms=orjson.dumps(made).decode())
        after = stale[-1][:2]
        renewed += len(stale)
    return renewed


def _place(config: Config, company: int, region: str | None, area_code: str | None) -> dict[str, Any]:
    place = {"region": region or config.numbers.region, "area_code": area_code or config.numbers.area_code}
    return {"company": company, **place, "version": version(**place)}


async def _renew(db: Database, stale: list[tuple[Any, ...]]) -> None:
    made = [{"id": i, "type": kind, "value": value, **columns(kind, value, region, area)} for i, _, kind, value, region, area in stale]
    forms = {"forms": orjson.dumps(made).decode()}
    owners = sorted({row[1] for row in stale})
    for ident, owner, canon, ext in await db.script(Step(HOLD, {"owners": owners}), Step(RENEW, forms), Step(LEFT, forms)):
        await _join(db, {"id": ident, "owner": owner, "canon": canon, "ext": ext})


async def _join(db: Database, twin: dict[str, Any]) -> None:
    """An unassigned value that became equal to another one is that one now."""
    await db.script(taking(twin["owner"]), *(Step(s, {name: twin[name] for name in s.names}) for s in (MOVE, JOIN, DROP)))

"""The ordinary statements of an entity, built once at import from its declaration. Never from request data."""
from __future__ import annotations

from typing import TYPE_CHECKING

from interactd.api.fields import Field
from interactd.db import Statement

if TYPE_CHECKING:
    from interactd.api.entity import Entity


def shown(fields: tuple[Field, ...], alias: str = "t") -> str:
    """The JSON of a row as the API shows it; unset values are left out."""
    return f"json_strip_nulls({inside(fields, alias)})"


def inside(fields: tuple[Field, ...], alias: str) -> str:
    """The JSON of a row inside another one's, which leaves out the unset values of both."""
    pairs = ", ".join(f"'{f.key}', {f.shown.replace('{t}', alias)}" for f in fields if f.shown)
    return f"json_build_object({pairs})"


def remember(e: Entity) -> Statement:
    """Keeps the id and the old state; 404 when the row is not there."""
    return Statement(f"{e.table}_remember", f"""
SELECT keep('id', :id::bigint::text), keep('old', must((SELECT ({e.shown})::text FROM {e.table} t WHERE t.id = :id AND {e.visible}), '{e.kind}'))""")


def insert(e: Entity) -> Statement:
    """A row from the columns in :body; keeps its id."""
    columns = [(c, f.default_sql) for f in e.fields if f.read for c in f.columns] + [(c, None) for c in e.given]
    names = ", ".join(c for c, _ in columns)
    values = ", ".join(f"coalesce(r.{c}, {default})" if default else f"r.{c}" for c, default in columns)
    into, what = ("user_id, ", ":owner, ") if e.owned else ("", "")
    if e.owned and e.numbered:
        into, what = into + "seq, ", what + "number_of(:owner), "
    return Statement(f"{e.table}_insert", f"""
INSERT INTO {e.table} ({into}{names})
SELECT {what}{values} FROM jsonb_populate_record(NULL::{e.table}, :body::jsonb) r
RETURNING keep('id', id::text)""")


def update(e: Entity) -> Statement:
    """The kept row takes the columns that :body holds; the others stay."""
    columns = [c for f in e.fields if f.read and not f.create_only for c in f.columns]
    names = ", ".join(columns)
    values = ", ".join(f"r.{c}" for c in columns)
    always = {**({"seq": "number_of(:owner)"} if e.owned and e.numbered else {}), **e.on_update}
    extra = "".join(f", {column} = {sql}" for column, sql in always.items())
    return Statement(f"{e.table}_update", f"""
UPDATE {e.table} t SET ({names}) = (SELECT {values} FROM jsonb_populate_record(t, :body::jsonb) r){extra}
WHERE t.id = kept('id')::bigint AND {e.visible}""")


def tell(e: Entity) -> Statement:
    """The kept row as it is now, its number; writes the activity (a create that found its row there is an update)."""
    return Statement(f"{e.table}_tell", f"""
SELECT j.entity::text, j.id, number_of(:owner::bigint),
  record(:owner, :actor, CASE WHEN kept('old') IS NULL THEN :action ELSE 'update' END, '{e.activity}', j.id, kept('old')::json, j.entity)
FROM (SELECT t.id, {e.shown} AS entity FROM {e.table} t WHERE t.id = kept('id')::bigint AND {e.visible} OFFSET 0) j""")


def there(e: Entity) -> Statement:
    """404 that names the first of :ids that is not there."""
    return Statement(f"{e.table}_there", f"""
SELECT refuse('IA404', '{e.kind} ' || min(i)) FROM unnest(:ids::bigint[]) i
WHERE NOT EXISTS (SELECT 1 FROM {e.table} t WHERE t.id = i AND {e.visible}) HAVING count(*) > 0""")


def delete(e: Entity) -> Statement:
    """The rows go; each leaves an activity and, where devices sync it, a tombstone. Answers id and number."""
    grave = f""", grave AS (INSERT INTO tombstones (user_id, entity_type, entity_id, seq)
    SELECT :owner, '{e.activity}', old.id, number_of(:owner) FROM old)""" if e.synced else ""
    return Statement(f"{e.table}_delete", f"""
WITH old AS MATERIALIZED (SELECT t.id, {e.shown} AS entity FROM {e.table} t WHERE t.id = ANY(:ids::bigint[]) AND {e.visible}),
  gone AS (DELETE FROM {e.table} t USING old WHERE t.id = old.id){grave}
SELECT old.id, number_of(:owner::bigint), record(:owner, :actor, 'delete', '{e.activity}', old.id, old.entity, NULL) FROM old ORDER BY old.id""")


def get(e: Entity) -> Statement:
    """One row as the API shows it."""
    return Statement(f"{e.table}_get", f"SELECT ({e.shown})::text FROM {e.table} t WHERE t.id = :id AND {e.visible}")


def piece(name: str, source: str, shown: str, where: str, order: str = "") -> Statement:
    """A slice of a list, by key: its rows joined, the last one's key, how many. `order` is a bigint expression, ascending; ties go by id."""
    key = order or "0::bigint"
    after = f"({key}, t.id) > (:after::bigint, :after_id::bigint)" if order else "t.id > :after_id::bigint AND :after::bigint IS NOT NULL"
    by = f"{key}, t.id" if order else "t.id"
    return Statement(f"{name}_piece", f"""
SELECT string_agg(x.entity, ','), (array_agg(x.k))[count(*)], (array_agg(x.id))[count(*)], count(*) FROM (
  SELECT ({shown})::text AS entity, {key} AS k, t.id AS id FROM {source} WHERE {where} AND {after} ORDER BY {by} LIMIT :most OFFSET :skip) x""")


def total(name: str, source: str, where: str) -> Statement:
    """How many rows the whole list has."""
    return Statement(f"{name}_total", f"SELECT count(*) FROM {source} WHERE {where}")

"""Tasks, one's own and those that a colleague assigned (contract sections 2 and 4, task)."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from interactd.api.answer import Answer, created, deleted, updated
from interactd.api.context import Context, taking
from interactd.api.entity import Entity
from interactd.api.entity import text as body_text
from interactd.api.fields import (Columns, Field, boolean, choice, declare, ident, identity, ids, integer, moment, reference,
                                  server, text)
from interactd.api.related import related_to
from interactd.db import Statement, Step
from interactd.entities.basicinfos import SHOWN as NUMBER
from interactd.entities.basicinfos import BasicInfo
from interactd.errors import Forbidden, NotFound

#: fuzzyDueDate -> in how many days
FUZZY = {"tomorrow": 1, "next_week": 7, "in_a_month": 30, "someday": 99}
_NUMBERS = f"""CASE WHEN {{t}}.task_type = 'scheduled_call' THEN
  (SELECT coalesce(json_agg({NUMBER} ORDER BY b.id), '[]') FROM task_numbers n JOIN basic_infos b ON b.user_id = n.user_id AND b.id = n.basic_info_id
   WHERE n.user_id = {{t}}.user_id AND n.task_id = {{t}}.id) END"""
_ASSIGNED = """(SELECT json_build_object('id', u.id, 'displayName', u.email) FROM users u WHERE u.id = {t}.assigned_to_id)"""


@frozen
class Task:
    """Something to do; `duration` and numbers belong to a scheduled call; the assignee does not see in which list it is."""

    id: int = ident()
    title: str = text("title", 255, required=True)
    content: str = text("content", 10000)
    status: str = choice("status", "open", "completed", default="open")
    task_type: str = choice("task_type", "task", "scheduled_call", default="task")
    created: int = moment("created", create_only=True, default_sql="now_ms()")
    concrete_due_date: int = moment("concrete_due_date", aliases=("dueDate",))
    fuzzy_due_date: str = choice("fuzzy_due_date", *FUZZY)
    duration: int = integer("duration", 0)
    phone_number_ids: list[int] = ids("phone_number_ids", "", 200)
    phone_numbers: list[BasicInfo] = server("", {"type": "array"}, _NUMBERS, row=BasicInfo)
    hot: bool = boolean("hot")
    list_id: int = declare(Field(lambda v: {"task_list_id": identity(v)}, {"type": "integer", "format": "int64"},
                                 "CASE WHEN {t}.user_id = :viewer::bigint THEN {t}.task_list_id END", columns=("task_list_id",),
                                 clears={"task_list_id": None}))
    assigned_to: dict[str, Any] = reference("assigned_to_id", _ASSIGNED)
    related_to: Any = related_to()


def reach(c: Context) -> Mapping[str, Any]:
    """One's own, and those assigned to oneself."""
    return {"owner": c.owner, "viewer": c.owner}


ENTITY = Entity(Task, table="tasks", kind="task", activity="task", path="/v2/tasks", realm=300, numbered=False, given=("seq", "assigned_seq"),
                visible="(t.user_id = :viewer::bigint OR t.assigned_to_id = :viewer::bigint)", scope=reach,
                order="coalesce(-t.concrete_due_date, 9223372036854775807)", on_update={"seq": "number_of(t.user_id)"})
OWNERS_VIEW = ENTITY.shown.replace(":viewer", "t.user_id")

# The counters of all concerned are taken at once, ascending. Whoever changed hands while this waited is seen by SETTLED: once more then.
TAKE = Statement("tasks_take", f"""
SELECT keep('parties', string_agg(format('%s-%s', t.user_id, t.assigned_to_id), ' ' ORDER BY t.id)),
  take(array_remove(array_agg(t.user_id) || array_agg(t.assigned_to_id) || (SELECT u.id FROM users u JOIN users me ON me.id = :viewer
    AND me.company_id = u.company_id WHERE u.id = :assignee::bigint) || :viewer::bigint, NULL))
FROM tasks t WHERE t.id = ANY(:ids::bigint[]) AND {ENTITY.visible}""")
SETTLED = Statement("tasks_settled", f"""
SELECT refuse('40001', 'a task changed hands meanwhile') FROM tasks t WHERE t.id = ANY(:ids::bigint[]) AND {ENTITY.visible}
HAVING string_agg(format('%s-%s', t.user_id, t.assigned_to_id), ' ' ORDER BY t.id) IS DISTINCT FROM kept('parties')""")
REMEMBER = Statement("tasks_remember_all", f"""
SELECT keep('id', t.id::text), keep('old', ({OWNERS_VIEW})::text), keep('was', t.assigned_to_id::text) FROM tasks t
WHERE t.id = ANY(:ids::bigint[]) AND {ENTITY.visible}""")
# What the owner alone may change may be sent by the assignee as it stands.
RIGHTS = Statement("tasks_rights", """
SELECT refuse('IA403', 'only the owner of a task may change who does it, its list, what it is about, its type, numbers and duration', '4003')
FROM tasks t, jsonb_populate_record(t, :body::jsonb) r
WHERE t.id = kept('id')::bigint AND t.user_id <> :viewer AND (:numbers::boolean
  OR (t.assigned_to_id, t.contact_id, t.deal_id, t.task_list_id, t.task_type) IS DISTINCT FROM
    (r.assigned_to_id, r.contact_id, r.deal_id, r.task_list_id, r.task_type)
  OR t.task_type = 'scheduled_call' AND t.duration IS DISTINCT FROM r.duration)""")
OWN = Statement("tasks_own", """
SELECT refuse('IA403', 'only the owner of a task may delete it', '4003') FROM tasks t
WHERE t.id = ANY(:ids::bigint[]) AND t.user_id <> :viewer HAVING count(*) > 0""")
COLLEAGUE = Statement("tasks_colleague", """
SELECT refuse('IA404', 'user', '3003') WHERE :assignee::bigint <> :viewer AND :assignee::text IS DISTINCT FROM kept('was')
  AND NOT EXISTS (SELECT 1 FROM users u JOIN users me ON me.id = :viewer AND me.company_id = u.company_id WHERE u.id = :assignee AND u.active)""")
NUMBERED = Statement("tasks_numbered", """
UPDATE tasks t SET seq = number_of(t.user_id), assigned_seq = number_of(t.assigned_to_id),
  duration = CASE t.task_type WHEN 'scheduled_call' THEN t.duration END,
  concrete_due_date = coalesce(now_ms() + :days::int * 86400000::bigint, t.concrete_due_date)
WHERE t.id = kept('id')::bigint""")
NUMBERS_GO = Statement("tasks_numbers_go", """
DELETE FROM task_numbers n USING tasks t
WHERE t.id = kept('id')::bigint AND n.user_id = t.user_id AND n.task_id = t.id
  AND (:numbers::bigint[] IS NOT NULL OR t.task_type <> 'scheduled_call')""")
NUMBERS_KNOWN = Statement("tasks_numbers_known", """
SELECT refuse('IA404', 'basicinfo', '3003') FROM tasks t, unnest(:numbers::bigint[]) n
WHERE t.id = kept('id')::bigint AND t.task_type = 'scheduled_call'
  AND NOT EXISTS (SELECT 1 FROM basic_infos b WHERE b.user_id = t.user_id AND b.id = n AND b.type IN ('mobile', 'phone'))""")
NUMBERS_COME = Statement("tasks_numbers_come", """
INSERT INTO task_numbers (user_id, task_id, basic_info_id)
SELECT t.user_id, t.id, n FROM tasks t, unnest(:numbers::bigint[]) n WHERE t.id = kept('id')::bigint AND t.task_type = 'scheduled_call'""")
BURY = """
INSERT INTO tombstones (user_id, entity_type, entity_id, seq) SELECT {who}, 'task', t.id, number_of({who}) FROM tasks t WHERE {where}
ON CONFLICT (user_id, entity_type, entity_id) DO UPDATE SET seq = excluded.seq, at = now()"""
LOST = Statement("tasks_lost", BURY.format(
    who="kept('was')::bigint", where="t.id = kept('id')::bigint AND kept('was')::bigint NOT IN (t.assigned_to_id, t.user_id)"))
FOUND = Statement("tasks_found", """
DELETE FROM tombstones g USING tasks t
WHERE t.id = kept('id')::bigint AND g.user_id = t.assigned_to_id AND g.entity_type = 'task' AND g.entity_id = t.id""")
BURIED = Statement("tasks_buried", BURY.format(who="t.assigned_to_id", where="t.id = ANY(:ids::bigint[]) AND t.assigned_to_id <> t.user_id"))
TELL = Statement("tasks_tell_all", f"""
SELECT j.entity::text, j.id, j.user_id, number_of(j.user_id), j.assigned_to_id, number_of(j.assigned_to_id), j.was, number_of(j.was),
  record(j.user_id, :actor, :action, 'task', j.id, kept('old')::json, j.full)
FROM (SELECT t.id, t.user_id, t.assigned_to_id, kept('was')::bigint AS was, {ENTITY.shown} AS entity, {OWNERS_VIEW} AS full
  FROM tasks t WHERE t.id = kept('id')::bigint OFFSET 0) j""")
DELETE = Statement("tasks_delete_all", f"""
WITH old AS MATERIALIZED (SELECT t.id, t.assigned_to_id, {OWNERS_VIEW} AS entity FROM tasks t WHERE t.id = ANY(:ids::bigint[])),
  gone AS (DELETE FROM tasks t USING old WHERE t.id = old.id),
  grave AS (INSERT INTO tombstones (user_id, entity_type, entity_id, seq) SELECT :viewer, 'task', old.id, number_of(:viewer) FROM old)
SELECT old.id, number_of(:viewer::bigint), old.assigned_to_id, number_of(old.assigned_to_id),
  record(:viewer, :actor, 'delete', 'task', old.id, old.entity, NULL) FROM old ORDER BY old.id""")


def _after(c: Context, body: Columns) -> tuple[Step, ...]:
    given = body.get("concrete_due_date") is not None
    days = None if given else FUZZY.get(body.get("fuzzy_due_date") or "")
    numbers = body.get("phone_number_ids")
    return (Step(NUMBERED, {"days": days}), Step(NUMBERS_GO, {"numbers": numbers}), Step(NUMBERS_KNOWN, {"numbers": numbers}),
            Step(NUMBERS_COME, {"numbers": numbers}), Step(LOST), Step(FOUND))


async def _written(c: Context, action: str, *steps: Step) -> str:
    row = (await c.script(*steps, ENTITY.step(c, TELL, action=action)))[0]
    shown, task, owner, seq, assignee, assigned_seq, was, was_seq, _ = row
    c.changed(owner, seq, action, "task", task)
    if assignee != owner:
        c.changed(assignee, assigned_seq, action if was == assignee else "insert", "task", task)
    if was not in (None, owner, assignee):
        c.changed(was, was_seq, "delete", "task", task)
    return str(shown)


async def _create(c: Context) -> Answer:
    """Create a task, for oneself or a colleague."""
    assignee = c.body.get("assigned_to_id") or c.owner
    body = {**c.body, "assigned_to_id": assignee, "seq": 0, "assigned_seq": 0}
    return created(await _written(c, "insert", ENTITY.step(c, COLLEAGUE, assignee=assignee), taking(c.owner, assignee),
                                  ENTITY.step(c, ENTITY.insert, body=body_text(body)), *_after(c, body)))


async def _change(c: Context, task: int) -> Answer:
    """Update a task; the assignee may not change who does it, its list, its numbers and what it is about."""
    body = c.body
    if body.get("assigned_to_id", 0) is None:
        body["assigned_to_id"] = c.owner
    assignee, said = body.get("assigned_to_id"), body_text(body)
    return updated(await _written(c, "update", *_taking(c, [task], assignee), ENTITY.step(c, REMEMBER, ids=[task]),
                                  ENTITY.step(c, RIGHTS, body=said, numbers="phone_number_ids" in body),
                                  ENTITY.step(c, COLLEAGUE, assignee=assignee), ENTITY.step(c, ENTITY.update, body=said), *_after(c, body)))


def _taking(c: Context, idents: list[int], assignee: int | None = None) -> tuple[Step, ...]:
    return (ENTITY.step(c, TAKE, ids=idents, assignee=assignee), ENTITY.step(c, ENTITY.there, ids=idents), ENTITY.step(c, SETTLED, ids=idents))


async def _remove(c: Context, idents: list[int]) -> Answer:
    steps = (*_taking(c, idents), ENTITY.step(c, OWN, ids=idents), ENTITY.step(c, BURIED, ids=idents), ENTITY.step(c, DELETE, ids=idents))
    for gone, seq, assignee, assigned_seq, _ in await c.script(*steps):
        c.changed(c.owner, seq, "delete", "task", gone)
        if assignee != c.owner:
            c.changed(assignee, assigned_seq, "delete", "task", gone)
    return deleted()


async def _delete(c: Context, task: int) -> Answer:
    """Delete a task."""
    return await _remove(c, [task])


async def _delete_ids(c: Context) -> Answer:
    """Delete several tasks, all or none."""
    return await _remove(c, c.query["ids"])


UNKNOWN = tuple(NotFound(kind, detail=3003) for kind in ("contact", "deal", "tasklist", "user", "basicinfo"))
NOT_OWN = Forbidden("only the owner of a task may", detail=4003)
PUT = {"content": "Meeting with Remo at Joeys'", "created": 1360190185200, "concreteDueDate": 1360190188000, "listId": 95,
       "relatedTo": {"id": 327, "type": "contact"}, "status": "open", "taskType": "task", "title": "Lunch with Remo"}
POST = {"content": "Call Nancy", "dueDate": 1360190157000, "relatedTo": {"id": 462, "type": "contact"}, "status": "completed",
        "title": "Birthday"}
CALLS = (*ENTITY.calls("put", run=_create, refuses=UNKNOWN, example=PUT), *ENTITY.calls("list", "get"),
         *ENTITY.calls("post", run=_change, refuses=(*UNKNOWN, NOT_OWN), example=POST),
         *ENTITY.calls("delete", run=_delete, refuses=(NOT_OWN,)),
         *ENTITY.calls("delete_ids", run=_delete_ids, refuses=(NOT_OWN,)))

"""Task lists (contract section 4, taskList)."""
from __future__ import annotations

from attrs import evolve, frozen

from interactd.api import sql
from interactd.api.entity import Entity
from interactd.api.fields import fields_of, ident, server, text
from interactd.db import Statement
from interactd.entities.tasks import Task

_TASK = sql.shown(fields_of(Task), "k").replace(":viewer", "k.user_id")
_TASKS = f"""(SELECT coalesce(json_agg({_TASK} ORDER BY k.concrete_due_date DESC NULLS LAST, k.id), '[]')
  FROM tasks k WHERE k.user_id = {{t}}.user_id AND k.task_list_id = {{t}}.id)"""


@frozen
class TaskList:
    """A list of one's own tasks, the latest due first."""

    id: int = ident()
    title: str = text("title", 255, required=True)
    tasks: list[Task] = server("", {"type": "array"}, _TASKS, row=Task)


# Whoever has a task of the list assigned sees it change.
TAKE = Statement("task_lists_take", """
SELECT take(ARRAY(SELECT :owner::bigint
  UNION SELECT t.assigned_to_id FROM tasks t WHERE t.user_id = :owner AND t.task_list_id = ANY(:ids::bigint[])))""")
ENTITY = Entity(TaskList, table="task_lists", kind="tasklist", activity="tasklist", path="/v2/taskLists", realm=302, synced=True,
                take=TAKE)
ONE = (*ENTITY.calls("get"), *ENTITY.calls("post", example={"title": "IBM EMEA"}),
       *ENTITY.calls("delete", summary="Delete a task list; its tasks stay without it"))
CALLS = (*ENTITY.calls("put", example={"title": "EMEA"}), *ENTITY.calls("list"), *ONE,
         *(evolve(one, path="/v2/tasksLists/:id", documented=False) for one in ONE))

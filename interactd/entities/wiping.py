"""Wiping: all of a user's data goes, the account itself stays (contract section 12)."""
from __future__ import annotations

from interactd.api.answer import Answer, done
from interactd.api.body import Nothing
from interactd.api.call import CUSTOMER_ADMIN, Transact, call
from interactd.api.context import Context
from interactd.auth.ending import end_sessions
from interactd.db import Retriable, Statement, Step

# Whose numbers a wipe raises: the user's, the owners of tasks assigned to the user, the assignees of the user's tasks.
CONCERNED = Statement("wipe_concerned", """
SELECT :user_id::bigint UNION SELECT t.user_id FROM tasks t WHERE t.assigned_to_id = :user_id
UNION SELECT t.assigned_to_id FROM tasks t WHERE t.user_id = :user_id""")
HOLD = Statement("wipe_hold", "SELECT must((SELECT u.id FROM users u WHERE u.id = :user_id FOR UPDATE), 'user')")
TASKS_RETURN = Statement("wipe_tasks_return", """
UPDATE tasks t SET assigned_to_id = t.user_id, seq = number_of(t.user_id), assigned_seq = number_of(t.user_id)
WHERE t.assigned_to_id = :user_id AND t.user_id <> :user_id""")
TASKS_LEAVE = Statement("wipe_tasks_leave", """
INSERT INTO tombstones (user_id, entity_type, entity_id, seq)
SELECT t.assigned_to_id, 'task', t.id, number_of(t.assigned_to_id) FROM tasks t WHERE t.user_id = :user_id AND t.assigned_to_id <> :user_id
ON CONFLICT (user_id, entity_type, entity_id) DO UPDATE SET seq = excluded.seq, at = now()""")

#: what belongs to a user, in an order that its references allow
TABLES = ("import_states", "external_contacts",
          "retracts", "deliveries", "event_keys", "interaction_systems", "interactions", "task_numbers", "tasks", "task_lists", "notes", "deals",
          "basic_infos", "contacts", "import_contacts", "share_receipts", "devices", "trigger_devices", "activities", "tombstones", "sync_marks",
          "login_addresses", "password_resets", "erased_people")
GONE = tuple(Statement(f"wipe_{table}", f"DELETE FROM {table} WHERE user_id = :user_id") for table in TABLES)


async def wipe(c: Context, user_id: int) -> None:
    """Removes all of the user's data and ends the sessions, in the call's transaction."""
    owners = sorted(row[0] for row in await c.rows(CONCERNED, user_id=user_id))
    await c.take(*owners)
    await c.script(Step(HOLD, {"user_id": user_id}))
    if not set(owners) >= {row[0] for row in await c.rows(CONCERNED, user_id=user_id)}:
        raise Retriable("a task was assigned meanwhile")
    ending = await end_sessions(c.db, user_id)
    await c.script(Step(TASKS_RETURN, {"user_id": user_id}), Step(TASKS_LEAVE, {"user_id": user_id}),
                   *(Step(gone, {"user_id": user_id}) for gone in GONE))
    c.announce(ending.event)


@call("POST", "/v2/admin/users/:id", may=CUSTOMER_ADMIN, realm=703, action=22, cmd="wipeAccount", kind="user", name="user.wipe",
      body=Nothing, wrapped="done", transact=Transact.WRITE)
async def wipe_account(c: Context, ident: int) -> Answer:
    """Wipe a user's account: all data goes, the account stays."""
    from interactd.entities.users import ENTITY, guarded
    await c.script(ENTITY.step(c, ENTITY.there, ids=[ident]), *guarded(c, [ident]))
    await wipe(c, ident)
    return done()


CALLS = (wipe_account,)

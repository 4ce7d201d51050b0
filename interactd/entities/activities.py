"""The activity log (contract section 4, activity)."""
from __future__ import annotations

from typing import Any

from interactd.api.answer import Answer
from interactd.api.call import PAGING, USER, call, word
from interactd.api.context import Context
from interactd.api.listing import Listing
from interactd.errors import Forbidden

_SHOWN = """json_strip_nulls(json_build_object('action', t.action, 'entityType', t.entity_type,
  'entity', json_build_object('id', t.entity_id, 'oldState', {old}, 'newState', {new}),
  'relatedTo', CASE WHEN t.actor_id IS NOT NULL THEN json_build_object('id', t.actor_id,
    'displayName', (SELECT u.email FROM users u WHERE u.id = t.actor_id)) END, 'time', t.time))"""
_OPEN = "CASE WHEN t.entity_type IN ('user', 'group', 'customField') THEN {} END"
OWN = Listing("activities_own", "activities t", _SHOWN.format(old="t.old_state", new="t.new_state"), "t.user_id = :owner", "-t.time", True)
COMPANY = Listing("activities_company", "activities t", _SHOWN.format(old=_OPEN.format("t.old_state"), new=_OPEN.format("t.new_state")),
                  "t.company_id = :company", "-t.time", True)
_REFERENCE = {"type": "object", "properties": {"id": {"type": "integer"}, "displayName": {"type": "string"}}}
ACTIVITY: dict[str, Any] = {"type": "object", "required": ["action", "entityType", "entity", "time"], "properties": {
    "action": {"type": "string", "enum": ["insert", "update", "delete"]}, "entityType": {"type": "string"},
    "entity": {"type": "object", "required": ["id"], "properties": {
        "id": {"type": "integer"}, "oldState": {"type": "object"}, "newState": {"type": "object"}}},
    "relatedTo": _REFERENCE, "time": {"type": "integer", "format": "int64"}}}


@call("GET", "/v2/activities", may=USER, realm=0, query=(word("of", "company"), *PAGING), answer=ACTIVITY, wrapped="data", name="activity.list")
async def activities(c: Context) -> Answer:
    """What was done, newest first: with one's own data, or for a customer_admin with the company's."""
    if c.query["of"] is None:
        return await OWN.answer(c, owner=c.owner)
    if c.rank < 1 or c.user.company_id is None:
        raise Forbidden("this takes the role customer_admin")
    return await COMPANY.answer(c, company=c.user.company_id)


CALLS = (activities,)

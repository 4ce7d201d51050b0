"""Interactions: events as they come in, are read, are linked to contacts (contract sections 4 and 6)."""
from __future__ import annotations

from typing import Any

import orjson
from attrs import frozen

from interactd.api.answer import Answer, updated
from interactd.api.call import USER_OR_TRIGGER
from interactd.api.context import Context
from interactd.api.entity import Entity
from interactd.api.fields import (FIRST_MS, LAST_MS, MOMENT, Columns, Field, choice, declare, ident, identity, integer, items,
                                  moment, reference, text, whole)
from interactd.db import Statement, Step
from interactd.errors import Fault, Invalid, NotFound

TYPES = tuple(f"{kind}-{way}" for kind in ("call", "email", "im", "sms") for way in ("incoming", "outgoing"))
_NAMED = """(SELECT json_build_object('id', c.id, 'displayName', c.display_name) FROM contacts c
  WHERE c.user_id = {t}.user_id AND c.id = {t}.%s)"""


@frozen
class ExternalSystem:
    """Where else the interaction is kept; one of the two ids at least."""

    system_id: str = text("system_id", 255, required=True, aliases=("name",))
    thread_id: str = text("thread_id", 255)
    entity_id: str = text("entity_id", 255)


@frozen
class Interaction:
    """A call, message or mail; `data` is the other side's number, address or handle."""

    id: int = ident()
    type: str = choice("type", *TYPES, required=True, create_only=True)
    data: str = text("data", 255, create_only=True)
    time: int = moment("time", create_only=True)
    receiver_id: str = text("receiver_id", 255, create_only=True)
    duration: int = integer("duration", 0)
    status: str = text("status", 50)
    custom_tags: str = text("custom_tags", 1000)
    basic_info_id: int = declare(Field(lambda v: {"basic_info_id": identity(v)}, {"type": "integer", "format": "int64"}, "{t}.basic_info_id",
                                       columns=("basic_info_id",), clears={"basic_info_id": None}, later=True))
    organization: dict[str, Any] = reference("organization_id", _NAMED % "organization_id", aliases=("organizationId=id",), later=True)
    person: dict[str, Any] = reference("person_id", _NAMED % "person_id", aliases=("personId=id",), later=True)
    external_systems: list[ExternalSystem] = items(ExternalSystem, "'[]'", aliases=("externalSystem=[]",))
    sent_at: int = declare(Field(lambda v: {"sent_at": whole(v, FIRST_MS, LAST_MS)}, {**MOMENT, "writeOnly": True}, create_only=True))


OF_TYPE = Statement("interactions_contact_of_type", """
SELECT refuse('IA404', :type, '3003') WHERE NOT EXISTS (
  SELECT 1 FROM contacts c WHERE c.user_id = :owner AND c.id = :contact AND c.contact_type = :type::text)""")
ASSIGNED = Statement("interactions_assign", """
WITH given AS (UPDATE basic_infos b SET contact_id = :contact FROM interactions t
  WHERE t.id = kept('id')::bigint AND b.user_id = :owner AND b.id = t.basic_info_id AND b.contact_id IS NULL RETURNING b.contact_id)
UPDATE contacts c SET version = c.version + 1, changed = time_of(:owner), seq = number_of(:owner) FROM given
WHERE c.user_id = :owner AND c.id = given.contact_id""")
SYSTEMS_GO = Statement("interactions_systems_go", "DELETE FROM interaction_systems WHERE user_id = :owner AND interaction_id = kept('id')::bigint")
SYSTEMS_COME = Statement("interactions_systems_come", """
INSERT INTO interaction_systems (user_id, interaction_id, system_id, thread_id, entity_id)
SELECT :owner, kept('id')::bigint, x->>'system_id', x->>'thread_id', x->>'entity_id'
FROM jsonb_array_elements(:systems::jsonb) WITH ORDINALITY AS s(x, n) ORDER BY n""")
MADE_BY = Statement("interactions_made_by", "SELECT t.user_id FROM interactions t WHERE t.id = :id AND t.trigger_device_id = :device")
ROUTED = Statement("interactions_routed", "SELECT routed_json(t)::text FROM interactions t WHERE t.id = :id AND t.user_id = :owner")

# Answered or over: a pop-up of it goes from every device (contract sections 6, progress, and 7).
RETRACTED = Statement("interactions_retract", """
INSERT INTO retracts (user_id, interaction_id, seq) SELECT t.user_id, t.id, number_of(:owner) FROM interactions t
WHERE t.user_id = :owner AND t.id = kept('id')::bigint AND EXISTS (SELECT FROM deliveries d WHERE d.interaction_id = t.id) ON CONFLICT DO NOTHING""")


def check_systems(body: Columns) -> None:
    """Nothing, or 400: each external system names one of the two ids at least."""
    for n, system in enumerate(body.get("external_systems") or ()):
        if not system.get("thread_id") and not system.get("entity_id"):
            fault = Fault(f"externalSystems[{n}]", "must have threadId or entityId")
            raise Invalid(f"{fault.attribute} {fault.problem}", details=(fault,))


def as_text(systems: list[Columns]) -> str:
    """External systems as the jsonb text of a parameter."""
    return orjson.dumps(systems).decode()


def _before(c: Context, body: Columns, ident: int | None) -> tuple[Step, ...]:
    return tuple(Step(OF_TYPE, {"owner": c.owner, "contact": body[f"{kind}_id"], "type": kind})
                 for kind in ("organization", "person") if body.get(f"{kind}_id") is not None)


def _after(c: Context, body: Columns, ident: int | None) -> tuple[Step, ...]:
    steps: tuple[Step, ...] = ()
    contact = body.get("person_id") or body.get("organization_id")
    if contact is not None:
        steps += (Step(ASSIGNED, {"owner": c.owner, "contact": contact}),)
    if "external_systems" in body:
        systems = as_text(body["external_systems"])
        steps += (Step(SYSTEMS_GO, {"owner": c.owner}), Step(SYSTEMS_COME, {"owner": c.owner, "systems": systems}))
    if body.get("status") is not None or body.get("duration") is not None:
        steps += (Step(RETRACTED, {"owner": c.owner}),)
    return steps


async def _change(c: Context, ident: int) -> Answer:
    """Update an interaction; a trigger device tells how its own goes on (duration, status)."""
    check_systems(c.body)
    if c.trigger is None:
        return await ENTITY.change(c, ident)
    other = sorted(c.body.keys() - {"duration", "status"})
    if other:
        raise Invalid("a trigger device may only say duration and status", detail=2005)
    (c.on_behalf,) = await c.one(MADE_BY, id=ident, device=c.trigger.id)
    answer = await ENTITY.change(c, ident)
    return answer if c.owner == c.trigger.user_id else updated((await c.one(ROUTED, id=ident, owner=c.owner))[0])


ENTITY = Entity(Interaction, table="interactions", kind="interaction", activity="interaction", path="/v2/interactions", realm=900,
                json="interaction_json({t})", order="-t.sort_time", synced=True, before=_before, after=_after)
REFERS = tuple(NotFound(kind, detail=3003) for kind in ("organization", "person", "basicinfo"))
CALLS = (*ENTITY.calls("list", "get"),
         *ENTITY.calls("post", run=_change, may=USER_OR_TRIGGER, refuses=REFERS, example={"organizationId": 12, "personId": 34}))

"""PUT /v2/interactions: events into the intake, outcomes into answers (contract section 6)."""
from __future__ import annotations

import hashlib
from typing import Any

import orjson
from attrs import frozen

from interactd.api import body as bodies
from interactd.api.answer import Answer, created, value
from interactd.api.call import TRIGGER, Call
from interactd.api.context import Context
from interactd.api.fields import Columns
from interactd.api.pipeline import said
from interactd.entities.interactions import ENTITY, Interaction, check_systems
from interactd.errors import ApiError, Conflict, Invalid, TooMany
from interactd.events.event import Event, Outcome

MOST = 500


@frozen
class Read:
    """The bodies of events and their columns, or what is wrong with each; `single` when it was no array."""

    bodies: list[Any]
    events: list[Columns | ApiError]
    single: bool


def read(body: Any) -> Read:
    """One event, or an array of up to 500; the elements of an array are judged one by one."""
    if isinstance(body, list):
        if not body:
            raise Invalid("there is no event in the array", detail=2002)
        if len(body) > MOST:
            raise Invalid(f"an array holds at most {MOST} events", detail=2004)
        return Read(body, [_judged(one) for one in body], False)
    return Read([body], [_columns(body)], True)


def _columns(body: Any) -> Columns:
    columns = bodies.read(Interaction, body, create=True)
    check_systems(columns)
    return columns


def _judged(body: Any) -> Columns | ApiError:
    try:
        return _columns(body)
    except ApiError as error:
        return error


def _hash(body: Any) -> bytes:
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()


async def put(c: Context) -> Answer:
    """Trigger an event, or up to 500 at once."""
    asked: Read = c.body
    key = c.asked.headers.get("idempotency-key") or None
    if key is not None and len(key) > 255:
        raise Invalid("Idempotency-Key must have at most 255 characters", detail=2004)
    events = [Event(c.token, columns, key, _hash(body) if key else None, None if asked.single else n)
              for n, (body, columns) in enumerate(zip(asked.bodies, asked.events)) if not isinstance(columns, ApiError)]
    outcomes = iter(await c.app.intake.put_array(events) if events else ())
    told = [Outcome(one.status, one.devmsg, error=one) if isinstance(one, ApiError) else next(outcomes) for one in asked.events]
    if not events:
        await c.known_trigger()
    return _one(told[0]) if asked.single else _many(c, told)


def _one(outcome: Outcome) -> Answer:
    if outcome.error is not None:
        raise outcome.error
    if outcome.entity is None:
        return value({"code": outcome.status, "devmsg": outcome.devmsg}, outcome.status)
    return created(outcome.entity, outcome.devmsg, outcome.status)


def _many(c: Context, outcomes: list[Outcome]) -> Answer:
    good = [o for o in outcomes if o.error is None]
    status = 201 if good else outcomes[0].status
    wait = None if good or outcomes[0].error is None else outcomes[0].error.retry_after
    entities = ",".join(_element(c, o) for o in outcomes)
    return Answer(status, f'{{"code":{status},"entities":[{entities}]}}'.encode(), {} if wait is None else {"Retry-After": str(max(1, wait))})


def _element(c: Context, outcome: Outcome) -> str:
    if outcome.error is not None:
        return orjson.dumps(said(outcome.error, c.call.action, c.call.realm)).decode()
    return outcome.entity or orjson.dumps({"code": outcome.status, "devmsg": outcome.devmsg}).decode()


SINGLE = {"type": "object", "required": ["code", "devmsg"], "properties": {
    "code": {"type": "integer"}, "devmsg": {"type": "string"}, "entity": Interaction}}
DUPLICATE = {"description": "The event was known already, and has been deleted meanwhile.", "type": "object", "required": ["code", "devmsg"],
             "properties": {"code": {"const": 200}, "devmsg": {"type": "string"}}}
KEY = {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 255}, "example": "call-4711",
       "description": "The same key of the same device within 24 h is the same event; in an array, key and position."}
SEVERAL = {"type": "object", "required": ["code", "entities"], "properties": {
    "code": {"type": "integer"}, "entities": {"type": "array", "items": {"description": "In order: an interaction, or an error.", "type": "object"}}}}
CALLS = (Call("PUT", "/v2/interactions", "interaction.put", TRIGGER, 12, ENTITY.realm, put, kind="interaction", read=read, create=True,
              late_who=True, success=201, answer={"anyOf": [SINGLE, SEVERAL]}, partly=SEVERAL,
              body_schema={"anyOf": [Interaction, {"type": "array", "items": Interaction, "minItems": 1, "maxItems": MOST}]},
              example={"type": "call-incoming", "data": "555-12345", "receiverId": "john.doe@interact.io"},
              refuses=(Conflict("the same Idempotency-Key with another body"), TooMany("the token's fair share is used up")),
              also={200: DUPLICATE}, headers=(KEY,), summary="Trigger an event, or up to 500 at once"),)

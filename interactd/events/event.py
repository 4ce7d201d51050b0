"""An event as the intake takes it, and what becomes of it."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from attrs import field, frozen

from interactd.errors import ApiError, Invalid

_BOUNDS = (("time", 1 << 62), ("sent_at", 1 << 62), ("duration", 1 << 31))          # the difference of two times is taken, too
_NUL = b"\\u0000"
_BACKSLASH = rb"\\"
_SHOWN = {"type": "type", "data": "data", "time": "time", "receiver_id": "receiverId", "duration": "duration", "status": "status",
          "custom_tags": "customTags"}
_SHOWN_SYSTEM = {"system_id": "systemId", "thread_id": "threadId", "entity_id": "entityId"}


@frozen
class Event:
    """One event: `values` are the columns of the body (with `external_systems`, a list of columns, and `sent_at`).

    `key` is the Idempotency-Key and `body_hash` tells bodies under one key apart; `position` is the place in an array.
    """

    token: str = field(repr=False)
    values: Mapping[str, Any] = field(repr=False)
    key: str | None = field(default=None, repr=False)
    body_hash: bytes | None = field(default=None, repr=False)
    position: int | None = None


@frozen
class Outcome:
    """The answer to one event: an HTTP status with the entity's JSON text, or an error."""

    status: int
    devmsg: str = "success"
    entity: str | None = field(default=None, repr=False)
    error: ApiError | None = None


DUPLICATE = Outcome(200, "duplicate")


def failed(error: ApiError) -> Outcome:
    """The outcome of an event that was not stored."""
    return Outcome(error.status, error.devmsg, error=error)


def excluded(event: Event) -> Outcome:
    """The outcome of an event from an excluded number: as it was sent, without id (contract 6.3)."""
    return Outcome(201, "excluded", orjson.dumps(_as_sent(event.values)).decode())


def _as_sent(values: Mapping[str, Any]) -> dict[str, Any]:
    shown = {key: values[name] for name, key in _SHOWN.items() if values.get(name) is not None}
    shown["externalSystems"] = [{key: system[name] for name, key in _SHOWN_SYSTEM.items() if system.get(name) is not None}
                                for system in values.get("external_systems") or ()]
    return shown


def unstorable(event: Event) -> ApiError | None:
    """The error of an event that would fail the whole batch it is in: NUL, half a character, a number out of range."""
    values = event.values
    for name, bound in _BOUNDS:
        if not -bound <= (values.get(name) or 0) < bound:
            return Invalid(f"{name} is out of range", detail=2004)
    try:
        text = orjson.dumps(dict(values))      # refuses half a character
    except orjson.JSONEncodeError:
        text = _NUL
    if _NUL in text.replace(_BACKSLASH, b""):
        return Invalid("a text holds a character that can not be stored")
    return None

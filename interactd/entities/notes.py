"""Notes on a contact or a deal (contract section 4, note)."""
from __future__ import annotations

from typing import Any

from attrs import frozen

from interactd.api.entity import Entity
from interactd.api.fields import ident, stamp, text
from interactd.api.related import related_to
from interactd.errors import NotFound


@frozen
class Note:
    """A note; `timestamp` is the time of its last change."""

    id: int = ident()
    message: str = text("message", 10000, required=True)
    related_to: Any = related_to(required=True)
    timestamp: int = stamp("timestamp")


ENTITY = Entity(Note, table="notes", kind="note", activity="note", path="/v2/notes", realm=400, synced=True,
                on_update={"timestamp": "time_of(:owner)"})
REFUSES = tuple(NotFound(kind, detail=3003) for kind in ("contact", "deal"))
PUT = {"message": "deadline postponed", "relatedTo": {"id": 327, "type": "contact"}}
POST = {"message": "Don't forget to ask for address data."}
CALLS = (*ENTITY.calls("put", refuses=REFUSES, example=PUT), *ENTITY.calls("post", refuses=REFUSES, example=POST),
         *ENTITY.calls("list", "delete", "delete_ids"))

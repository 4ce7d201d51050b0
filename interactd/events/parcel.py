"""An event on its way: as the SQL function `intake` takes it (schema/0002_intake.sql, type intake_event)."""
from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from hashlib import blake2b, sha256
from typing import Any

import orjson
from attrs import define, field
from twisted.internet.defer import Deferred

from interactd.config import Numbers
from interactd.events.event import Event, Outcome
from interactd.events.hints import Hint
from interactd.events.numbers import Canonical, canonical, event_kind, version

_version = lru_cache(maxsize=4096)(version)
_KEPT = ("type", "data", "time", "receiver_id", "duration", "status", "custom_tags", "sent_at")


@define(eq=False)
class Parcel:
    """An event that waits, under the key of its user (the token's hash until the user is known), and its answer to come."""

    event: Event
    hash: bytes
    key: Hashable
    answer: Deferred[Outcome] = field(factory=Deferred)
    rounds: int = 0                  # how often it came back without being stored
    owner: int | None = None         # as sent the last time
    target: int | None = None

    @property
    def receiver(self) -> str | None:
        """The receiver, where it matters whose event this is."""
        return self.event.values.get("receiver_id") or None


def sealed(event: Event) -> Parcel:
    """A parcel of nobody known yet."""
    token_hash = sha256(event.token.encode("utf-8", "surrogatepass")).digest()
    return Parcel(event, token_hash, token_hash)


def unknown(parcel: Parcel) -> dict[str, Any]:
    """What asks the database whose token it is; nothing is stored."""
    parcel.owner = parcel.target = None
    return {"hash": parcel.hash.hex(), "receiver_id": parcel.receiver}


def addressed(parcel: Parcel, hint: Hint, target: int, numbers: Numbers) -> dict[str, Any]:
    """The event with its canonical form, its keys, and the guesses they were made by."""
    parcel.owner, parcel.target = hint.owner, target
    event, values = parcel.event, parcel.event.values
    sent = {name: values[name] for name in _KEPT if values.get(name) not in (None, "")}
    sent.update(hash=parcel.hash.hex(), owner=hint.owner, target=target, region=hint.region, area_code=hint.area_code,
                listed=event.position is not None)
    region, area_code = hint.region or numbers.region, hint.area_code or numbers.area_code
    kind = event_kind(values["type"])
    form = canonical(kind, values.get("data"), region, area_code)
    if form is not None:
        sent.update(canon=form.canon, ext=form.ext, nsn=form.nsn, tail=form.tail, canon_version=_version(region, area_code),
                    kind="mobile" if form.mobile else kind)
    if values.get("external_systems"):
        sent["systems"] = values["external_systems"]
    _mark(sent, event, form)
    return sent


def _mark(sent: dict[str, Any], event: Event, form: Canonical | None) -> None:
    """The digests by which a repeated event is known (contract 6.2)."""
    if event.key is not None:
        sent["idem"] = _digest(event.key.encode("utf-8", "surrogatepass").hex(), event.position)
        sent["body"] = (event.body_hash or b"").hex()
    number = [form.canon, form.ext] if form is not None else [sent.get("data")]
    marks = {"x" + _digest(system.get("system_id"), system["entity_id"], sent["type"], sent.get("receiver_id"), *number)
             for system in sent.get("systems", ()) if system.get("entity_id")}
    if marks:
        sent["marks"] = sorted(marks)
    elif event.key is None and "time" in sent and sent["type"].startswith("call-"):
        sent["call"] = _digest(sent["type"], sent.get("data"), sent["time"])


def _digest(*parts: Any) -> str:
    return blake2b(orjson.dumps(parts), digest_size=12).hexdigest()

"""What the database said to a batch of events, sorted by what is due next."""
from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

from attrs import field, frozen

from interactd.changes import Hub, Notice
from interactd.errors import Conflict, Fault, Invalid, Unauthenticated
from interactd.events.event import DUPLICATE, Outcome, excluded, failed
from interactd.events.hints import Hint, Hints
from interactd.events.parcel import Parcel
from interactd.events.wire import Rows


@frozen
class Sorted:
    """Who is answered, in order; who goes again, alone (by user) or for another reason."""

    answered: dict[Parcel, Outcome] = field(factory=dict)
    notices: list[Notice] = field(factory=list)
    again: dict[Hashable, list[Parcel]] = field(factory=dict)       # by the user they turned out to be of
    busy: dict[Hashable, list[Parcel]] = field(factory=dict)

    def announce(self, hub: Hub) -> None:
        """Devices hear of what is new, and whoever asked is answered."""
        for notice in self.notices:
            hub.publish(notice)
        for parcel, outcome in self.answered.items():
            parcel.answer.callback(outcome)


class Answer(NamedTuple):
    """A row of the SQL type intake_answer."""

    n: int
    outcome: str
    user_id: int | None
    id: int | None
    seq: int | None
    prev: int | None
    late: bool | None
    entity: str | None
    frame: str | None
    devices: list[int] | None
    owner: int | None
    switchboard: bool | None
    region: str | None
    area_code: str | None


def sort(parcels: Sequence[Parcel], rows: Rows, hints: Hints) -> Sorted:
    """The rows of one committed batch, and the hints learnt from them."""
    result = Sorted()
    for row in rows:
        answer = Answer._make(row)
        parcel = parcels[answer.n]
        if answer.outcome == "stored":
            _stored(result, parcel, answer)
        elif answer.outcome == "again":
            _learn(hints, parcel, answer)
            result.again.setdefault(answer.owner, []).append(parcel)
        elif answer.outcome == "busy":
            result.busy.setdefault(parcel.key, []).append(parcel)
        else:
            result.answered[parcel] = _final(parcel, answer, hints)
    return result


def _stored(result: Sorted, parcel: Parcel, answer: Answer) -> None:
    result.answered[parcel] = Outcome(201, entity=answer.entity)
    if answer.devices:
        assert answer.user_id and answer.id and answer.seq and answer.prev is not None and answer.frame
        result.notices.append(Notice(answer.user_id, answer.id, answer.seq, answer.prev, tuple(answer.devices), answer.frame,
                                     parcel.event.values["type"], bool(answer.late)))


def _learn(hints: Hints, parcel: Parcel, answer: Answer) -> None:
    assert answer.owner is not None and answer.user_id is not None
    hint = Hint(answer.owner, bool(answer.switchboard), answer.region, answer.area_code)
    hints.learn(parcel.hash, hint, parcel.receiver, answer.user_id)


def _final(parcel: Parcel, answer: Answer, hints: Hints) -> Outcome:
    if answer.outcome == "known":
        return Outcome(201, entity=answer.entity)
    if answer.outcome == "deleted":
        return DUPLICATE
    if answer.outcome == "excluded":
        return excluded(parcel.event)
    if answer.outcome == "conflict":
        return failed(Conflict("the Idempotency-Key came with another body before"))
    if answer.outcome == "refused":
        return failed(Invalid("time is out of range", detail=2004, details=(Fault("time", "is out of range"),)))
    assert answer.outcome == "unknown", answer.outcome
    hints.forget(parcel.hash)
    return failed(Unauthenticated("the triggerToken is unknown or revoked", detail=5002))

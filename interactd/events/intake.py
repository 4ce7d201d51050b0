"""The way in: events are checked against fair shares, wait their turn, and are answered when they are committed."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.application import service

from interactd.changes import Hub
from interactd.config import Config
from interactd.errors import ApiError, TooMany, Unavailable
from interactd.events.dispatch import Dispatch
from interactd.events.event import Event, Outcome, failed, unstorable
from interactd.events.parcel import Parcel, sealed
from interactd.rates import Rates


class Intake(service.Service):
    """Takes events and answers when they are committed; every device that must hear of one is told through the hub."""

    def __init__(self, reactor: Any, dsn: str, config: Config, hub: Hub) -> None:
        self._reactor = reactor
        self._limits = config.limits
        self._rates = Rates(config.limits.events_per_second, config.limits.events_burst)
        self._dispatch = Dispatch(reactor, dsn, config, hub)

    async def open(self) -> None:
        """All connections are open, or the first error is raised."""
        service.Service.startService(self)
        await self._dispatch.open()

    async def stopService(self) -> None:
        """What is under way is stored and answered, what waits gets Unavailable, the connections are closed."""
        service.Service.stopService(self)
        await self._dispatch.close()

    async def put(self, event: Event) -> Outcome:
        """The outcome of one event: stored, known already, or an error."""
        parcel = sealed(event)
        error = unstorable(event) or self._refusal((parcel,))
        if error is not None:
            return failed(error)
        self._dispatch.add((parcel,))
        return await parcel.answer

    async def put_array(self, events: Sequence[Event]) -> list[Outcome]:
        """The outcomes of events of one token, in order; all refused where the token's or the user's share is used up."""
        wrong = {place: failed(error) for place, event in enumerate(events) if (error := unstorable(event)) is not None}
        parcels = [sealed(event) for place, event in enumerate(events) if place not in wrong]
        refusal = self._refusal(parcels) if parcels else None
        if refusal is not None:
            return [wrong.get(place) or failed(refusal) for place in range(len(events))]
        self._dispatch.add(parcels)
        if not wrong:
            return [await parcel.answer for parcel in parcels]
        stored = iter(parcels)
        return [wrong.get(place) or await next(stored).answer for place in range(len(events))]

    def _refusal(self, parcels: Sequence[Parcel]) -> ApiError | None:
        """Why these are not even queued; else they have their user's key."""
        dispatch, token_hash = self._dispatch, parcels[0].hash
        if not dispatch.working:
            return Unavailable("the database is not available right now")
        if dispatch.line.length + len(parcels) > self._limits.waiting:
            return Unavailable("too many events wait")
        hint = dispatch.hints.of(token_hash)
        key = token_hash if hint is None else hint.owner
        if dispatch.line.share(key) >= self._limits.waiting_per_user:
            return TooMany("too many events of this user wait", retry_after=1)
        pause = self._rates.spend(token_hash, len(parcels), self._reactor.seconds())
        if pause:
            return TooMany("too many events from this device", retry_after=pause)
        for parcel in parcels:
            parcel.key = key
        return None

"""Follows a device's socket: everything once and in order, however often the connection is lost (docs/live-protocol.md)."""
from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from interactd.client.conversation import Conversation, Place

SILENCE = 60.0                          # seconds without a message after which a connection is dead; pings come every 25
LONGEST = 60.0                          # seconds between two attempts, at most
FOR_GOOD = {4400, 4401, 4403, 4409}     # close codes after which coming again is no use


@frozen
class Account:
    """Whose socket it is."""

    url: str                            # ws://host:port or wss://host
    token: str = field(repr=False)
    device_id: str


class Ended(Exception):
    """The server closed the socket for good; `code` says why."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{reason} ({code})")
        self.code = code


Take = Callable[[dict[str, Any], Place], Awaitable[None]]
Resync = Callable[[Place], Awaitable[None]]


async def no_sync(place: Place) -> None:
    """For whoever keeps nothing that could be synchronized."""


class Client:
    """`take` is awaited for each notification, update and retract behind `place`; `resync` where some can not be had any more.

    A message counts as taken, and is acknowledged, when `take` has returned. What these two raise ends `run`.
    """

    def __init__(self, reactor: Any, account: Account, take: Take, place: Place | None = None, *, resync: Resync = no_sync,
                 pace: float = 1.0, silence: float = SILENCE) -> None:
        """`pace`: seconds by which the waits between attempts are measured; `silence`: until a connection counts as dead."""
        self.account = account
        self.place = place
        self.silence = silence
        self.connections = 0                # opened so far
        self._reactor = reactor
        self._take = take
        self._resync = resync
        self._pace = pace
        self._stopping = False
        self._attempt = 0
        self._pause: Deferred[None] | None = None
        self._talk: Conversation | None = None

    async def run(self) -> None:
        """Returns after `stop`; raises Ended when the server wants no more of this client."""
        while not self._stopping:
            talk = self._talk = Conversation(self._reactor, self)
            code, reason = await talk.held()
            if code in FOR_GOOD and not self._stopping:
                raise Ended(code, reason)
            if not self._stopping:
                await self._wait(talk.after)
                self._attempt += 1

    def stop(self) -> None:
        """The connection is closed, and `run` returns."""
        self._stopping = True
        if self._pause is not None:
            self._pause.cancel()
        elif self._talk is not None:
            self._talk.close()

    def say(self, **word: int) -> None:
        """`shown=` or `dismiss=` an interactionId; lost if there is no connection."""
        if self._talk is not None:
            self._talk.say(word)

    def begins(self, place: Place) -> None:
        """A client without a place goes on here."""
        self.place = place

    def answered(self) -> None:
        """The connection is good: the next one that is lost was not in vain."""
        self._attempt = 0

    async def taken(self, message: dict[str, Any]) -> None:
        """The next message."""
        assert self.place is not None
        place = Place(message["seq"], self.place.epoch)
        await self._take(message, place)
        self.place = place

    async def resynced(self, place: Place) -> None:
        """What was missed is had by a synchronization only."""
        await self._resync(place)
        self.place = place

    async def _wait(self, after: float | None) -> None:
        wait = random.uniform(0, min(LONGEST, self._pace * 2.0 ** min(self._attempt, 10))) if after is None else after
        self._pause = deferLater(self._reactor, wait)
        try:
            await self._pause
        except CancelledError:
            pass
        finally:
            self._pause = None

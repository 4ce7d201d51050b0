"""Another system that is busy or away is asked again, with growing pauses, before it counts as out of reach (docs/import.md)."""
from __future__ import annotations

import random
import time
from typing import Any

from attrs import field, frozen
from twisted.internet.task import deferLater
from twisted.web.http import stringToDatetime

from interactd.errors import Unavailable
from interactd.imports.outgoing import Asking, Closed, Gate, Lost, Reply, TooLarge
from interactd.keys import Server

AWAY = (1.0, 2.0, 4.0)      # seconds before the next try
BUSY = (5.0, 10.0, 20.0)
IN_ALL = 60.0


def away(why: str, retry_after: int = 60) -> Unavailable:
    """503 … 7002: an external system is out of reach."""
    return Unavailable(f"the other system is out of reach: {why}", detail=7002, retry_after=retry_after)


class Oversize(Unavailable):
    """The answer was larger than is taken."""


@frozen
class Patient:
    """Asks through the gate until there is an answer that says something. Errors: Unavailable with 7002."""

    gate: Gate
    reactor: Any
    jitter: Any = field(factory=random.Random)

    async def ask(self, server: Server, asking: Asking) -> Reply:
        """An answer that is neither 429 nor 5xx."""
        waited, pauses = 0.0, {"away": list(AWAY), "busy": list(BUSY)}
        while True:
            reply, why = await self._tried(server, asking)
            if reply is not None and reply.status != 429 and reply.status < 500:
                return reply
            busy = reply is not None and (reply.status == 429 or "retry-after" in reply.headers)
            pause = self._pause(reply, pauses["busy" if busy else "away"])
            if pause is None or waited + pause > IN_ALL:
                raise away(why, int(min(pause or 60, 3600)))
            waited += pause
            await self.wait(pause)

    async def _tried(self, server: Server, asking: Asking) -> tuple[Reply | None, str]:
        """An answer if there is any, and what to say of it."""
        try:
            reply = await self.gate.ask(server, asking)
        except TooLarge as large:
            raise Oversize(str(large), detail=7002, retry_after=60) from None
        except Closed as closed:
            raise away(str(closed)) from None
        except Lost as lost:
            return None, str(lost)
        return reply, f"{server.name} answers with status {reply.status}"

    def _pause(self, reply: Reply | None, pauses: list[float]) -> float | None:
        """Seconds until the next try; None for no other."""
        if not pauses:
            return None
        pause = pauses.pop(0)
        said = reply.headers.get("retry-after", "") if reply is not None else ""
        if said.isascii() and said.isdigit() and len(said) < 7:
            return float(said)
        if said:
            try:
                return max(0.0, float(stringToDatetime(said.encode())) - time.time())
            except ValueError:
                pass
        return pause + (float(self.jitter.random()) if pause >= BUSY[0] else 0.0)

    async def wait(self, seconds: float) -> None:
        """The seconds have passed."""
        await deferLater(self.reactor, seconds)

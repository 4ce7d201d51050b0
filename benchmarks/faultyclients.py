"""Who rings and who listens while things break: phones that send until they are answered, devices that follow their sockets."""
from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from typing import Any

import orjson
import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool

from benchmarks.faultyworld import World
from interactd.client.conversation import Place
from interactd.client.follow import Account, Client, Ended


async def rest(seconds: float) -> None:
    """Some time passes."""
    await deferLater(reactor, seconds)      # type: ignore[arg-type]


class Device:
    """A client that keeps what it takes; a slow one takes its time, a frozen one stops reading now and then."""

    def __init__(self, world: World, user: int, name: str, port: int, place: Place) -> None:
        self.user = user
        self.seen: list[tuple[int, int]] = []       # number and interaction
        self.resyncs = self.ended = 0
        self.pause = 0.0
        self.client = Client(reactor, Account(f"ws://127.0.0.1:{port}", world.session(user), name), self.take, place,
                             resync=self.resync, pace=0.05, silence=3.0)
        self.running: Deferred[None] = Deferred.fromCoroutine(self.client.run())
        self.running.addErrback(self._ended)

    def _ended(self, failure: Failure) -> None:
        failure.trap(Ended)
        self.ended += 1

    async def take(self, message: dict[str, Any], place: Place) -> None:
        """One message."""
        if "type" in message:
            self.seen.append((message["seq"], message["interactionId"]))
        if self.pause:
            await rest(self.pause)

    async def resync(self, place: Place) -> None:
        """Something could not be had."""
        self.resyncs += 1

    def freeze(self, frozen: bool) -> None:
        """It stops reading, or goes on."""
        wire = self.client._talk._wire if self.client._talk is not None else None
        if wire is not None and wire.transport is not None:
            (wire.transport.pauseProducing if frozen else wire.transport.resumeProducing)()


class Phone:
    """A trigger device: each call is sent until it is answered, under one Idempotency-Key."""

    def __init__(self, world: World, user: int, port: Callable[[], int]) -> None:
        self.world, self.user, self.port = world, user, port
        self.pool = HTTPConnectionPool(reactor)
        self.agent = Agent(reactor, pool=self.pool, connectTimeout=2)

    async def ring(self) -> int:
        """One call, answered by now: what it is stored as."""
        key, body = secrets.token_hex(8), {"type": "call-incoming", "data": f"+4930{random.randrange(10**8)}"}
        while (stored := await self._sent(key, body)) is None:
            await rest(random.uniform(0.02, 0.1))
        return stored

    async def _sent(self, key: str, body: Any) -> int | None:
        headers = {"triggerToken": self.world.trigger(self.user), "Idempotency-Key": key}
        try:
            answer = await treq.put(f"http://127.0.0.1:{self.port()}/v2/interactions", json=body, headers=headers, agent=self.agent, timeout=3)
            said = await answer.content().addTimeout(3, reactor)
        except Exception:
            return None
        if answer.code not in (201, 429, 503):
            raise RuntimeError(f"an event was answered {answer.code}")
        return int(orjson.loads(said)["entity"]["id"]) if answer.code == 201 else None

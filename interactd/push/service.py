"""Pushing as a service: the client, the deliveries that it sends, the key that may change."""
from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from interactd import metrics
from interactd.changes import Acknowledged, Hub, Notice
from interactd.config import Config
from interactd.db import Database
from interactd.errors import Unavailable
from interactd.push.identity import Identity, identity
from interactd.push.outlet import Outlet
from interactd.push.pool import Limits, Mode, Pool
from interactd.push.presence import Presence
from interactd.push.records import Records
from interactd.refusals import ConfigError

TRY_EVERY = 5.0         # seconds between two test pushes to a device
REMEMBER_EVERY = 60.0   # seconds between two looks at other nodes' successes
UP = {Mode.UP: 1.0, Mode.BACKOFF: 0.5, Mode.BLOCKED: 0.0, Mode.STOPPED: 0.0}


class Push(Service):
    """Sends to Apple what sockets do not; without an identity it does nothing."""

    log = Logger()

    def __init__(self, mine: Identity | None, database: Database, hub: Hub, config: Config, reactor: Any, *,
                 presence: Presence = Presence()) -> None:
        self.config = config.apns
        self.identity = mine
        self.records = Records(database, config.live, config.apns, presence)
        self.outlet = Outlet(self.records, presence, config.apns, config.live.ack_timeout, reactor)
        self._reactor = reactor
        self._hub = hub
        self._subscribed: list[Callable[[], None]] = []
        self._loop = LoopingCall(self._look)
        self._loop.clock = reactor
        self._every = config.live.sweep_every
        self._stamp = self._file_stamp()
        self._leaving: set[Deferred[None]] = set()
        self._tried: dict[int, float] = {}
        self._remember_at = 0.0

    @property
    def pool(self) -> Pool | None:
        """The client; None where pushing is off."""
        return self.outlet.pool

    def may_try(self, device_id: int) -> bool:
        """Whether it is time for another test push to this device; if so, it counts as sent."""
        now = self._reactor.seconds()
        self._tried = {one: at for one, at in self._tried.items() if at + TRY_EVERY > now}
        return bool(self._tried.setdefault(device_id, now) == now)

    def startService(self) -> None:
        """From now on events are pushed; what a former process left is found by the first look."""
        Service.startService(self)
        if self.identity is not None:
            self._begin(self.identity)
            self._subscribed = [self._hub.subscribe(Notice, self.outlet.noticed), self._hub.subscribe(Acknowledged, self.outlet.acknowledged)]
            self._loop.start(self._every)

    async def stopService(self) -> None:
        """What is on its way is awaited, what is not goes back into its row."""
        Service.stopService(self)
        while self._subscribed:
            self._subscribed.pop()()
        if self._loop.running:
            self._loop.stop()
        if self.pool is not None:
            await self.pool.stop()
            while self._leaving:
                await next(iter(self._leaving))
            await self.outlet.stop()

    def _begin(self, mine: Identity) -> None:
        limits = Limits(self.config.connections, self.config.queue)
        self.outlet.pool = Pool(mine.requests, mine.dial(self._reactor), self._reactor, limits)
        if mine.expires is not None:
            metrics.PUSH_CERTIFICATE.set(mine.expires.timestamp())

    async def _look(self) -> None:
        if self._reactor.seconds() >= self._remember_at:
            try:
                await self._remember()
            except Unavailable:
                return                          # the sweep would not do better
            self._remember_at = self._reactor.seconds() + REMEMBER_EVERY
        self._reload()
        self._measure()
        await self.outlet.sweep()

    async def _remember(self) -> None:
        """Successes of other nodes, or before a restart, show as well that the settings are right."""
        assert self.pool is not None
        for voip, ago in await self.records.last_success():
            self.pool.verdicts.succeeded(self.config.topic + (".voip" if voip else ""), ago)

    def _reload(self) -> None:
        """A key file that has changed gets a client of its own; the old one sends what it has begun."""
        stamp, old = self._file_stamp(), self.pool
        if stamp == self._stamp or old is None:
            return
        self._stamp = stamp
        try:
            mine = identity(self.config)
        except ConfigError as fault:
            self.log.error("the changed key is not used: {fault}", fault=str(fault))
            return
        assert mine is not None
        self.log.info("the key file has changed, and is used from now on")
        self.identity = mine
        self._begin(mine)
        leaving = Deferred.fromCoroutine(old.stop())
        self._leaving.add(leaving)
        leaving.addBoth(lambda _: self._leaving.discard(leaving))

    def _file_stamp(self) -> tuple[int, int] | None:
        file = self.config.key_file or self.config.certificate_file
        try:
            found = os.stat(file) if file is not None else None
        except OSError:
            return None
        return None if found is None else (found.st_mtime_ns, found.st_size)

    def _measure(self) -> None:
        pool, mine = self.pool, self.identity
        assert pool is not None and mine is not None
        first = pool.queue.first()
        metrics.PUSH_QUEUE.set(len(pool.queue))
        metrics.PUSH_QUEUE_AGE.set(self._reactor.seconds() - first.since if first is not None else 0)
        metrics.PUSH_WINDOW.set(sum(link.streams.http2.window for link in pool.links.all))
        metrics.PUSH_IN_FLIGHT.set(pool.links.in_flight)
        metrics.PUSH_LIMIT.set(sum(link.limit for link in pool.links.all))
        metrics.PUSH_UP.set(UP[pool.mode])
        if mine.token is not None:
            metrics.PUSH_TOKEN_AGE.set(mine.token.age if mine.token.issued else 0)

"""Timed work: what expires goes, canonical forms follow their rules; each step is caught and logged on its own."""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.application import service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from interactd.changes import Changed, Hub
from interactd.config import Config
from interactd.db import Database, Statement
from interactd.jobs.numbers import renew, renew_lines

EVERY = 3600.0          # seconds
EXPIRED = tuple(Statement(f"expired_{table}", f"DELETE FROM {table} WHERE {condition}") for table, condition in (
    ("event_keys", "at < now() - interval '3 days'"),           # 24 h count (contract 6.2); late events look back further
    ("sessions", "expires_at < now()"),
    ("password_resets", "expires_at < now()"),
    ("tombstones", "at < now() - interval '90 days'"),          # contract section 9
    ("device_moves", "at < now() - interval '2 days'"),
))


class Jobs(service.Service):
    """Does the timed work at the start and every hour; canonical forms also when a company's region changes."""

    log = Logger()

    def __init__(self, reactor: Any, database: Database, config: Config, hub: Hub) -> None:
        self._database = database
        self._config = config
        self._loop = LoopingCall(self._work)
        self._loop.clock = reactor
        self._running: Deferred[None] | None = None
        self._asked = False
        hub.subscribe(Changed, self._changed)

    def startService(self) -> None:
        """The first round begins."""
        service.Service.startService(self)
        self._loop.start(EVERY)

    async def stopService(self) -> None:
        """No round begins any more, and the one under way has ended, which is soon: numbers are left for the next start."""
        service.Service.stopService(self)
        if self._loop.running:
            self._loop.stop()
        if self._running is not None:
            await self._running

    def _changed(self, change: Changed) -> None:
        if change.entity_type == "company" and self.running:
            self._work()

    def _work(self) -> None:
        if self._running is not None:
            self._asked = True
            return
        self._asked = False
        self._running = Deferred.fromCoroutine(self._round())
        self._running.addBoth(self._ended)

    def _ended(self, result: Any) -> None:
        self._running = None
        if self._asked and self.running:
            self._work()

    async def _round(self) -> None:
        await self._step("renewing canonical forms", lambda: renew(self._database, self._config, lambda: bool(self.running)))
        await self._step("renewing the forms of companies' lines", lambda: renew_lines(self._database, self._config))
        for statement in EXPIRED:
            await self._step(statement.name, lambda: self._database.query(statement))

    async def _step(self, name: str, work: Callable[[], Awaitable[Any]]) -> None:
        if not self.running:
            return
        try:
            await work()
        except Exception:
            if self.running:
                self.log.failure("{name} failed, the next round tries again", name=name)

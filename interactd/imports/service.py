"""The systems that contacts can be imported from, and how many imports run at the same time."""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from interactd.api.body import faulty
from interactd.config import Imports as Settings
from interactd.errors import Unavailable
from interactd.imports.carddav import CardDav
from interactd.imports.google import Google
from interactd.imports.outgoing import Gate, resolver
from interactd.imports.patience import Patient
from interactd.imports.source import Source
from interactd.tls import StrictPolicy, trusted

T = TypeVar("T")
Open = Callable[[str, str], Source]
BUSY = 30                   # seconds after which to come again


class Imports:
    """By name, what opens an address book with a user name and a password; at most `at-once` imports work at a time."""

    def __init__(self, reactor: Any, settings: Settings) -> None:
        trust = trusted(settings.ca_file.read_bytes()) if settings.ca_file else None
        self.gate = Gate(reactor, resolver(reactor), StrictPolicy(trust), settings.timeout, settings.answer_bytes)
        self.patient = Patient(self.gate, reactor)
        self.systems: dict[str, Open] = {server.name: CardDav.opening(self.patient, server) for server in settings.servers}
        self.systems["google"] = Google.opening(self.patient, settings)
        self._most = settings.at_once
        self._running = 0

    def source(self, system: str, username: str, password: str) -> Source:
        """The address book of a user; 400 for a system that is not configured."""
        if system not in self.systems:
            known = ", ".join(sorted(self.systems)) or "none is configured"
            raise faulty("externalSystem", f"is not one of those configured ({known})")
        return self.systems[system](username, password)

    async def at_once(self, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` returns; 503 when too many are at work already."""
        if self._running >= self._most:
            raise Unavailable(f"{self._most} imports are running already, try again in a minute", retry_after=BUSY)
        self._running += 1
        try:
            return await work()
        finally:
            self._running -= 1

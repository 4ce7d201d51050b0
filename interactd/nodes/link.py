"""What the bus asks of a connection, whatever carries it."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred

Hear = Callable[[str], None]


class Broken(Exception):
    """No connection could be made."""


class Link(ABC):
    """A connection on which every node hears each message, its own too."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()         # fires once, when nothing is heard any more

    @abstractmethod
    def send(self, text: str) -> None:
        """Tells everybody, in the order of the calls; what can not be told is lost."""

    @abstractmethod
    def flushed(self) -> Deferred[None]:
        """Fires when what was told so far has left, or can not leave."""

    def close(self) -> None:
        """Hang up, without waiting for a peer that may be frozen."""
        self._over()

    def _over(self) -> None:
        if not self.ended.called:
            self.ended.callback(None)


class Carrier(Protocol):
    """Makes links."""

    async def connect(self, heard: Hear) -> Link:
        """A link that hears, or Broken. Cancelling it leaves nothing behind."""

"""What the daemon remembers of trigger tokens so that it can prepare an event before asking the database.

A hint is a guess: the database authenticates and compares, and answers `again` with the right one where it was wrong.
"""
from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from attrs import frozen

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The last `most` things learnt."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """What was learnt of `key`, if it is remembered."""
        value = self._known.get(key)
        if value is not None:
            self._known.move_to_end(key)
        return value

    def learn(self, key: K, value: V) -> None:
        """Remember it, and forget the oldest if that is one too many."""
        self._known[key] = value
        self._known.move_to_end(key)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def forget(self, key: K) -> None:
        """It is not remembered any more."""
        self._known.pop(key, None)


@frozen
class Hint:
    """Whose token it is, and how their company reads numbers."""

    owner: int
    switchboard: bool
    region: str | None
    area_code: str | None


class Hints:
    """Hints by token hash; for switchboards also who a receiver is."""

    def __init__(self, most: int = 50_000) -> None:
        self._hints: Recent[bytes, Hint] = Recent(most)
        self._routes: Recent[tuple[int, str], int] = Recent(most)

    def of(self, token_hash: bytes) -> Hint | None:
        """The hint of a token that was seen lately."""
        return self._hints.get(token_hash)

    def target(self, hint: Hint, receiver: str | None) -> int:
        """The user to whom an event with this receiver belongs, as far as is known."""
        if not hint.switchboard or receiver is None:
            return hint.owner
        return self._routes.get((hint.owner, receiver)) or hint.owner

    def learn(self, token_hash: bytes, hint: Hint, receiver: str | None, target: int) -> None:
        """The database said so."""
        self._hints.learn(token_hash, hint)
        if hint.switchboard and receiver is not None:
            self._routes.learn((hint.owner, receiver), target)

    def forget(self, token_hash: bytes) -> None:
        """The token is good no more."""
        self._hints.forget(token_hash)

"""Who comes next: events wait by user, users take turns, and a user is never in two batches at once."""
from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterable

from interactd.events.parcel import Parcel


class Line:
    """The waiting events. Those of one user leave in the order in which they came, one user after the other."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, deque[Parcel]] = {}
        self._ready: deque[Hashable] = deque()       # users with waiting events, none of them under way
        self._under_way: Counter[Hashable] = Counter()
        self._held: Counter[Hashable] = Counter()    # waiting and under way, by user
        self.length = 0

    def __bool__(self) -> bool:
        """Whether something can leave now."""
        return bool(self._ready)

    def share(self, key: Hashable) -> int:
        """How many events of a user are not answered yet."""
        return self._held[key]

    def add(self, parcel: Parcel) -> None:
        """It waits as the last of its user's."""
        self._held[parcel.key] += 1
        self.length += 1
        self._queue(parcel.key).append(parcel)

    def take(self, most: int) -> list[Parcel]:
        """Up to `most` events: one of each user, then another one of each. Of a user who is not known yet only one."""
        taken: list[Parcel] = []
        later: deque[Hashable] = deque()
        while len(taken) < most and (turn := self._ready or later):
            key = turn.popleft()
            waiting = self._waiting[key]
            taken.append(waiting.popleft())
            self._under_way[key] += 1
            if not waiting:
                del self._waiting[key]
            elif not isinstance(key, bytes):
                later.append(key)
        return taken

    def back(self, parcels: Iterable[Parcel], key: Hashable) -> None:
        """They were under way in vain: they wait again, first of their user, who is known as `key` now."""
        for parcel in reversed(list(parcels)):
            self._held[parcel.key] -= 1
            self._held[key] += 1
            old, parcel.key = parcel.key, key
            self._queue(key).appendleft(parcel)
            if old != key:
                self._rename(old, key)
            self._landed(old)

    def gone(self, parcel: Parcel) -> None:
        """It is answered."""
        self.length -= 1
        self._held[parcel.key] -= 1
        if not self._held[parcel.key]:
            del self._held[parcel.key]
        self._landed(parcel.key)

    def drain(self) -> list[Parcel]:
        """All that wait; they are gone."""
        left = [parcel for waiting in self._waiting.values() for parcel in waiting]
        self._waiting.clear()
        self._ready.clear()
        self._held.subtract(parcel.key for parcel in left)
        self._held += Counter()
        self.length -= len(left)
        return left

    def _queue(self, key: Hashable) -> deque[Parcel]:
        if key not in self._waiting:
            self._waiting[key] = deque()
            if not self._under_way[key]:
                self._ready.append(key)
        return self._waiting[key]

    def _rename(self, old: Hashable, key: Hashable) -> None:
        """What waits under a token's hash follows the event that found out whose it is."""
        for parcel in self._waiting.pop(old, ()):
            parcel.key = key
            self._waiting[key].append(parcel)
            self._held[old] -= 1
            self._held[key] += 1

    def _landed(self, key: Hashable) -> None:
        self._under_way[key] -= 1
        if not self._under_way[key]:
            del self._under_way[key]
            if key in self._waiting:
                self._ready.append(key)

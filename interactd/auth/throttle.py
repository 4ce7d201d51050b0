"""Limits on failed logins, by address, by account and address, and by account for addresses that are new to it."""

from array import array
from collections import OrderedDict
from hashlib import blake2b
from ipaddress import ip_address
from math import ceil

from attrs import Factory, define, field, frozen

from interactd.errors import TooMany


def origin(address: str) -> str:
    """The address a login counts for: IPv6 by its /64, IPv4 inside IPv6 as IPv4, anything else as it is."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{ip_address(int(parsed) >> 64 << 64)}/64"


@frozen
class Limit:
    """So many failures within a window, then a wait that doubles with each wait that follows another (all seconds)."""

    failures: int
    window: float
    first: float
    longest: float

    def wait(self, streak: int) -> float:
        """How long the wait number `streak` in a row lasts."""
        return min(self.first * 2.0 ** min(streak - 1, 32), self.longest)


@frozen
class Attempt:
    """A login under way: the counts it belongs to, and the pair of account and address that a right password clears."""

    keys: tuple[tuple[bytes, Limit], ...] = field(repr=False)
    pair: bytes = field(repr=False)

    @property
    def mark(self) -> int:
        """By what the pair's failures are known in other counts."""
        return int.from_bytes(self.pair[:8], "big")


@define
class _Count:
    """What is known of one key: recent failures and whose they were, attempts without outcome yet, and waits in a row."""

    failed: "array[float]" = Factory(lambda: array("d"))
    whose: "array[int]" = Factory(lambda: array("Q"))
    pending: int = 0
    streak: int = 0
    until: float = 0.0
    culprit: int | None = None          # whose failures alone began the last wait

    def refresh(self, now: float, limit: Limit) -> None:
        """Drop what no longer counts at `now`."""
        while self.failed and self.failed[0] <= now - limit.window:
            del self.failed[0], self.whose[0]
        if self.streak and now > self.until + limit.longest:
            self.streak = 0

    def delay(self, now: float, limit: Limit) -> float:
        """Seconds until another attempt is let in, 0 for now; attempts under way count as if they failed."""
        self.refresh(now, limit)
        if now < self.until:
            return self.until - now
        return 1.0 if len(self.failed) + self.pending >= limit.failures else 0.0

    def fail(self, now: float, limit: Limit, mark: int) -> None:
        """Count one failure, and begin a wait with the last one allowed."""
        self.refresh(now, limit)
        self.failed.append(now)
        self.whose.append(mark)
        if len(self.failed) >= limit.failures:
            self.streak += 1
            self.until = now + limit.wait(self.streak)
            self.culprit = mark if set(self.whose) == {mark} else None
            del self.failed[:], self.whose[:]

    def clear(self) -> None:
        """Forget the failures, not the attempts under way."""
        self.streak, self.until = 0, 0.0
        del self.failed[:], self.whose[:]

    def forgive(self, mark: int) -> None:
        """Forget the failures of this mark, and a wait that they alone began."""
        if self.streak and self.culprit == mark:
            self.streak, self.until, self.culprit = self.streak - 1, 0.0, None
        kept = [(when, who) for when, who in zip(self.failed, self.whose) if who != mark]
        self.failed, self.whose = array("d", [when for when, _ in kept]), array("Q", [who for _, who in kept])

    @property
    def empty(self) -> bool:
        """True when forgetting the count changes nothing."""
        return not (self.failed or self.pending or self.streak)


class Throttle:
    """The counts of all logins of this process; `now` is monotonic seconds, memory is bounded by `most` counts."""

    def __init__(self, failures: int, window: float, most: int = 100_000) -> None:
        self._narrow = Limit(failures, window, first=window, longest=6 * window)
        # Shorter: it also delays the owner of the account on a new device while somebody else is guessing.
        self._account = Limit(failures, window, first=window / 10, longest=window)
        self._most = most
        self._counts: OrderedDict[bytes, _Count] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def screen(self, now: float, address: str) -> None:
        """Raise TooMany if `address` has to wait, whatever account it asks for."""
        self._refuse(now, ((_key("address", origin(address)), self._narrow),))

    def admit(self, now: float, account: str, address: str, known: bool) -> Attempt:
        """Let an attempt in, to be given to `failed`, `passed` or `left`, or raise TooMany with the seconds to wait.

        `known` says that the account logged in from this address before.
        """
        attempt = self._attempt(account, address, known)
        self._refuse(now, attempt.keys)
        for key, _ in attempt.keys:
            self._count(key).pending += 1
        self._forget(now)
        return attempt

    def failed(self, now: float, attempt: Attempt) -> None:
        """The password was wrong."""
        for key, limit in attempt.keys:
            self._settle(key).fail(now, limit, attempt.mark)
        self._forget(now)

    def passed(self, attempt: Attempt) -> None:
        """The password was right: the failures of this account from this address are forgotten everywhere, no others.

        Those at other accounts stay, so a right password of one's own buys no further guess at somebody else's.
        """
        self._forgive(attempt)
        self.left(attempt)

    def forgive(self, account: str, address: str) -> None:
        """Whoever is at this address has proven otherwise to own the account."""
        attempt = self._attempt(account, address, False)
        self._forgive(attempt)
        self._drop_empty(attempt)

    def left(self, attempt: Attempt) -> None:
        """The attempt ended without an outcome."""
        for key, _ in attempt.keys:
            self._settle(key)
        self._drop_empty(attempt)

    def _attempt(self, account: str, address: str, known: bool) -> Attempt:
        place = origin(address)
        pair = _key("pair", account, place)
        keys = [(_key("address", place), self._narrow), (pair, self._narrow)]
        if not known:
            keys.append((_key("account", account), self._account))
        return Attempt(tuple(keys), pair)

    def _forgive(self, attempt: Attempt) -> None:
        for key, _ in attempt.keys:
            self._count(key).forgive(attempt.mark)
        self._count(attempt.pair).clear()

    def _drop_empty(self, attempt: Attempt) -> None:
        for key, _ in attempt.keys:
            if self._counts[key].empty:
                del self._counts[key]

    def _refuse(self, now: float, keys: tuple[tuple[bytes, Limit], ...]) -> None:
        waits = [self._counts[key].delay(now, limit) for key, limit in keys if key in self._counts]
        longest = max(waits, default=0.0)
        if longest > 0:
            raise TooMany("too many failed logins, try again later", retry_after=ceil(longest))

    def _count(self, key: bytes) -> _Count:
        count = self._counts.setdefault(key, _Count())
        self._counts.move_to_end(key)
        return count

    def _settle(self, key: bytes) -> _Count:
        count = self._count(key)
        count.pending = max(0, count.pending - 1)
        return count

    def _forget(self, now: float) -> None:
        """Drop the counts touched longest ago: those that say nothing any more, and whatever is over the bound."""
        while self._counts:
            key, count = next(iter(self._counts.items()))
            count.refresh(now, self._narrow)
            if not count.empty and len(self._counts) <= self._most:
                return
            del self._counts[key]


def _key(*parts: str) -> bytes:
    """A key of fixed size, however long the account's name."""
    return blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()

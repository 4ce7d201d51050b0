"""Passwords: argon2id, checked and hashed off the reactor thread by a few threads with a short queue."""

from functools import partial
from secrets import token_urlsafe
from typing import Any, Callable
from unicodedata import normalize

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from interactd.config import Auth
from interactd.threads import Threads, nobody_refused


def hasher_for(auth: Auth) -> PasswordHasher:
    """Argon2id with the configured cost."""
    return PasswordHasher(auth.argon2_time_cost, auth.argon2_memory_kib, auth.argon2_parallelism, type=Type.ID)


def hash_password(auth: Auth, password: str) -> str:
    """What the database keeps of a password; takes a noticeable time, so the daemon uses Passwords.hash instead."""
    return hasher_for(auth).hash(_secret(password))


def _secret(password: str) -> bytes:
    """The same bytes whichever way a keyboard composed the accents (RFC 8265, OpaqueString)."""
    return normalize("NFC", password).encode("utf-8", "surrogatepass")


class Passwords(Threads):
    """Hashes and checks, at most `hashes_at_once` together and `hashes_waiting` behind them, else Unavailable (503)."""

    def __init__(self, auth: Auth, reactor: Any, hasher: PasswordHasher | None = None) -> None:
        super().__init__(reactor, "passwords", "too many logins at once", auth.hashes_at_once, auth.hashes_waiting)
        self._hasher = hasher = hasher or hasher_for(auth)
        self._nobody = hasher.hash(token_urlsafe())

    async def hash(self, password: str) -> str:
        """What the database keeps of a password."""
        return await self.off_thread(partial(self._hasher.hash, _secret(password)))

    async def check(self, stored: str | None, password: str, admit: Callable[[], None] = nobody_refused) -> bool:
        """Whether `password` is the one of this hash; None, for an account that has none, takes the same work.

        `admit` is called when a thread is free, right before the work, and may refuse by raising.
        """
        return await self.off_thread(partial(self._matches, stored or self._nobody, _secret(password)), admit)

    def outdated(self, stored: str) -> bool:
        """Whether a hash was made with another cost than the configured one."""
        return self._hasher.check_needs_rehash(stored)

    def _matches(self, stored: str, secret: bytes) -> bool:
        try:
            return self._hasher.verify(stored, secret)
        except (VerifyMismatchError, InvalidHashError):
            return False

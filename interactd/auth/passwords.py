"""Passwords: argon2id, checked and hashed off the reactor thread by a few threads with a short queue."""

from functools import partial
from secrets import token_urlsafe
from typing import Any, Callable, TypeVar
from unicodedata import normalize

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.python.threadpool import ThreadPool

from interactd.config import Auth
from interactd.errors import Unavailable

T = TypeVar("T")


def hasher_for(auth: Auth) -> PasswordHasher:
    """Argon2id with the configured cost."""
    return PasswordHasher(auth.argon2_time_cost, auth.argon2_memory_kib, auth.argon2_parallelism, type=Type.ID)


def hash_password(auth: Auth, password: str) -> str:
    """What the database keeps of a password; takes a noticeable time, so the daemon uses Passwords.hash instead."""
    return hasher_for(auth).hash(_secret(password))


def _secret(password: str) -> bytes:
    """The same bytes whichever way a keyboard composed the accents (RFC 8265, OpaqueString)."""
    return normalize("NFC", password).encode("utf-8", "surrogatepass")


def _nobody_refused() -> None:
    """Let every attempt in."""


class Passwords(Service):
    """Hashes and checks, at most `hashes_at_once` together and `hashes_waiting` behind them, else Unavailable (503)."""

    name = "passwords"

    def __init__(self, auth: Auth, reactor: Any, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher = hasher or hasher_for(auth)
        self._waiting = auth.hashes_waiting
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=0, maxthreads=auth.hashes_at_once, name="passwords")
        self._free = DeferredSemaphore(auth.hashes_at_once)
        self._nobody = hasher.hash(token_urlsafe())

    def startService(self) -> None:
        Service.startService(self)
        self._pool.start()

    def stopService(self) -> None:
        Service.stopService(self)
        self._pool.stop()

    async def hash(self, password: str) -> str:
        """What the database keeps of a password."""
        return await self._off_thread(partial(self._hasher.hash, _secret(password)))

    async def check(self, stored: str | None, password: str, admit: Callable[[], None] = _nobody_refused) -> bool:
        """Whether `password` is the one of this hash; None, for an account that has none, takes the same work.

        `admit` is called when a thread is free, right before the work, and may refuse by raising.
        """
        return await self._off_thread(partial(self._matches, stored or self._nobody, _secret(password)), admit)

    def outdated(self, stored: str) -> bool:
        """Whether a hash was made with another cost than the configured one."""
        return self._hasher.check_needs_rehash(stored)

    def _matches(self, stored: str, secret: bytes) -> bool:
        try:
            return self._hasher.verify(stored, secret)
        except (VerifyMismatchError, InvalidHashError):
            return False

    async def _off_thread(self, work: Callable[[], T], admit: Callable[[], None] = _nobody_refused) -> T:
        if not self._free.tokens and len(self._free.waiting) >= self._waiting:
            raise Unavailable("too many logins at once")
        await self._free.acquire()
        done: Deferred[T] = Deferred()
        try:
            if not self.running:
                raise Unavailable("too many logins at once")
            admit()
            self._pool.callInThreadWithCallback(partial(self._reactor.callFromThread, self._settle, done), work)
        except BaseException:
            self._free.release()
            raise
        return await done

    def _settle(self, done: "Deferred[T]", success: bool, result: Any) -> None:
        """End one piece of work, also one whose caller has gone; only then is its thread free for the next."""
        try:
            (done.callback if success else done.errback)(result)
        finally:
            self._free.release()

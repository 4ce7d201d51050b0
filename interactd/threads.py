"""A few threads with a short queue, for work that would hold up the reactor."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.python.threadpool import ThreadPool

from interactd.errors import Unavailable

T = TypeVar("T")


def nobody_refused() -> None:
    """Let every piece of work in."""


class Threads(Service):
    """Does at most `at_once` pieces of work together; `waiting` wait behind them, the next one is Unavailable (503), which says `busy`."""

    def __init__(self, reactor: Any, name: str, busy: str, at_once: int, waiting: int) -> None:
        self.name = name
        self._reactor = reactor
        self._busy = busy
        self._waiting = waiting
        self._pool = ThreadPool(minthreads=0, maxthreads=at_once, name=name)
        self._free = DeferredSemaphore(at_once)

    def startService(self) -> None:
        Service.startService(self)
        self._pool.start()

    def stopService(self) -> None:
        Service.stopService(self)
        self._pool.stop()

    async def off_thread(self, work: Callable[[], T], admit: Callable[[], None] = nobody_refused) -> T:
        """What `work` returns, done in a thread; `admit` is called when one is free, right before it, and may refuse by raising."""
        if not self._free.tokens and len(self._free.waiting) >= self._waiting:
            raise Unavailable(self._busy)
        await self._free.acquire()
        done: Deferred[T] = Deferred()
        try:
            if not self.running:
                raise Unavailable(self._busy)
            admit()
            self._pool.callInThreadWithCallback(partial(self._reactor.callFromThread, self._settle, done), work)
        except BaseException:
            self._free.release()
            raise
        return await done

    def _settle(self, done: Deferred[T], success: bool, result: Any) -> None:
        """End one piece of work, also one whose caller has gone; only then is its thread free for the next."""
        try:
            (done.callback if success else done.errback)(result)
        finally:
            self._free.release()

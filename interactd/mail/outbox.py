"""Mails that wait to be sent: tried again while that may help, and none is lost without a word."""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import Logger

from interactd.mail.letters import Letter
from interactd.mail.smtp import NotDelivered
from interactd.metrics import MAILS

PAUSES = (10, 30, 60, 120, 300, 600, 900)      # seconds before each further attempt; together less than the hour of a link
AT_ONCE = 4


class Outbox(Service):
    """Hands each letter to `deliver`, a few at a time; at most `waiting` letters are on their way or between two attempts.

    They wait in memory alone, since a link is a secret that nothing else keeps; what has not gone at the stop is lost, and said so.
    """

    name = "outbox"
    log = Logger()

    def __init__(self, clock: Any, deliver: Callable[[Letter], Awaitable[None]] | None, waiting: int) -> None:
        self._clock = clock
        self._deliver = deliver             # None: there are no mails
        self._most = waiting
        self._free = DeferredSemaphore(AT_ONCE)
        self._under_way: set[Deferred[None]] = set()

    @property
    def works(self) -> bool:
        """Whether there is a server to send by."""
        return self._deliver is not None

    def send(self, letter: Letter) -> None:
        """The letter is on its way; whether it arrives tell the log and the metric."""
        if not self.works:
            return
        if not self.running or len(self._under_way) >= self._most:
            self._lost(letter, "too many mails wait" if self.running else "the daemon stops")
            return
        carrying = Deferred.fromCoroutine(self._carry(letter))
        self._under_way.add(carrying)
        carrying.addBoth(lambda _: self._under_way.discard(carrying))

    async def stopService(self) -> None:
        """Whatever was under way has been given up."""
        Service.stopService(self)
        under_way = list(self._under_way)
        for carrying in under_way:
            carrying.cancel()
        await gatherResults(under_way)

    async def _carry(self, letter: Letter) -> None:
        try:
            for pause in (*PAUSES, None):
                reason = await self._attempt(letter)
                if reason is None:
                    return
                if pause is None or not self.running:         # cancelled, a connection ends with an error of its own
                    self._lost(letter, reason)
                    return
                MAILS.labels("retried").inc()
                self.log.warn("{about} was not sent: {reason}; tried again in {pause} s", about=letter.about, reason=reason, pause=pause)
                await deferLater(self._clock, pause)
        except CancelledError:
            self._lost(letter, "the daemon stops")

    async def _attempt(self, letter: Letter) -> str | None:
        """Why it should be tried again, None when there is no more to do."""
        assert self._deliver is not None
        await self._free.acquire()
        try:
            await self._deliver(letter)
            MAILS.labels("sent").inc()
            return None
        except NotDelivered as failure:
            if not failure.final:
                return str(failure)
            MAILS.labels("refused").inc()
            self.log.error("{about} was refused: {reason}", about=letter.about, reason=str(failure))
            return None
        except CancelledError:
            raise
        except Exception as failure:            # its text could hold an address
            return type(failure).__name__
        finally:
            self._free.release()

    def _lost(self, letter: Letter, reason: str) -> None:
        MAILS.labels("lost").inc()
        self.log.error("{about} is lost: {reason}", about=letter.about, reason=reason)

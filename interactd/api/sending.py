"""Writing an answer: at the client's pace, and not for ever."""
from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.web.http import Request as WireRequest
from zope.interface import implementer

from interactd.api.answer import Answer
from interactd.api.receipt import Channel

log = Logger()
BODILESS = (204, 304)
STALLED = 30.0          # seconds without progress that end an answer


class Gone(Exception):
    """The client went away or takes nothing."""


@implementer(IPushProducer)
class _Tap:
    """Lets pieces through while the transport takes them; `ready` raises Gone when it has not for STALLED seconds."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._waiting: Deferred[None] | None = None
        self._paused = self._gone = False

    async def ready(self) -> None:
        if self._paused and not self._gone:
            waiting: Deferred[None] = Deferred()
            self._waiting = waiting
            timer = self._clock.callLater(STALLED, self.stopProducing)
            await waiting
            if timer.active():
                timer.cancel()
        if self._gone:
            raise Gone

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._go_on()

    def stopProducing(self) -> None:
        self._gone = True
        self._go_on()

    def _go_on(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)


async def send(wire: WireRequest, answer: Answer, clock: Any) -> None:
    """The answer is written and finished, or the connection is given up."""
    if wire.finished or wire._disconnected:
        return
    wire.setResponseCode(answer.status)
    if answer.status not in BODILESS:
        wire.setHeader("Content-Type", answer.media)
    for name, said in answer.headers.items():
        wire.setHeader(name, said)
    head = wire.method == b"HEAD"
    if isinstance(answer.body, bytes):
        if answer.status not in BODILESS:
            wire.setHeader("Content-Length", str(len(answer.body)))
        if answer.body and not head:
            wire.write(answer.body)
    elif not head and not await _pieces(wire, answer, clock):
        return
    if answer.taken is not None and not head and isinstance(wire.channel, Channel):
        wire.channel.expect(answer.taken)
    wire.finish()


async def _pieces(wire: WireRequest, answer: Answer, clock: Any) -> bool:
    assert not isinstance(answer.body, bytes)
    tap = _Tap(clock)
    wire.notifyFinish().addErrback(lambda _: tap.stopProducing())
    wire.registerProducer(tap, True)
    try:
        async for piece in answer.body:
            await tap.ready()
            wire.write(piece)
    except Exception as error:
        if not isinstance(error, Gone):
            log.failure("an answer broke off")
        if not wire._disconnected and wire.channel is not None:
            wire.channel.forceAbortClient()
        return False
    wire.unregisterProducer()
    return True

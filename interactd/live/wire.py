"""Autobahn's protocol, as it is spoken here."""
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import autobahn.twisted.websocket
import autobahn.websocket.protocol
import orjson
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol

from interactd.config import Live as Settings
from interactd.errors import Invalid
from interactd.live.allowance import Allowance
from interactd.live.closing import Close

ACTION, REALM = 19, 60  # of the call (contract section 3)


class Silence:
    """Autobahn's own logger would write the request with its token, and an attack would fill the log."""

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda *_, **__: None


def without_debug_texts() -> None:
    """Autobahn formats the texts of its debug messages on each call, even for a logger that drops them: leave that out."""
    for module in (autobahn.twisted.websocket, autobahn.websocket.protocol):
        for name in ("hlval", "hltype", "hlid", "pformat"):
            if hasattr(module, name):
                setattr(module, name, lambda said, *_, **__: said)


def factory() -> WebSocketServerFactory:
    """What all sockets have in common: no compression (90 KB a socket), no timer of Autobahn's own."""
    made = WebSocketServerFactory(server="interactd")
    made.setProtocolOptions(failByDrop=False, openHandshakeTimeout=0, closeHandshakeTimeout=0, allowNullOrigin=True, versions=[13])
    return made


class Wire(WebSocketServerProtocol):
    """Autobahn's protocol with bounds on what a client may send, refusals in our form, and a silent log."""

    transport: Any
    log = Silence()

    def __init__(self, config: Settings, now: Callable[[], float]) -> None:
        super().__init__()
        self.maxMessagePayloadSize = config.message_bytes
        self._now = now
        self._allowance = Allowance(config.messages_per_second, now())

    @abstractmethod
    def end(self, code: Close, reason: str) -> None:
        """The close frame goes out, and nothing else any more."""

    def count(self) -> None:
        """One more frame has come."""
        if not self._allowance.take(self._now()):
            self._too_much("too many messages")

    def sendHttpErrorResponse(self, code: int, reason: str, responseHeaders: Any = None) -> None:
        """A handshake that Autobahn refuses."""
        body = orjson.dumps({"code": code, "error": Invalid("").code(ACTION, REALM), "devmsg": reason})
        lines = [f"HTTP/1.1 {code} Refused", "Content-Type: application/json; charset=utf-8", f"Content-Length: {len(body)}",
                 "Connection: close", *(f"{name}: {said}" for name, said in responseHeaders or ())]
        self.sendData("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def onMessageFrameBegin(self, length: int) -> None:
        """Every frame of a message counts, so that empty ones are not free."""
        super().onMessageFrameBegin(length)
        self.count()

    def _max_message_size_exceeded(self, msg_size: int, max_msg_size: int, reason: str) -> None:
        self._too_much("the message is too long")

    def _too_much(self, reason: str) -> None:
        if self.state == self.STATE_OPEN:
            self.failedByMe = True      # Autobahn then keeps nothing of what still comes
            self.end(Close.PROTOCOL, reason)

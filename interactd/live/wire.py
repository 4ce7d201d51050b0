"""Autobahn's protocol, as it is spoken here."""
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import autobahn.twisted.websocket
import autobahn.websocket.protocol
import orjson
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.protocol import TrafficStats

from interactd.config import Live as Settings
from interactd.errors import Invalid
from interactd.live.allowance import Allowance
from interactd.live.closing import Close

ACTION, REALM = 19, 60  # of the call (contract section 3)
FORGOTTEN = frozenset(("is_open", "is_closed", "send_queue", "trafficStats", "_transport_details", "_results", "_valid_events",
                       "websocket_protocols", "websocket_origin", "websocket_extensions", "_wskey"))


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
    """What all sockets have in common: no timer of Autobahn's own."""
    made = WebSocketServerFactory(server="interactd")
    made.setProtocolOptions(failByDrop=False, openHandshakeTimeout=0, closeHandshakeTimeout=0, allowNullOrigin=True, versions=[13])
    return made


class _Nobody:
    """Stands for a Deferred that nobody waits for."""

    def callback(self, result: object) -> None:
        """Nothing follows."""


class Wire(WebSocketServerProtocol):
    """Autobahn's protocol with bounds on what a client may send, refusals in our form, and a silent log."""

    transport: Any
    log = Silence()
    is_open = is_closed = _Nobody()
    send_queue: Any = ()                    # of Autobahn's slow motion, which is never asked for
    trafficStats = TrafficStats()           # nobody looks

    def __init__(self, config: Settings, now: Callable[[], float]) -> None:
        super().__init__()
        self.maxMessagePayloadSize = config.message_bytes
        self._now = now
        self._allowance = Allowance(config.messages_per_second, now())

    def travel_light(self) -> None:
        """The handshake is over: what only it needed goes, and what the class says as well. 5 of 13 KB."""
        self.__dict__ = {name: value for name, value in vars(self).items()
                         if name not in FORGOTTEN and not name.startswith("http_") and (name not in USUAL or value is not USUAL[name])}

    @staticmethod
    def perMessageCompressionAccept(offers: object) -> None:
        """No compression: it takes 90 KB a socket."""

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


def usual() -> dict[str, Any]:
    """What Autobahn writes into each new connection, and hardly ever changes: options and flags."""
    fresh = WebSocketServerProtocol()
    fresh.factory, fresh.log = factory(), Silence()
    fresh._connectionMade()
    return {name: value for name, value in vars(fresh).items()
            if not callable(value) and (name in fresh.CONFIG_ATTRS or value is None or isinstance(value, (bool, int, float, str, bytes)))}


USUAL = usual()
for _name, _value in USUAL.items():
    setattr(Wire, _name, _value)

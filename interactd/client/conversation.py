"""One connection of a client, from the handshake to the end."""
from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson
from attrs import frozen
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS

from interactd.tls import strict

if TYPE_CHECKING:
    from interactd.client.follow import Client

SUBPROTOCOL = "interactd.1"
OPENING = 10.0          # seconds for the socket to be open and to have said something
CLOSING = 2.0           # seconds for the server to answer the close frame
ACK_EVERY = 0.25        # seconds between two acks, so that they are never too many
WAITING = 100           # messages that wait to be taken; with more the connection is not read any more


@frozen
class Place:
    """Up to where a client has everything; to be stored with what is taken."""

    seq: int
    epoch: str


class _Wire(WebSocketClientProtocol):
    """Autobahn's side of it."""

    def __init__(self, talk: Conversation) -> None:
        super().__init__()
        self.talk = talk

    def onOpen(self) -> None:
        self.talk.opened(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.talk.heard(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.talk.ended(code or 1006, reason or "the connection was lost")


def _hang_up(wire: Any) -> None:
    if wire is not None:
        wire.transport.abortConnection()


class Conversation:
    """What is said over one connection; `after`: seconds until the server wants to see the client again, if it said so."""

    def __init__(self, reactor: Any, client: Client) -> None:
        self.after: float | None = None
        self._client = client
        self._reactor = reactor
        self._wire: Any = None
        self._connecting: Deferred[Any] | None = None
        self._queue: deque[bytes] = deque()
        self._work: Deferred[None] = succeed(None)
        self._asked = False                 # whether a resume is unanswered
        self._acked = -1
        self._ack_due: Any = None
        self._silence: Any = None
        self._over: Deferred[tuple[int, str]] = Deferred()

    async def held(self) -> tuple[int, str]:
        """Close code and reason, when it is over."""
        self._silence = self._reactor.callLater(min(OPENING, self._client.silence), self.cut)
        self._connecting = self._connect()
        self._connecting.addErrback(lambda failure: self.ended(1006, failure.getErrorMessage()))
        over = await self._over
        for timer in (self._silence, self._ack_due):
            if timer is not None and timer.active():
                timer.cancel()
        await self._work                    # what is being taken is taken first, or it would come twice
        return over

    def _connect(self) -> Deferred[Any]:
        url = self._client.account.url
        at = urlsplit(url)
        host, secure = at.hostname or "", at.scheme == "wss"
        endpoint: Any = HostnameEndpoint(self._reactor, host, at.port or (443 if secure else 80))
        if secure:
            endpoint = wrapClientTLS(strict(host), endpoint)
        factory = WebSocketClientFactory(url.rstrip("/") + "/v2/socket", protocols=[SUBPROTOCOL])
        factory.protocol = partial(_Wire, self)  # type: ignore[assignment]
        factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0, serverConnectionDropTimeout=0)
        connecting: Deferred[Any] = endpoint.connect(factory)
        return connecting

    def opened(self, wire: Any) -> None:
        """The handshake is done: who it is, and up to where it has everything."""
        self._wire = wire
        self._client.connections += 1
        account, place = self._client.account, self._client.place
        said: dict[str, Any] = {"auth": account.token, "deviceId": account.device_id}
        if place is not None:
            self._asked = True
            said.update(resume=place.seq, epoch=place.epoch)
        self.say(said)

    def heard(self, payload: bytes) -> None:
        """A message came; they are taken one after the other. Behind the end nothing is heard."""
        if self._over.called:
            return
        self._silence.reset(self._client.silence)
        self._queue.append(payload)
        if len(self._queue) == WAITING:
            self._wire.transport.pauseProducing()
        if self._work.called:
            self._work = Deferred.fromCoroutine(self._take_all())
            self._work.addErrback(self._failed)

    def ended(self, code: int, reason: str) -> None:
        """The connection is gone."""
        if not self._over.called:
            self._over.callback((code, reason))

    def say(self, word: dict[str, Any]) -> None:
        """A message, if the connection is there."""
        if self._wire is not None and self._wire.state == self._wire.STATE_OPEN:
            self._wire.sendMessage(orjson.dumps(word))

    def close(self) -> None:
        """In order, if it is open."""
        if self._wire is None:
            self.cut()
        elif self._silence.active():
            self._wire.sendClose(1000)
            self._silence.reset(CLOSING)

    def cut(self) -> None:
        """Nothing is expected of it any more."""
        if self._wire is not None:
            self._wire.transport.abortConnection()
        elif self._connecting is not None:
            self._connecting.addCallback(_hang_up)      # connected, but the handshake has not been answered
            self._connecting.cancel()
        self.ended(1006, "nothing was heard in time")

    def _failed(self, failure: Any) -> Any:
        self.cut()
        return failure

    async def _take_all(self) -> None:
        while self._queue and not self._over.called:
            await self._one(orjson.loads(self._queue.popleft()))
            if len(self._queue) == WAITING - 1:
                self._wire.transport.resumeProducing()
            if self._ack_due is None:
                self._acknowledge()

    async def _one(self, message: dict[str, Any]) -> None:
        client = self._client
        if "reconnectAfter" in message:
            self.after = message["reconnectAfter"] / 1000
        elif "resync" in message:
            self._asked = False
            self._acked = -1
            await client.resynced(Place(message["seq"], message["epoch"]))
            client.answered()
        elif "resumed" in message:
            self._asked = False
            client.answered()
        elif client.place is None:
            client.begins(Place(message["seq"], message["epoch"]))
        elif message["prev"] == client.place.seq:
            if {"type", "update", "retract"} & message.keys():
                await client.taken(message)
                client.answered()
        elif not self._asked:
            self._asked = True
            self.say({"resume": client.place.seq, "epoch": client.place.epoch})

    def _acknowledge(self) -> None:
        """What was taken, at most so often."""
        self._ack_due = None
        place = self._client.place
        if place is not None and place.seq > self._acked and not self._over.called:
            self._acked = place.seq
            self.say({"ack": place.seq})
            self._ack_due = self._reactor.callLater(ACK_EVERY, self._acknowledge)

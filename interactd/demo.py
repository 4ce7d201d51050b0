"""`interactctl demo`: a whole ringing phone, played against the running daemon through its own API."""
from __future__ import annotations

import re
import secrets
import time
from typing import Any

import treq
from attrs import define
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.task import deferLater
from twisted.web.client import Agent
from twisted.web.http_headers import Headers

from interactd import people
from interactd.auth.passwords import hash_password
from interactd.config import Config
from interactd.db import Database
from interactd.refusals import Refusal
from interactd.tls import StrictPolicy

EMAIL = "demo@localhost"
NUMBER, DIALLED = "+49 2332 667998", "02332/66 79 98"
PATIENCE = 10.0         # seconds for an answer or a notification


class Listener(WebSocketClientProtocol):
    """A device's socket: it hands over the first notification."""

    def onOpen(self) -> None:
        self.factory.opened.callback(None)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if b'"interactionId"' in payload and not self.factory.rang.called:
            self.factory.rang.callback((time.monotonic(), payload.decode()))

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        for waiting in (self.factory.opened, self.factory.rang):
            if not waiting.called:
                waiting.errback(Refusal(f"the socket was closed: {reason or code}"))


class Socket(WebSocketClientFactory):
    """The device's side of the live socket."""

    protocol = Listener

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        WebSocketClientFactory.__init__(self, url, headers=headers)
        self.opened: Deferred[None] = Deferred()
        self.rang: Deferred[tuple[float, str]] = Deferred()
        self.rang.addErrback(lambda failure: failure if self.opened.called else None)


@define
class Story:
    """The calls of the story, and what has to be cleared away after it."""

    reactor: Any
    url: str
    token: str = ""

    async def call(self, verb: str, path: str, body: Any = None, **headers: str) -> Any:
        """The answer's JSON; Refusal when the daemon says no."""
        given = {"authToken": self.token, **headers} if self.token else headers
        try:
            answer = await treq.request(verb, self.url + path, json=body, headers=Headers({k: [v] for k, v in given.items()}),
                                        timeout=PATIENCE, reactor=self.reactor, agent=Agent(self.reactor, StrictPolicy()))
        except ConnectError:
            raise Refusal(f"nobody answers at {self.url}: start the daemon first (scripts/run), or say --url") from None
        said = await answer.json()
        if answer.code >= 300:
            raise Refusal(f"{verb} {path.partition('?')[0]}: {said['devmsg']}")
        return said

    async def ring(self, phone: str, desk: str) -> None:
        """Both devices are registered, the desk listens, the phone rings."""
        trigger = await self.call("PUT", "/v2/triggerDevices", {"deviceId": phone})
        device = await self.call("PUT", "/v2/devices", {"deviceId": desk, "name": "the desk"})
        print(f"registered the trigger device {phone} and the device {desk}")
        socket = Socket(self.url.replace("http", "ws", 1) + f"/v2/socket?deviceId={desk}", {"authToken": self.token})
        host, port = _where(self.url)
        connection = self.reactor.connectTCP(host, port, socket)
        try:
            await socket.opened.addTimeout(PATIENCE, self.reactor)
            print("the desk's socket is open; the phone rings …")
            await self._event(trigger["entity"], socket)
        finally:
            connection.disconnect()
            await deferLater(self.reactor, 0, lambda: None)
            await self.call("DELETE", f"/v2/devices/{device['entity']['id']}")
            await self.call("DELETE", f"/v2/triggerDevices/{trigger['entity']['id']}")

    async def _event(self, trigger: dict[str, Any], socket: Socket) -> None:
        started = time.monotonic()
        event = {"type": "call-incoming", "data": DIALLED}
        stored = Deferred.fromCoroutine(Story(self.reactor, self.url).call("PUT", "/v2/interactions", event, triggerToken=trigger["triggerToken"]))
        at, frame = await socket.rang.addTimeout(PATIENCE, self.reactor)
        await stored
        print(frame)
        print(f"from PUT to push: {(at - started) * 1000:.1f} ms")


def _where(url: str) -> tuple[str, int]:
    found = re.fullmatch(r"http://(\[[^\]]+\]|[^:/]+):(\d+)/?", url)
    if found is None:
        raise Refusal(f"{url} is no address such as http://127.0.0.1:8080")
    return found[1].strip("[]"), int(found[2])


def address(config: Config) -> str:
    """Where the daemon of this configuration listens."""
    found = re.match(r"tcp:(?:port=)?(\d+)(?:.*:interface=([^:\\]+))?", config.http.listen)
    if found is None:
        raise Refusal(f"the demo can not tell the address from [http] listen = {config.http.listen}: say --url http://host:port")
    return f"http://{found[2] or '127.0.0.1'}:{found[1]}".replace("0.0.0.0", "127.0.0.1")


async def play(reactor: Any, database: Database, config: Config, url: str) -> None:
    """The whole story, told on standard output; what it made is cleared away again, but for the account."""
    password = people.random_password()
    hashed = hash_password(config.auth, password)
    try:
        await people.set_password(database, EMAIL, hashed, False)
    except Refusal:
        await people.add(database, people.Person(EMAIL, hashed))
    story = Story(reactor, url.rstrip("/"))
    login = await story.call("POST", "/v2/login", {"username": EMAIL, "password": password, "scope": "device app"})
    story.token = login["token"]["authToken"]
    print(f"logged in as {EMAIL}")
    ada = await story.call("PUT", "/v2/contacts", {"contactType": "person", "firstName": "Ada", "lastName": "Lovelace",
                                                   "basicInfos": [{"type": "phone", "value": NUMBER}]})
    print(f"created the contact Ada Lovelace with the number {NUMBER}; {DIALLED} is about to call")
    try:
        await story.ring("demo-phone-" + secrets.token_hex(4), "demo-desk-" + secrets.token_hex(4))
    finally:
        await story.call("DELETE", f"/v2/contacts/{ada['entity']['id']}")
        await story.call("POST", "/v2/logout", {"authToken": story.token})

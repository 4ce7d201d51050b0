"""A daemon's live side and a client in a process of its own, whose wall clock jumps an hour; prints what became of the socket.

usage: python -m tests.clockjump DSN STATE {monotonic,wall} TOKEN: `wall` leaves Twisted's reactor on the wall clock, to show what that does.
"""
from __future__ import annotations

import sys
import time
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import deferLater

from interactd import configfile as configuration
from interactd.assembly import build
from interactd.changes import Notice
from interactd.service import use_monotonic_time
from tests.live_case import Client

TURNS = 200             # of the reactor, in which everything that is due has its turn


async def story(dsn: str, state: str, token: str) -> str:
    """What became of a socket that was open when the clock jumped."""
    config = configuration.load(None, environ={"INTERACTD_STATE_DIRECTORY": state})
    parts = await build(reactor, config, dsn)
    port = reactor.listenTCP(0, parts.api.site(), interface="127.0.0.1")
    factory = WebSocketClientFactory(f"ws://127.0.0.1:{port.getHost().port}/v2/socket?deviceId=phone", headers={"authToken": token})
    factory.protocol = Client
    factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0, serverConnectionDropTimeout=0)
    client: Any = await TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port).connect(factory)
    await client.opened
    client.answers = False
    before = time.time
    time.time = lambda: before() + 3600
    for _ in range(TURNS):
        await deferLater(reactor, 0)
        if client.code is not None:
            break
    if client.code is None:
        parts.app.hub.publish(Notice(1, 1, 1, 0, (1,), '{"type":"call-incoming"}', "call-incoming"))
        await client.next()
    said = f"code {client.code}, {len(client.pings)} pings, {len(client.messages)} more messages"
    time.time = before
    return said


def main() -> None:
    """The whole process."""
    if sys.argv[3] == "monotonic":
        use_monotonic_time(reactor)
    else:
        reactor.seconds = lambda: time.time()

    def tell(said: str) -> None:
        print(said)
        reactor.stop()

    def begin() -> None:
        done: Deferred[str] = Deferred.fromCoroutine(story(sys.argv[1], sys.argv[2], sys.argv[4]))
        done.addErrback(lambda failure: failure.getTraceback()).addCallback(tell)
    reactor.callWhenRunning(begin)
    reactor.run()


if __name__ == "__main__":
    main()

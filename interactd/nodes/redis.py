"""The bus by Redis or Valkey, through txredisapi: one connection hears (SUBSCRIBE), one tells (PUBLISH)."""
from __future__ import annotations

from itertools import cycle
from typing import Any

import txredisapi
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IStreamClientEndpoint

from interactd.keys import RedisAddress
from interactd.nodes.link import Broken, Hear, Link
from interactd.tls import strict

CHANNEL = "interactd_hints"
PATIENCE = 5.0          # seconds for a connection, and for the answer to a command
_BROKEN = (txredisapi.RedisError, ConnectError, ValueError)     # ValueError: how txredisapi says that the password is wrong


class _Factory(txredisapi.RedisFactory):
    """One connection, made once."""

    reconnect = False

    def __init__(self, address: RedisAddress) -> None:
        super().__init__(None, address.database, 1, isLazy=True, password=address.password or None,
                         username=address.user or None, replyTimeout=PATIENCE)

    async def connected(self, reactor: Any, endpoint: IStreamClientEndpoint) -> Any:
        """The connection's commands."""
        made = self.deferred
        self.startConnecting(endpoint)
        return await made.addTimeout(PATIENCE, reactor, lambda result, seconds: _silent())

    def lost(self) -> Deferred[Any]:
        """Fires when the connection is gone."""
        return self.pool[0].whenDisconnected() if self.pool else DeferredList([])


def _silent() -> None:
    raise Broken("no answer")


class _Hearing(_Factory):
    """The connection that hears."""

    def __init__(self, address: RedisAddress, heard: Hear) -> None:
        super().__init__(address)
        self._heard = heard

    def buildProtocol(self, addr: Any) -> Any:
        """A protocol that passes on what it hears."""
        protocol = super().buildProtocol(addr)
        protocol.messageReceived = lambda pattern, channel, message: self._heard(str(message))
        return protocol

    protocol = txredisapi.SubscriberProtocol


class _Pair(Link):
    """Two connections to one server; when either is lost, both are."""

    def __init__(self, hearing: _Hearing, telling: _Factory) -> None:
        super().__init__()
        self._factories = (hearing, telling)
        self._commands: Any = None
        self._told: Deferred[Any] = succeed(None)

    async def open(self, reactor: Any, endpoint: IStreamClientEndpoint) -> None:
        """It hears, and its server is one that all write to; or Broken."""
        hearing, telling = self._factories
        try:
            self._commands = await telling.connected(reactor, endpoint)
            if (await self._commands.role())[0] != "master":
                raise Broken("it is a replica")
            await (await hearing.connected(reactor, endpoint)).subscribe(CHANNEL)
        except _BROKEN as error:
            self.close()
            raise Broken(f"{type(error).__name__}: {error}") from None
        except BaseException:
            self.close()
            raise
        for factory in self._factories:
            factory.lost().addBoth(lambda _: self.close())

    def send(self, text: str) -> None:
        """Told at once."""
        self._told = self._commands.publish(CHANNEL, text).addErrback(lambda failure: self.close())

    def flushed(self) -> Deferred[None]:
        """Fires when the last message is answered: they are answered in order."""
        done: Deferred[None] = Deferred()
        self._told.addBoth(lambda _: done.callback(None))
        return done

    def close(self) -> None:
        """Hang up."""
        for factory in self._factories:
            factory.stopTrying()
            for connection in tuple(factory.pool):
                connection.transport.abortConnection()
        self._over()


class Redis:
    """Carries the bus by the first of several servers that takes it, or by the one that Sentinel names for `service`."""

    def __init__(self, reactor: Any, addresses: tuple[RedisAddress, ...], service: str) -> None:
        self._reactor = reactor
        self._addresses = addresses
        self._service = service
        self._next = cycle(addresses)

    async def connect(self, heard: Hear) -> Link:
        """A pair of connections, or Broken when no server takes them; each call begins with the next address."""
        reasons = []
        for address in [next(self._next) for _ in self._addresses]:
            try:
                return await self._pair(await self._master(address) if address.sentinel else address, heard)
            except Broken as broken:
                reasons.append(f"{address.host}:{address.port}: {broken}")
        raise Broken("; ".join(reasons))

    async def _pair(self, address: RedisAddress, heard: Hear) -> Link:
        pair = _Pair(_Hearing(address, heard), _Factory(address))
        await pair.open(self._reactor, self._endpoint(address))
        return pair

    async def _master(self, sentinel: RedisAddress) -> RedisAddress:
        factory = _Factory(sentinel.asked)
        try:
            commands = await factory.connected(self._reactor, self._endpoint(sentinel))
            found = await commands.sentinel_get_master_addr_by_name(self._service)
        except _BROKEN as error:
            raise Broken(f"{type(error).__name__}: {error}") from None
        finally:
            await factory.disconnect()
        if not found:
            raise Broken(f"no master of {self._service} is known")
        return sentinel.named(str(found[0]), int(found[1]))

    def _endpoint(self, address: RedisAddress) -> IStreamClientEndpoint:
        plain = HostnameEndpoint(self._reactor, address.host.encode(), address.port, timeout=PATIENCE)
        return wrapClientTLS(strict(address.host), plain) if address.tls else plain

"""Services that depend on each other: each starts when the one before is ready, and stops when the one after is gone."""

from __future__ import annotations

from typing import Any

from twisted.application.service import IService, MultiService, Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.logger import Logger

from interactd.refusals import Refusal


class InOrder(MultiService):
    """A MultiService (which starts and stops all at once) whose children wait for each other.

    It counts as running only when everything has started, so `begin` alone starts a child.
    """

    log = Logger()

    def __init__(self) -> None:
        MultiService.__init__(self)

    async def begin(self, child: Service) -> None:
        """Add a service and wait until it has started."""
        child.setServiceParent(self)
        await maybeDeferred(child.startService)

    def stopService(self) -> Deferred[None]:
        """Fires when all children have stopped, the last one first; a failing one is logged and stops nobody else."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._end())

    async def _end(self) -> None:
        children: list[IService] = list(reversed(self.services))
        for child in children:
            try:
                await maybeDeferred(child.stopService)
            except Exception:
                self.log.failure("{child} did not stop well", child=child)


class Port(Service):
    """A listening port that is open when it has started, which StreamServerEndpointService does not wait for."""

    def __init__(self, endpoint: IStreamServerEndpoint, factory: Any, said: str) -> None:
        self._endpoint = endpoint
        self._factory = factory
        self._said = said
        self.listening: IListeningPort | None = None

    def startService(self) -> Deferred[None]:
        """Fires when connections are accepted; fails with Refusal."""
        Service.startService(self)
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> None:
        try:
            self.listening = await self._endpoint.listen(self._factory)
        except Exception as failure:
            raise Refusal(f"{self._said} can not be opened ({failure}): choose another with --listen or [http] listen") from None

    def stopService(self) -> Any:
        """Fires when no more connections are accepted."""
        Service.stopService(self)
        return self.listening.stopListening() if self.listening is not None else None

    @property
    def address(self) -> str:
        """Where it listens, as one would type it into a browser."""
        host = self.listening.getHost() if self.listening is not None else None
        if not isinstance(host, (IPv4Address, IPv6Address)):
            return self._said
        return f"http://{f'[{host.host}]' if ':' in host.host else host.host}:{host.port}"

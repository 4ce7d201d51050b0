"""The access log: sampled, without secrets, bodies or numbers; and who is calling."""
from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable
from typing import Any

from twisted.logger import Logger
from twisted.web.http import Request as WireRequest

from interactd.api.context import Asked


def client_address(wire: WireRequest, trusted: Iterable[Any]) -> str:
    """The peer's address, or behind trusted proxies the last X-Forwarded-For entry that is no such proxy."""
    peer = str(getattr(wire.getClientAddress(), "host", "") or "local")
    networks = tuple(trusted)
    if not networks or not _inside(peer, networks):
        return peer
    forwarded = b",".join(wire.requestHeaders.getRawHeaders(b"x-forwarded-for", [])).decode("latin-1")
    for hop in reversed([part.strip() for part in forwarded.split(",") if part.strip()]):
        if not _inside(hop, networks):
            return hop if _address(hop) else peer
    return peer


def _address(said: str) -> Any:
    try:
        return ipaddress.ip_address(said)
    except ValueError:
        return None


def _inside(said: str, networks: tuple[Any, ...]) -> bool:
    address = _address(said)
    return address is not None and any(address in network for network in networks)


class AccessLog:
    """One line for a share of the requests, and for each that failed on our side: the path's pattern, never its query."""

    log = Logger()

    def __init__(self, sample: float) -> None:
        self._sample = sample

    def line(self, wire: WireRequest, path: str, asked: Asked, status: int) -> None:
        """The request is logged, or not."""
        if status >= 500 or (self._sample and random.random() < self._sample):
            self.log.info("{verb} {path} {status} {request}", verb=wire.method.decode("latin-1", "replace"), path=path or "unknown path",
                          status=status, request=asked.id)

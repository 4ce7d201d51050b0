"""The gate: every request to another system passes here (contract section 11).

The configured scheme and port only; the name is resolved once, every address must be public unless the server's entry allows
private ones, and the connection goes to that very address; redirects are followed by hand; credentials go to the server's own hosts
only; compressed answers are refused, and each answer is bounded in bytes and time.
"""
from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from io import BytesIO
from socket import AF_INET, AF_INET6, SOCK_STREAM, gaierror, getaddrinfo
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from attrs import define, evolve, field, frozen
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.threads import deferToThreadPool
from twisted.web._newclient import RequestNotSent, RequestTransmissionFailed
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, ResponseFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from interactd.imports.reading import Slow, TooBig, whole_body
from interactd.keys import Server
from interactd.tls import StrictPolicy

REDIRECTS = 5
ADDRESSES = 4               # of one name that are tried
CONNECT = 10.0              # seconds, for the name and for the connection each
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_LOST = (ResponseFailed, RequestTransmissionFailed, RequestNotSent, ResponseNeverReceived, ConnectError, DNSLookupError, Slow, TimeoutError,
         CancelledError, OSError)

Resolve = Callable[[str], Awaitable[list[str]]]


class Closed(Exception):
    """The gate lets this request not through, or this answer not in; trying again would not help."""


class TooLarge(Closed):
    """The answer has too many bytes."""


class Lost(Exception):
    """The other system could not be reached, or broke off; trying again may help."""


@frozen
class Reply:
    """An answer: status, headers by lower-case name, the whole body, and the address that gave it in the end."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    url: str


@frozen
class Asking:
    """A request; `authorization` is sent to the server's own hosts only."""

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes = field(default=b"", repr=False)
    authorization: str = field(default="", repr=False)
    limit: int | None = None            # bytes of the answer, where it is less than the configured most


def public(address: str) -> bool:
    """Whether an address is one of the open Internet, whatever it is written as: mapped, translated or tunnelled IPv4 too."""
    try:
        said = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    inner = _inner(said)
    return _open(said if inner is None else inner)


def _inner(said: Any) -> Any:
    if said.version == 4:
        return None
    if said in _NAT64:
        return ipaddress.IPv4Address(int(said) & 0xFFFFFFFF)
    return said.ipv4_mapped or said.sixtofour or (said.teredo[1] if said.teredo else None) or _compatible(said)


def _compatible(said: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    return ipaddress.IPv4Address(int(said)) if int(said) >> 32 == 0 and int(said) > 1 else None


def _open(said: Any) -> bool:
    return bool(said.is_global and not said.is_multicast and not said.is_reserved and not said.is_unspecified)


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
@define(eq=False)
class _Way:
    """The way to addresses that were resolved and checked before, whatever the agent is told: the first that answers."""

    endpoints: list[Any]
    protocol: Any = None

    def endpointForURI(self, uri: Any) -> _Way:
        return self

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        protocolFactory.noisy = False           # no two lines in the log for each request
        return Deferred.fromCoroutine(self._connected(protocolFactory))

    async def _connected(self, factory: Any) -> Any:
        for endpoint in self.endpoints[:-1]:
            try:
                self.protocol = await endpoint.connect(factory)
                return self.protocol
            except ConnectError:
                pass
        self.protocol = await self.endpoints[-1].connect(factory)
        return self.protocol

    def close(self) -> None:
        """The connection is gone at once, whatever the peer is at."""
        if self.protocol is not None and self.protocol.transport is not None:
            self.protocol.transport.abortConnection()


@frozen
class Gate:
    """Asks other systems; `resolve` gives the addresses of a name."""

    reactor: Any
    resolve: Resolve
    policy: StrictPolicy
    timeout: float
    most: int

    async def ask(self, server: Server, asking: Asking) -> Reply:
        """The answer, behind at most five redirects. Errors: Closed, Lost."""
        for _ in range(REDIRECTS + 1):
            reply = await self._once(server, asking)
            where = reply.headers.get("location")
            if reply.status not in (301, 302, 303, 307, 308) or not where:
                return reply
            asking = evolve(asking, url=urljoin(asking.url, where))
            if reply.status == 303:
                asking = evolve(asking, method="GET", body=b"")
        raise Closed(f"{_host(asking.url)} redirects without end")

    async def _once(self, server: Server, asking: Asking) -> Reply:
        url = _allowed(server, asking.url)
        try:
            return await self._fetch(server, url, asking)
        except TooBig as big:
            raise TooLarge(f"{url.hostname} {big}") from None
        except _LOST as lost:
            raise Lost(f"{url.hostname} could not be reached ({_why(lost)})") from None

    async def _fetch(self, server: Server, url: SplitResult, asking: Asking) -> Reply:
        way = await self._way(server, url)
        agent = Agent.usingEndpointFactory(self.reactor, way, HTTPConnectionPool(self.reactor, persistent=False))
        body = FileBodyProducer(BytesIO(asking.body)) if asking.body else None
        try:
            request = agent.request(asking.method.encode(), url._replace(fragment="").geturl().encode("ascii"), _headers(server, url, asking), body)
            response = await request.addTimeout(self.timeout, self.reactor)
            headers = {name.decode("latin-1").lower(): values[-1].decode("latin-1") for name, values in response.headers.getAllRawHeaders()}
            if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
                raise Closed(f"{url.hostname} answers compressed, though it was told not to")
            most = self.most if asking.limit is None else min(asking.limit, self.most)
            return Reply(response.code, headers, await whole_body(self.reactor, response, most), asking.url)
        finally:
            way.close()

    async def _way(self, server: Server, url: SplitResult) -> _Way:
        """The way to the host's addresses, all of which must be allowed."""
        host = url.hostname or ""
        addresses = await Deferred.fromCoroutine(_found(self.resolve, host)).addTimeout(CONNECT, self.reactor)
        if not addresses:
            raise Lost(f"{host} has no address")
        if not server.private and not all(map(public, addresses)):
            raise Closed(f"{host} is in a private network, which its entry in the configuration does not allow")
        return _Way([self._endpoint(url, address) for address in addresses[:ADDRESSES]])

    def _endpoint(self, url: SplitResult, address: str) -> Any:
        kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        endpoint = kind(self.reactor, address, _port(url), timeout=CONNECT)
        if url.scheme == "http":
            return endpoint
        return wrapClientTLS(self.policy.creatorForNetloc((url.hostname or "").encode("ascii"), _port(url)), endpoint)


async def _found(resolve: Resolve, host: str) -> list[str]:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return await resolve(host)
    return [host]


def _allowed(server: Server, said: str) -> SplitResult:
    """The address as it may be asked: https (http only where the configuration says so itself), the configured port, no credentials in it."""
    try:
        url, entry = urlsplit(said), urlsplit(server.url)
        host = (url.hostname or "").encode("idna").decode("ascii")
        port = _port(url)
    except ValueError:
        raise Closed("an address that can not be read") from None
    if url.scheme != "https" and url.scheme != entry.scheme or not host or "@" in url.netloc:
        raise Closed(f"{server.name} leads to an address that is not https")
    if port != _port(entry):
        raise Closed(f"{server.name} leads to another port than the configured one")
    netloc = (f"[{host}]" if ":" in host else host) + (f":{url.port}" if url.port else "")
    path = url.path if url.path.startswith("/") else "/" + url.path
    return url._replace(netloc=netloc, path=_quoted(path), query=_quoted(url.query))


def _quoted(text: str) -> str:
    """The text with what may not stand in a request line escaped; what is escaped stays so."""
    return "".join(c if "!" <= c <= "~" else "".join(f"%{byte:02X}" for byte in c.encode("utf-8", "replace")) for c in text)


def _port(url: SplitResult) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def trusted_with_password(server: Server, host: str) -> bool:
    """Whether the user's credentials may go to a host: the configured one, and those that the entry lists."""
    return host == _host(server.url) or any(host == name or (name.startswith("*.") and host.endswith(name[1:])) for name in server.hosts)


def _headers(server: Server, url: SplitResult, asking: Asking) -> Headers:
    said = {"User-Agent": "interactd", **asking.headers, "Accept-Encoding": "identity"}
    if asking.authorization and trusted_with_password(server, url.hostname or ""):
        said["Authorization"] = asking.authorization
    return Headers({name: [value] for name, value in said.items()})


def _why(lost: BaseException) -> str:
    reasons = getattr(lost, "reasons", None)
    inner = reasons[0].value if reasons else lost
    return "no answer in time" if isinstance(inner, CancelledError | TimeoutError | Slow) else type(inner).__name__


def resolver(reactor: Any) -> Resolve:
    """The system's own resolver, by the reactor."""
    async def resolve(host: str) -> list[str]:
        try:
            found = await deferToThreadPool(reactor, reactor.getThreadPool(), getaddrinfo, host, None, 0, SOCK_STREAM)
        except (gaierror, UnicodeError):
            raise DNSLookupError(host) from None
        return [str(place[4][0]) for place in found if place[0] in (AF_INET, AF_INET6)]
    return resolve

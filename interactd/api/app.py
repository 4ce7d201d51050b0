"""The edge: Klein routes from the calls, the request read from the wire, the answer written to it."""
from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import Any

import klein
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.http import Request as WireRequest
from twisted.web.server import NOT_DONE_YET
from twisted.web.server import Request as WebRequest
from twisted.web.server import Site

from interactd.api import jsonp, pipeline
from interactd.api.access import AccessLog, client_address
from interactd.api.answer import Answer, Upgrade
from interactd.api.call import Call
from interactd.api.context import App, Asked
from interactd.api.receipt import connection
from interactd.api.sending import send
from interactd.api.work import Work
from interactd.db import shield
from interactd.errors import ApiError, NotFound

log = Logger()
ALLOWED_HEADERS = "authToken, triggerToken, Authorization, Content-Type, Idempotency-Key"


class LimitedRequest(WebRequest):
    """A request that stops keeping its body beyond the largest size any call takes; the answer is 413."""

    largest = 8 << 20
    too_large = False

    def gotLength(self, length: int | None) -> None:
        self.too_large = length is not None and length > self.largest
        WebRequest.gotLength(self, 0 if self.too_large else length)

    def handleContentChunk(self, data: bytes) -> None:
        if not self.too_large and self.content is not None and self.content.tell() + len(data) > self.largest:
            self.too_large = True
        if not self.too_large:
            WebRequest.handleContentChunk(self, data)


class _Site(Site):
    """A site without an access log of its own: that one writes whole addresses, with the secrets in them."""

    protocol = staticmethod(connection)

    def log(self, request: Any) -> None:
        """Nothing is written."""


class Api:
    """The HTTP side of the daemon: `site` answers every call of `calls`."""

    def __init__(self, app: App, calls: Iterable[Call]) -> None:
        self.app = app
        self.access = AccessLog(app.config.log.access_sample)
        self.work = Work()
        self.klein = klein.Klein()
        self.klein._url_map.merge_slashes = False       # one slash at the end is ignored, no more
        self.routes: dict[str, pipeline.Route] = {}
        for call in calls:
            self.routes.setdefault(call.path, pipeline.Route(call.path)).calls.append(call)
        for route in self.routes.values():
            self._declare(route)
        for pattern in ("/<path:_>", "/"):
            if pattern not in self.routes:
                self.klein.route(pattern, endpoint="unknown " + pattern)(self._unknown)

    def site(self) -> Site:
        """What listens."""
        largest = max(self.app.config.http.body_limit, self.app.config.http.picture_body_limit)
        kind = type("Request", (LimitedRequest,), {"largest": largest})
        return _Site(self.klein.resource(), requestFactory=kind)  # type: ignore[no-untyped-call]

    def _declare(self, route: pipeline.Route) -> None:
        names = [part[1:] for part in route.path.split("/") if part.startswith(":")]
        pattern = "/".join(f"<{part[1:]}>" if part.startswith(":") else part for part in route.path.split("/"))

        def serve(request: WireRequest, **ids: str) -> Deferred[Any]:
            return shield(self._serve(route, request, tuple(ids[name] for name in names)))
        serve.__name__ = "serve_" + route.path
        self.klein.route(pattern, strict_slashes=False, endpoint=route.path)(serve)

    def _unknown(self, request: WireRequest, **_: str) -> Deferred[Any]:
        return shield(self._serve(pipeline.Route(""), request, ()))

    async def _serve(self, route: pipeline.Route, wire: WireRequest, ids: tuple[str, ...]) -> Any:
        asked = Asked(secrets.token_hex(8), client_address(wire, self.app.config.http.trusted_proxies), {}, wire)
        with self.work:
            answer = await self._answer(route, wire, asked, ids)
            if isinstance(answer, Upgrade):
                self.access.line(wire, route.path, asked, answer.status)
                return NOT_DONE_YET if wire._disconnected else answer.resource
            self._common_headers(wire, asked)
            await send(wire, answer, self.app.clock)
        self.access.line(wire, route.path, asked, answer.status)
        return NOT_DONE_YET if wire.finished else None

    async def _answer(self, route: pipeline.Route, wire: WireRequest, asked: Asked, ids: tuple[str, ...]) -> Any:
        verb = wire.method.decode("latin-1")
        if verb == "OPTIONS" and route.calls:
            return Answer(204, b"", {"Allow": ", ".join(route.allow)})
        headers = {name.decode("latin-1").lower(): values[-1].decode("utf-8", "replace") for name, values in wire.requestHeaders.getAllRawHeaders()}
        asked = Asked(asked.id, asked.address, headers, wire)
        callback: Callable[[Answer], Answer] = _same
        try:
            if not route.calls:
                raise NotFound("entity", devmsg="no such path")
            callback = _callback(verb, wire, headers)
        except ApiError as error:
            return pipeline.refused(error, *route.realm(verb))
        query = wire.uri.partition(b"?")[2]
        body = wire.content.read() if wire.content is not None else b""
        sent = pipeline.Request(verb, ids, query, headers, body, asked, getattr(wire, "too_large", False))
        answer = await pipeline.handle(self.app, route, sent)
        return answer if isinstance(answer, Upgrade) else callback(answer)

    def _common_headers(self, wire: WireRequest, asked: Asked) -> None:
        wire.setHeader("X-Request-Id", asked.id)
        if self.work.ending:
            wire.setHeader("Connection", "close")
        origin = wire.getHeader("origin")
        if origin and origin in self.app.config.http.allowed_origins:
            for name, said in (("Access-Control-Allow-Origin", origin), ("Vary", "Origin"), ("Access-Control-Allow-Headers", ALLOWED_HEADERS),
                               ("Access-Control-Allow-Methods", "GET, HEAD, PUT, POST, DELETE"), ("Access-Control-Expose-Headers", "X-Request-Id")):
                wire.setHeader(name, said)


def _same(answer: Answer) -> Answer:
    return answer


def _callback(verb: str, wire: WireRequest, headers: dict[str, str]) -> Callable[[Answer], Answer]:
    said = wire.args.get(b"callback") if verb == "GET" and wire.args else None
    if not said:
        return _same
    name = jsonp.function(said[-1].decode("utf-8", "replace"))
    return lambda answer: jsonp.script(name, answer)

"""The one road: `handle` is the only code that turns a request into an answer.

It reads in order: route, who, query and body, may, transaction, commit, announce, answer.
"""
from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import orjson
from attrs import define, field
from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from interactd import metrics
from interactd.api import body as bodies
from interactd.api import query as queries
from interactd.api.answer import Answer
from interactd.api.call import ORDINARY, Call, Token, Transact
from interactd.api.context import RANK, App, Asked, Context
from interactd.api.violations import error_of
from interactd.db import Violation
from interactd.errors import (ApiError, Forbidden, Internal, Invalid, Missing, NotFound, TooLarge, Unauthenticated,
                              UpgradeRequired, WrongVerb)

log = Logger()


@define
class Request:
    """A request as the kernel sees it, whoever read it from the wire."""

    verb: str
    ids: tuple[str, ...]
    query: bytes
    headers: Mapping[str, str]
    body: bytes
    asked: Asked
    too_large: bool = False                     # larger than any call takes: what is in `body` is not all of it
    sent: dict[str, str] = field(factory=dict)


@define(eq=False)
class Route:
    """All calls of one path."""

    path: str
    calls: list[Call] = field(factory=list)

    @property
    def allow(self) -> tuple[str, ...]:
        """The verbs of the path."""
        verbs = dict.fromkeys(c.verb for c in self.calls)
        return tuple(verbs) + (("HEAD",) if "GET" in verbs else ()) + ("OPTIONS",)

    def call(self, request: Request) -> Call:
        """The call that a verb and a `cmd` name. Errors: 405, and 400 for a `cmd` that is missing or unknown."""
        fitting = [c for c in self.calls if c.verb == ("GET" if request.verb == "HEAD" else request.verb)]
        if not fitting:
            raise WrongVerb(self.allow)
        if not any(c.cmd for c in fitting):
            return fitting[0]
        said = request.sent.pop("cmd", None)
        named = [c for c in fitting if c.cmd == said]
        if named:
            return named[0]
        raise Missing("cmd is missing") if said is None else Invalid("cmd is unknown", detail=2005)

    def realm(self, verb: str) -> tuple[int, int]:
        """Action and realm of an answer that no call gave: those of the path's calls of that verb, else of the verb and nothing."""
        fitting = [c for c in self.calls if c.verb == verb]
        commanded = [c for c in fitting if c.cmd] or fitting
        return (commanded[0].action, commanded[0].realm) if commanded else (bare_action(verb), 0)


def bare_action(verb: str) -> int:
    """The action of an unknown path or verb follows the verb."""
    return {"GET": 10, "HEAD": 10, "POST": 11, "PUT": 12, "DELETE": 14}.get(verb, 10)


async def handle(app: App, route: Route, request: Request) -> Answer:
    """The answer to a request, errors included; it never raises."""
    started, call = time.monotonic(), None
    try:
        request.sent = queries.parse(request.query)
        call = route.call(request)
        answer = await _answer(app, call, request)
    except Exception as error:
        action, realm = (call.action, call.realm) if call else route.realm(request.verb)
        answer = refused(known(error, request.asked.id), action, realm)
    metrics.answered(call.name if call else "none", answer.status, time.monotonic() - started)
    return answer


async def _answer(app: App, call: Call, request: Request) -> Answer:
    c = Context(app, call, request.asked, (), {}, None, app.database)
    await identify(c, request.headers, request.sent)
    try:
        c.query = queries.read(call.query, _ignored_dropped(call, request.sent))
        c.body = _body(c, request)
    except ApiError:
        if call.late_who:
            await c.known_trigger()
        raise
    allow(c)
    c.ids = tuple(_ids(call, request.ids))
    if call.upgrade and "websocket" not in request.headers.get("upgrade", "").lower():
        raise UpgradeRequired("this is a WebSocket")
    answer = await _run(c)
    for event in c.announced:
        app.hub.publish(event)
    return answer


async def _run(c: Context) -> Answer:
    if c.call.prepare is not None:
        await c.call.prepare(c)
    if c.call.transact is Transact.NONE:
        return await c.call(c)
    return await c.transaction(lambda: c.call(c), read_only=c.call.transact is Transact.READ)


async def identify(c: Context, headers: Mapping[str, str], sent: dict[str, str]) -> None:
    """Sets who asks, by the credential that the call takes. Errors: 400 for two credentials, 401."""
    auth, event = _token(c, headers, sent), headers.get("triggertoken", "")
    wanted = c.call.may.token
    if wanted is Token.NONE:
        return
    if wanted is Token.EITHER and auth and event:
        raise Invalid("two different tokens in one request")
    c.token = event if wanted is Token.TRIGGER or (wanted is Token.EITHER and event and not auth) else auth
    if not c.token and c.call.subprotocol and c.call.subprotocol in offered(headers):
        return
    if not c.token:
        raise Unauthenticated(f"{wanted.value} is missing", detail=5001)
    if wanted is Token.AUTH or (wanted is Token.EITHER and auth):
        c.who = await c.app.sessions.who(c.token, fresh=c.call.administers)
    elif not c.call.late_who:
        await c.known_trigger()


def offered(headers: Mapping[str, str]) -> list[str]:
    """The WebSocket subprotocols that a handshake offers, in the client's order."""
    return [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",")]


def _token(c: Context, headers: Mapping[str, str], sent: dict[str, str]) -> str:
    bearer = headers.get("authorization", "")
    tokens = {headers["authtoken"]} if headers.get("authtoken") else set()
    if bearer.lower().startswith("bearer "):
        tokens.add(bearer[7:].strip())
    if _query_token(c.call, c.app, sent) and sent.get("authToken"):
        tokens.add(sent["authToken"])
    if _query_token(c.call, c.app, sent):
        sent.pop("authToken", None)
    if len(tokens) > 1:
        raise Invalid("two different tokens in one request")
    return tokens.pop() if tokens else ""


def _query_token(call: Call, app: App, sent: dict[str, str]) -> bool:
    if call.upgrade:
        return True
    guarded = ("/v2/triggerDevices", "/v2/sync", "/v2/admin", "/v2/myAccount")
    return app.config.http.jsonp_query_token and call.verb == "GET" and "callback" in sent and not call.path.startswith(guarded)


def _ignored_dropped(call: Call, sent: dict[str, str]) -> dict[str, str]:
    ignored = ("_", "callback") if call.verb == "GET" else ("callback",)
    return {name: said for name, said in sent.items() if name not in ignored}


def _body(c: Context, request: Request) -> Any:
    call = c.call
    limit = c.config.http.picture_body_limit if call.limit > ORDINARY else c.config.http.body_limit
    if request.too_large:
        raise TooLarge(f"the body must have at most {limit} bytes")
    if call.body is None and call.read is None:
        return None
    value = bodies.loads(request.body, request.headers.get("content-type", ""), limit)
    if call.read is not None:
        return call.read(value)
    assert call.body is not None
    return bodies.read(call.body, value, create=call.create)


def allow(c: Context) -> None:
    """Nothing, or 403: the role, the scope, or a password that is due."""
    if c.who is None:
        return
    may = c.call.may
    if c.who.scope == "trigger app" and not may.trigger_app:
        raise Forbidden("a trigger app may only register and read trigger devices")
    if not may.password_due:
        c.who.demand_own_password()
    if c.rank < RANK[may.role]:
        raise Forbidden("this takes the role " + may.role)


def _ids(call: Call, said: tuple[str, ...]) -> list[int]:
    for one in said:
        if not (one.isascii() and one.isdigit() and 0 < len(one) < 19 and one[0] != "0"):
            raise NotFound(call.kind)
    return [int(one) for one in said]


def known(error: Exception, request_id: str) -> ApiError:
    """The error to show: itself, a constraint's meaning, or a 500 that names the request; the log has the traceback."""
    if isinstance(error, Violation):
        error = error_of(error)
    if isinstance(error, ApiError) and not isinstance(error, Internal):
        return error
    if not isinstance(error, CancelledError):
        log.failure("request {request}", request=request_id)
    return Internal(f"internal error, request {request_id}")


def said(error: ApiError, action: int, realm: int) -> dict[str, Any]:
    """An error as the object that answers hold."""
    told: dict[str, Any] = {"code": error.status, "error": error.code(action, realm), "devmsg": error.devmsg}
    if error.details:
        told["details"] = [{"attribute": f.attribute, "problem": f.problem} for f in error.details]
    return told


def refused(error: ApiError, action: int, realm: int) -> Answer:
    """An error as its answer."""
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, error.retry_after))
    if isinstance(error, WrongVerb):
        headers["Allow"] = ", ".join(error.allow)
    if isinstance(error, UpgradeRequired):
        headers["Upgrade"] = "websocket"
    return Answer(error.status, orjson.dumps(said(error, action, realm)), headers)

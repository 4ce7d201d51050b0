"""The API's description (OpenAPI 3.1), made from the calls: nothing in it is written twice."""
from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from interactd import __version__
from interactd.api import answers
from interactd.api.call import Call, Param, Token
from interactd.api.schemas import Schema, Schemas

JAVASCRIPT = "application/javascript"
ABOUT = """Contacts, and everything that happens with them: calls, mails, messages. A trigger device reports an event; the
devices of its owner hear at once who it is.

Times are milliseconds since 1970-01-01 UTC. A value that is not set is left out of answers. In an update an attribute that is
absent stays, `null` clears it. Bodies are JSON whatever of `application/json`, any `+json`, `text/plain`,
`application/x-www-form-urlencoded` or nothing is declared. What only the server sets is ignored when sent; unknown attributes
and parameters are refused.

A GET with `callback` is answered as a script, errors too, always with status 200; `_` on a GET is ignored. Every answer
carries `X-Request-Id`. The text behind a code says what it means; its digits are exception, action, realm and detail."""
SCHEMES: dict[str, Schema] = {
    "authToken": {"type": "apiKey", "in": "header", "name": "authToken", "description": "From `POST /v2/login`."},
    "bearer": {"type": "http", "scheme": "bearer", "description": "The authToken, in the usual header."},
    "queryToken": {"type": "apiKey", "in": "query", "name": "authToken", "description": "Only where a socket opens."},
    "triggerToken": {"type": "apiKey", "in": "header", "name": "triggerToken", "description": "From `PUT /v2/triggerDevices`."},
}
KNOWN: Schema = {"name": "If-None-Match", "in": "header", "description": "ETags of what the client has already.", "schema": {"type": "string"},
                 "example": '"5f3a9c-64"'}
CALLBACK: Schema = {"name": "callback", "in": "query", "description": "JSONP: the function that the script calls.",
                    "schema": {"type": "string", "maxLength": 128, "pattern": r"^[A-Za-z_$][\w$]*(\.[A-Za-z_$][\w$]*)*$"},
                    "example": "jsonpcallback"}


@lru_cache(maxsize=4)
def document(calls: tuple[Call, ...]) -> dict[str, Any]:
    """The whole description of the documented calls, as JSON values."""
    schemas = Schemas({"Error": answers.ERROR})
    paths: dict[str, Any] = {}
    for group in grouped(calls):
        paths.setdefault(_pattern(group[0].path), {})[group[0].verb.lower()] = _operation(group, schemas)
    return {"openapi": "3.1.0", "info": {"title": "interactd", "version": __version__, "description": ABOUT}, "paths": paths,
            "components": {"schemas": dict(sorted(schemas.made.items())), "securitySchemes": SCHEMES}}


def grouped(calls: Iterable[Call]) -> list[tuple[Call, ...]]:
    """The documented calls, those of one path and verb together, the one without `cmd` first."""
    groups: dict[tuple[str, str], list[Call]] = {}
    for call in calls:
        if call.documented:
            groups.setdefault((call.path, call.verb), []).append(call)
    return [tuple(sorted(group, key=lambda c: c.cmd is not None)) for group in groups.values()]


def _pattern(path: str) -> str:
    return re.sub(r":(\w+)", r"{\1}", path)


def _operation(group: tuple[Call, ...], schemas: Schemas) -> Schema:
    first = group[0]
    operation: Schema = {
        "operationId": first.name, "summary": "; ".join(c.summary.rstrip(".") for c in group), "tags": [first.name.partition(".")[0]],
        "parameters": [*_ids(first), *_commands(group), *_query(group), *_headers(group)],
        "security": _security(group), "responses": _responses(group, schemas)}
    if any(c.cmd for c in group):
        operation["description"] = "\n".join(f"- `{'cmd=' + c.cmd if c.cmd else 'no cmd'}` ({c.name}): {c.summary}" for c in group)
    if first.may.role != "user":
        operation["x-role"] = first.may.role
    body = _body(group, schemas)
    return {**operation, "requestBody": body} if body else operation


def _ids(call: Call) -> list[Schema]:
    schema = {"type": "integer", "format": "int64", "minimum": 1, "maximum": 10 ** 18 - 1}
    return [{"name": name, "in": "path", "required": True, "schema": schema, "example": 47} for name in re.findall(r":(\w+)", call.path)]


def _commands(group: tuple[Call, ...]) -> list[Schema]:
    names = [c.cmd for c in group if c.cmd]
    if not names:
        return []
    return [{"name": "cmd", "in": "query", "required": all(c.cmd for c in group), "schema": {"type": "string", "enum": names}}]


def _query(group: tuple[Call, ...]) -> list[Schema]:
    params: dict[str, tuple[Param, list[Call]]] = {}
    for call in group:
        for param in call.query:
            params.setdefault(param.name, (param, []))[1].append(call)
    made = [_param(param, users, group) for param, users in params.values()]
    return [*made, CALLBACK] if group[0].verb == "GET" and not group[0].media and not group[0].upgrade else made


def _param(param: Param, users: list[Call], group: tuple[Call, ...]) -> Schema:
    given = {} if param.default is None or param.default is False else {"default": param.default}
    made: Schema = {"name": param.name, "in": "query", "schema": {**param.schema, **given}}
    if param.required and len(users) == len(group):
        made["required"] = True
    where = ("Needed with " if param.required else "With ") + ", ".join(f"`cmd={c.cmd}`" for c in users) + "."
    about = [part for part in (param.about, where if len(users) < len(group) else "") if part]
    if about:
        made["description"] = " ".join(about)
    return {**made, "example": param.example} if param.example is not None else made


def _headers(group: tuple[Call, ...]) -> list[Any]:
    return [*([KNOWN] if group[0].cached else []), *(header for call in group for header in call.headers)]


def _security(group: tuple[Call, ...]) -> list[dict[str, list[str]]]:
    names: dict[str, None] = {}
    for call in group:
        taken = call.may.token
        if call.upgrade:
            names["queryToken"] = None
        if taken in (Token.AUTH, Token.EITHER):
            names.update(dict.fromkeys(("authToken", "bearer")))
        if taken in (Token.TRIGGER, Token.EITHER):
            names["triggerToken"] = None
    allowed: list[dict[str, list[str]]] = [{name: []} for name in names]
    return [*allowed, {}] if names and any(c.may.token is Token.NONE for c in group) else allowed


def _body(group: tuple[Call, ...], schemas: Schemas) -> Schema | None:
    bodies = [(c, body_schema(c, schemas)) for c in group if c.body is not None or c.read is not None]
    if not bodies:
        return None
    content: Schema = {"schema": _any_of([schema for _, schema in bodies])}
    shown = {c.cmd or c.name: {"value": c.example} for c, _ in bodies if c.example is not None}
    required = len(bodies) == len(group) and all(_needed(schema, schemas) for _, schema in bodies)
    return {"required": required, "content": {"application/json": {**content, **({"examples": shown} if shown else {})}}}


def body_schema(call: Call, schemas: Schemas) -> Schema:
    """The schema of a call's body."""
    if call.body_schema is not None:
        return dict(schemas.complete(call.body_schema, schemas.new if call.create else schemas.change))
    if call.body is None:
        return {}
    return schemas.new(call.body) if call.create else schemas.change(call.body)


def _needed(schema: Schema, schemas: Schemas) -> bool:
    found = schemas.made.get(schema.get("$ref", "").rpartition("/")[2], schema)
    return bool(found.get("required")) or found.get("type") == "array"


def _any_of(found: list[Schema]) -> Schema:
    distinct = [schema for n, schema in enumerate(found) if schema not in found[:n]]
    return distinct[0] if len(distinct) == 1 else {"anyOf": distinct}


def _responses(group: tuple[Call, ...], schemas: Schemas) -> Schema:
    made: Schema = {}
    for status in sorted({c.success for c in group}):
        made[str(status)] = _success([c for c in group if c.success == status], schemas)
    for call in group:
        made.update({str(status): {"description": "success", "content": {"application/json": {"schema": schemas.answer(said)}}}
                     for status, said in call.also.items()})
    if group[0].cached:
        made["304"] = {"description": "not changed"}
    codes: dict[str, dict[int, str]] = {}
    for call in group:
        for code, found in answers.described(call, answers.errors(call)).items():
            codes.setdefault(code, {}).update(found)
    for code in sorted(codes):
        made[code] = answers.response(code, sorted(codes[code].items()), [schemas.answer(c.partly) for c in group if c.partly])
    return made


def _success(calls: list[Call], schemas: Schemas) -> Schema:
    first = calls[0]
    if first.upgrade:
        return {"description": "The WebSocket is open."}
    schema = _any_of([answers.success(c, schemas) for c in calls])
    script = {JAVASCRIPT: {"schema": {"type": "string"}}} if first.verb == "GET" and not first.media else {}
    return {"description": "success", "content": {**{media: {"schema": schema} for media in first.media or ("application/json",)}, **script}}

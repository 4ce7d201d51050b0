"""What a call may answer, as OpenAPI describes it: its success in its envelope, and its errors with their codes."""
from __future__ import annotations

from collections.abc import Iterable, Iterator

from interactd.api.call import Call, Token
from interactd.api.fields import fields_of
from interactd.api.schemas import REFER, Schema, Schemas
from interactd.errors import (ApiError, Forbidden, Internal, Invalid, Missing, NotFound, Outdated, TooLarge, Unauthenticated,
                              Unavailable, UpgradeRequired, WrongMedia)

ERROR: Schema = {
    "description": "`error` is exception (4 digits), action (3), realm (3) and detail (4); `details` name each fault of a body or query.",
    "type": "object", "required": ["code", "error", "devmsg"], "properties": {
        "code": {"type": "integer", "description": "The HTTP status."}, "error": {"type": "integer", "format": "int64"},
        "devmsg": {"type": "string", "description": "Safe to show."},
        "details": {"type": "array", "items": {"type": "object", "required": ["attribute", "problem"], "properties": {
            "attribute": {"type": "string"}, "problem": {"type": "string"}}}}}}
RETRY: Schema = {"Retry-After": {"description": "Seconds after which to come again.", "schema": {"type": "integer", "minimum": 1}}}
PAGE = {"length": {"type": "integer"}, "startIndex": {"type": "integer"}, "totalLength": {"type": "integer"}}
TOKENS = ("token missing", 5001), ("token unknown, expired or revoked", 5002)


def success(call: Call, schemas: Schemas) -> Schema:
    """The schema of the call's answer."""
    inner = schemas.answer(call.answer)
    if call.wrapped == "entity":
        return _envelope(201 if call.verb == "PUT" else 200, entity=inner)
    if call.wrapped in ("done", "deleted"):
        return _envelope(204 if call.wrapped == "deleted" else 200)
    if call.wrapped == "data":
        return _data(inner)
    return {"anyOf": [{"type": "array", "items": inner}, _data(inner)]} if call.wrapped == "list" else inner


def _envelope(code: int, **more: Schema) -> Schema:
    properties = {"code": {"const": code}, "devmsg": {"type": "string"}, **more}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _data(inner: Schema) -> Schema:
    return {"type": "object", "required": ["data"], "properties": {"data": {"type": "array", "items": inner}, **PAGE},
            "description": "`length`, `startIndex` and `totalLength` stand there when `offset` or `limit` was given."}


def errors(call: Call) -> list[ApiError]:
    """The errors that follow from the call's declaration, and those it declares."""
    found = [*_credentials(call), *_input(call), *_named(call), *call.refuses, Unavailable(), Internal("internal error")]
    return list({(e.status, e.exception, e.detail): e for e in found}.values())


def _credentials(call: Call) -> Iterator[ApiError]:
    may = call.may
    if may.token is Token.NONE:
        return
    yield from (Unauthenticated(said, detail=detail) for said, detail in TOKENS)
    if may.token is not Token.TRIGGER and not (may.trigger_app and may.password_due):
        yield Forbidden("the role or scope is missing")


def _input(call: Call) -> Iterator[ApiError]:
    yield Invalid("unknown attribute, parameter or `cmd`", detail=2005)
    yield Invalid("wrong type or form")
    reads = call.body is not None or call.read is not None
    if reads:
        yield Invalid("too long, too large, out of range", detail=2004)
        yield from (WrongMedia("the body must be JSON"), TooLarge("the body is too large"))
    elif any(p.schema.get("type") == "integer" or "maxLength" in p.schema for p in call.query) or _ids(call):
        yield Invalid("out of range", detail=2004)
    if call.cmd or any(p.required for p in call.query) or _mandatory(call):
        yield Missing("attribute missing")
    if reads or any(p.required or p.schema.get("type") == "string" for p in call.query):
        yield Invalid("attribute empty", detail=2002)


def _mandatory(call: Call) -> bool:
    rows = [call.body] if call.body else []
    return any(f.required if call.create else f.update_only or f.row for row in rows for f in fields_of(row)) or call.create


def _ids(call: Call) -> bool:
    return any(p.name == "ids" for p in call.query)


def _named(call: Call) -> Iterator[ApiError]:
    if call.ids or _ids(call):
        yield NotFound(call.kind)
    if call.body is not None and any(f.update_only for f in fields_of(call.body)) and not call.create:
        yield Outdated("version conflict")
    if call.upgrade:
        yield UpgradeRequired("this is a WebSocket")


def described(call: Call, faults: Iterable[ApiError]) -> dict[str, list[tuple[int, str]]]:
    """The errors by HTTP status: code and what it means."""
    by_status: dict[str, list[tuple[int, str]]] = {}
    for fault in sorted(faults, key=lambda f: (f.status, f.code(call.action, call.realm))):
        by_status.setdefault(str(fault.status), []).append((fault.code(call.action, call.realm), fault.devmsg))
    return by_status


def response(status: str, codes: list[tuple[int, str]], others: list[Schema]) -> Schema:
    """One status of an operation with its codes."""
    lines = "; ".join(f"{code:014d} {said}" for code, said in codes)
    schema = {"allOf": [{"$ref": REFER + "Error"}, {"properties": {"error": {"examples": [code for code, _ in codes]}}}]}
    waits = {"headers": RETRY} if status in ("429", "503") else {}
    return {"description": lines, **waits, "content": {"application/json": {"schema": {"anyOf": [schema, *others]} if others else schema}}}

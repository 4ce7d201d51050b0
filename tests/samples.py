"""Bodies and queries made from a call's own declaration: right ones, and each with one thing wrong."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from interactd.api.call import Call, Param
from interactd.api.fields import fields_of

Ids = Mapping[str, int]


def body(call: Call, ids: Ids = {}) -> Any:
    """A body that the call takes: its example, else what it demands; references name what `ids` has of a kind."""
    if call.example is not None:
        return _told(call.example, ids)
    if call.body_schema is not None:
        return _value("", call.body_schema, ids)
    return None if call.body is None else row(call.body, call.create, ids)


def row(kind: type, create: bool, ids: Ids = {}) -> dict[str, Any]:
    """What a row class demands on create or update."""
    return {f.key: _value(f.key, f.schema, ids) for f in fields_of(kind) if f.read and (f.required if create else f.update_only)}


def _told(example: Any, ids: Ids) -> Any:
    if isinstance(example, dict):
        mine = ids.get("contact", 1)
        named = {"contactId": mine, "relatedTo": {"id": mine, "type": "contact"}}
        return {key: named[key] if key in named else _told(inner, ids) for key, inner in example.items()}
    return example


def _value(key: str, schema: Any, ids: Ids) -> Any:
    if isinstance(schema, type):
        return row(schema, True, ids)
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return _value(key, schema[choice][0], ids)
    if "enum" in schema:
        return schema["enum"][0]
    if schema["type"] == "object":
        return {name: _value(name, schema["properties"][name], ids) for name in schema.get("required", ())}
    if schema["type"] == "integer":
        return ids.get("contact", 1) if key in ("id", "contactId") else max(1, schema.get("minimum", 1))
    return {"string": "x@example.org" if schema.get("format") == "email" else "xx", "boolean": True, "array": []}[schema["type"]]


def query(call: Call, **more: str) -> str:
    """A query that the call takes, `?` included; `more` stands in it, too."""
    said = {p.name: _said(p) for p in call.query if p.required}
    pairs = {**({"cmd": call.cmd} if call.cmd else {}), **said, **more}
    return "?" + urlencode(pairs, quote_via=quote) if pairs else ""


def _said(param: Param) -> str:
    return str(param.example if param.example is not None else _value(param.name, param.schema, {}))


def path(call: Call, ident: int = 1) -> str:
    """The call's path with `ident` for every id."""
    return "/".join(str(ident) if part.startswith(":") else part for part in call.path.split("/"))


def wrong_types(call: Call, ids: Ids = {}) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each attribute that the call reads, with a body in which its type alone is wrong."""
    right = body(call, ids)
    if call.body is None or not isinstance(right, dict):
        return
    for f in fields_of(call.body):
        if f.taken(call.create):
            yield f.key, {**right, f.key: 17 if f.schema.get("type") == "string" else "no such value"}


def wrong_params(call: Call) -> Iterator[tuple[str, str]]:
    """Each parameter that not every text is right for, with one that is not."""
    for param in call.query:
        if param.schema.get("type") == "integer" or "enum" in param.schema or "pattern" in param.schema:
            yield param.name, "no"

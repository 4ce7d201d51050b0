"""Bodies and queries made from a call's own declaration: right ones, and each with one thing wrong."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from interactd.api.call import Call, Param
from interactd.api.fields import Field, fields_of
from interactd.entities.pictures import DOT

Ids = Mapping[str, int]


#: what rows demand beyond their required attributes, by the name of the call
DEMANDED: Mapping[str, Mapping[str, Any]] = {
    "contact.put": {"contactType": "person", "firstName": "Ada", "lastName": "Lovelace"},
    "contact.merge": {"contact": {"contactType": "person", "firstName": "Ada"}},
    "picture.put": {"base64": DOT},
}


def body(call: Call, ids: Ids = {}) -> Any:
    """A body that the call takes, with what it demands; references name what `ids` has of a kind."""
    if call.body_schema is not None:
        return _value("", call.body_schema, ids)
    return None if call.body is None else {**row(call.body, call.create, ids), **DEMANDED.get(call.name, {})}


def row(kind: type, create: bool, ids: Ids = {}) -> dict[str, Any]:
    """What a row class demands on create or update."""
    return {f.key: _value(f.key, f.schema, ids) for f in fields_of(kind) if f.read and (f.required if create else f.update_only)}


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


def query(call: Call, without: str = "", **more: str) -> str:
    """A query that the call takes, `?` included; `more` stands in it, too, and what `without` names does not."""
    said = {p.name: _said(p) for p in call.query if p.required}
    pairs = {name: text for name, text in {**({"cmd": call.cmd} if call.cmd else {}), **said, **more}.items() if name != without}
    return "?" + urlencode(pairs, quote_via=quote) if pairs else ""


def _said(param: Param) -> str:
    return str(param.example if param.example is not None else _value(param.name, param.schema, {}))


def path(call: Call, ident: int = 1) -> str:
    """The call's path with `ident` for every id."""
    return "/".join(str(ident) if part.startswith(":") else part for part in call.path.split("/"))


def read_row(call: Call) -> type | None:
    """The row class that describes the body, or one of the forms that it may have."""
    forms = [call.body, *(call.body_schema or {}).get("anyOf", ())]
    return next((form for form in forms if isinstance(form, type)), None)


def _changed(call: Call, ids: Ids, change: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The changes of a right body, each with the attribute that it is about."""
    right, kind = body(call, ids), read_row(call)
    if kind is None or not (right is None or isinstance(right, dict)):
        return
    for key, said in change([f for f in fields_of(kind) if f.taken(call.create)]):
        yield key, {name: inner for name, inner in {**(right or {}), key.partition("[")[0].partition(".")[0]: said}.items() if inner is not ...}


def wrong_types(call: Call, ids: Ids = {}) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each attribute that the call reads, those of items and parts too, with a body in which its type alone is wrong."""
    return _changed(call, ids, lambda fields: _wrong(fields, nested=call.body is None or call.read is None))


def _wrong(fields: Iterable[Field], nested: bool = True) -> Iterator[tuple[str, Any]]:
    for f in fields:
        yield f.key, 17 if f.schema.get("type") == "string" else "no such value"
        if f.row is None or not nested:
            continue
        for key, said in _wrong(inner for inner in fields_of(f.row) if inner.taken(f.schema["type"] == "array")):
            outer = key.partition("[")[0].partition(".")[0]
            if f.schema["type"] == "array":
                yield f"{f.key}[0].{key}", [{**row(f.row, True), outer: said}]
            else:
                yield f"{f.key}.{key}", {outer: said}


def missing(call: Call, ids: Ids = {}) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each attribute that must be there, with a body that lacks it alone."""
    return _changed(call, ids, lambda fields: ((f.key, ...) for f in fields if (f.required if call.create else f.update_only)))


def empty(call: Call, ids: Ids = {}) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each text that must not be empty, with a body in which it is."""
    return _changed(call, ids, lambda fields: (
        (f.key, "") for f in fields if f.required and f.schema.get("type") == "string" and "enum" not in f.schema))


def too_large(call: Call, ids: Ids = {}) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each text and number that has a limit, with a body in which it is beyond it."""
    return _changed(call, ids, lambda fields: ((f.key, _beyond(f.schema)) for f in fields if {"maxLength", "maximum", "maxItems"} & f.schema.keys()))


def _beyond(schema: Mapping[str, Any]) -> Any:
    if "maxItems" in schema:
        return [_beyond({"maxLength": 1}) if schema["items"]["type"] == "string" else 1] * (schema["maxItems"] + 1)
    return schema["maximum"] + 1 if "maximum" in schema else "x" * (schema["maxLength"] + 1)


def wrong_params(call: Call) -> Iterator[tuple[str, str]]:
    """Each parameter that not every text is right for, with one that is not."""
    for param in call.query:
        if param.schema.get("type") == "integer" or "enum" in param.schema or "pattern" in param.schema:
            yield param.name, "no"

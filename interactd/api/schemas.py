"""Row classes as JSON schemas: what is answered, what a new one takes, what a change takes."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field

from interactd.api.fields import Field, fields_of

Schema = dict[str, Any]
IGNORED: Schema = {"description": "Set by the server; ignored when sent."}
REFER = "#/components/schemas/"


@define
class Schemas:
    """The components of a document; a row class becomes one when it is first referred to."""

    made: dict[str, Schema] = field(factory=dict)

    def shown(self, row: type) -> Schema:
        """A reference to what an answer holds."""
        return self._named(row.__name__, row, _shown)

    def new(self, row: type) -> Schema:
        """A reference to what a body that creates one takes."""
        return self._named(row.__name__ + "New", row, _new)

    def change(self, row: type) -> Schema:
        """A reference to what a body that changes one takes."""
        return self._named(row.__name__ + "Change", row, _change)

    def item(self, row: type) -> Schema:
        """A reference to an entry of a list in a body, or an object that may be new: with an `id` it is changed, without one created."""
        return self._named(row.__name__ + "Item", row, _item)

    def answer(self, said: Any) -> Schema:
        """The schema of an answer that is declared as a row class or as a schema; anything where nothing is declared."""
        return dict(self.complete(said, self.shown)) if said else {}

    def complete(self, schema: Any, refer: Callable[[type], Schema]) -> Any:
        """The schema, with references by `refer` instead of the row classes in it."""
        if isinstance(schema, type):
            return refer(schema)
        if isinstance(schema, Mapping):
            return {key: self.complete(inner, refer) for key, inner in schema.items()}
        return [self.complete(inner, refer) for inner in schema] if isinstance(schema, list | tuple) else schema

    def _named(self, name: str, row: type, build: Any) -> Schema:
        if name not in self.made:
            self.made[name] = {}
            self.made[name] = build(self, row)
        return {"$ref": REFER + name}


def _shown(schemas: Schemas, row: type) -> Schema:
    fields = [f for f in fields_of(row) if f.shown is not None and not f.schema.get("writeOnly")]
    schema: Schema = {"type": "object", "properties": {f.key: _answered(schemas, f) for f in fields}}
    always = [f.key for f in fields if f.shown and (f.required or f.name == "id")]
    return {"description": _said(row), **schema, **({"required": always} if always else {})}


def _answered(schemas: Schemas, f: Field) -> Schema:
    schema = {key: value for key, value in f.schema.items() if key not in ("default", "writeOnly")}
    if f.row is None:
        return schema
    return {**schema, "items": schemas.shown(f.row)} if f.schema["type"] == "array" else schemas.shown(f.row)


def _new(schemas: Schemas, row: type) -> Schema:
    return _object(row, {f.key: _taken(schemas, f, True) for f in fields_of(row)}, [f for f in fields_of(row) if f.required and f.read])


def _change(schemas: Schemas, row: type) -> Schema:
    return _object(row, {f.key: _taken(schemas, f, False) for f in fields_of(row)}, [f for f in fields_of(row) if f.update_only])


def _item(schemas: Schemas, row: type) -> Schema:
    named = {"required": ["id"], "properties": {"id": {"type": "integer", "format": "int64", "minimum": 1}}}
    return {"description": "With an `id` that one is changed, without it a new one is made.",
            "anyOf": [schemas.new(row), {"allOf": [schemas.change(row), named]}]}


def _object(row: type, properties: dict[str, Schema], required: list[Field]) -> Schema:
    for f in fields_of(row):
        for alias in f.aliases:
            name, _, inner = alias.partition("=")
            properties[name] = {**_aliased(properties[f.key], inner), "deprecated": True,
                                "description": f"The same as `{f.key}{'.' + inner if inner else ''}`."}
    must = [f.key for f in required if not f.aliases]
    schema: Schema = {"description": _said(row), "type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, **({"required": must} if must else {})}


def _aliased(schema: Schema, inner: str) -> Schema:
    """What an alias takes: the same, the one item of a list (`[]`), or the id in an object."""
    if inner == "[]" and "items" in schema:
        return dict(schema["items"])
    if inner and schema != IGNORED:
        return {"type": "integer"}
    return {key: value for key, value in schema.items() if key != "default"}


def _taken(schemas: Schemas, f: Field, create: bool) -> Schema:
    if not f.taken(create):
        return dict(IGNORED)
    if f.row is not None:
        return _nested(schemas, f)
    schema = dict(f.schema)
    if schema.get("type") == "string" and "enum" not in schema and (f.required or not (f.blank or create)):
        schema["minLength"] = 1
    return nullable(schema) if _clearable(f, create) else schema


def _clearable(f: Field, create: bool) -> bool:
    return not f.required if create else f.clears is not None or f.default is not None


def _nested(schemas: Schemas, f: Field) -> Schema:
    assert f.row is not None
    whole = any(inner.name == "id" for inner in fields_of(f.row))
    if f.schema["type"] == "array":
        return {"type": ["array", "null"], "items": schemas.item(f.row) if whole else schemas.new(f.row), "maxItems": 200}
    return {"anyOf": [schemas.item(f.row) if whole else schemas.change(f.row), {"type": "null"}]}


def nullable(schema: Schema) -> Schema:
    """The schema, with null among its values."""
    if "type" not in schema:
        return schema
    more = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return {**schema, **more, "type": [*kinds, "null"]}


def _said(row: type) -> str:
    return (row.__doc__ or "").strip().partition("\n")[0]

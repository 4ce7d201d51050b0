"""The fields of an entity: one line says name, type, limits, column, JSON key, visibility; everything else is derived.

A row class is a frozen attrs class whose attributes are made by the functions below. `Field` is what the kernel reads:
`read` turns a JSON value into columns, `shown` is the SQL expression of the answer (`{t}` stands for the row's alias).
"""
from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import attrs
from attrs import frozen

MAX_INT = 2**31 - 1
MAX_ID = 2**63 - 1
FIRST_MS = 0
LAST_MS = 253402300799999          # 9999-12-31
MOMENT = {"type": "integer", "format": "int64", "minimum": FIRST_MS, "maximum": LAST_MS, "description": "ms since 1970 UTC"}

Columns = dict[str, Any]
_SURROGATE = re.compile("[\ud800-\udfff]")


class Wrong(Exception):
    """A value that can not be taken: `detail` is the code's last part, `problem` says what would be right."""

    def __init__(self, problem: str, detail: int = 2003, attribute: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.detail = detail
        self.attribute = attribute


class Unknown(Wrong):
    """An object that holds keys which nobody knows."""

    def __init__(self, keys: list[str]) -> None:
        super().__init__("is unknown", 2005)
        self.keys = keys


@frozen(eq=False)
class Field:
    """One attribute of an entity."""

    read: Callable[[Any], Columns] | None      # None: only the server sets it; what is sent is ignored
    schema: Mapping[str, Any]
    shown: str | None = None                   # SQL; None: never answered
    name: str = ""
    columns: tuple[str, ...] = ()
    required: bool = False
    default: Any = None                        # stored on create when nothing is sent
    default_sql: str | None = None             # the same, as SQL
    create_only: bool = False
    update_only: bool = False                  # every update needs it; a create ignores it
    later: bool = False                        # an update may set it; a create ignores it
    blank: bool = True                         # `""` clears it on update
    any_case: bool = False                     # its key is known in any letter case
    clears: Columns | None = None              # what `null` stores on update; None: it can not be cleared
    row: type | None = None                    # the row class of a list of items, or of one object (by `schema`)
    aliases: tuple[str, ...] = ()
    key: str = attrs.field(init=False)         # the JSON key: camelCase of the name

    @key.default
    def _key(self) -> str:
        return camel(self.name)

    def taken(self, create: bool) -> bool:
        """Whether a body that creates, or one that updates, sets it; what is sent else is ignored."""
        return self.read is not None and not (self.update_only or self.later if create else self.create_only)


def camel(name: str) -> str:
    """`first_name` -> `firstName`; the one place where columns become JSON keys."""
    head, *rest = name.rstrip("_").split("_")
    return head + "".join(word.capitalize() for word in rest)


@cache
def fields_of(row: type) -> tuple[Field, ...]:
    """The fields of a row class, in the order of their declaration."""
    return tuple(attrs.evolve(a.metadata["field"], name=a.name) if not a.metadata["field"].name else a.metadata["field"]
                 for a in attrs.fields(row) if "field" in a.metadata)


def declare(field: Field) -> Any:
    """An attrs attribute that carries a field."""
    return attrs.field(default=None, metadata={"field": field}, kw_only=True)


def _column(read: Callable[[Any], Any], column: str) -> Callable[[Any], Columns]:
    return lambda value: {column: read(value)}


def plain(read: Callable[[Any], Any], schema: Mapping[str, Any], column: str, **options: Any) -> Any:
    """A field of one column, read by `read` and shown as the column stands."""
    shown = options.pop("shown", "{t}." + column)
    clearable = not options.get("required") and options.get("default") is None
    return declare(Field(_column(read, column), schema, shown, columns=(column,), clears={column: None} if clearable else None, **options))


def server(column: str, schema: Mapping[str, Any], shown: str | None = None, **options: Any) -> Any:
    """A field that only the server sets."""
    return declare(Field(None, {**schema, "readOnly": True}, shown or "{t}." + column, **options))


def string(value: Any, limit: int) -> str:
    """A text of at most `limit` characters, without NUL or lone surrogates."""
    if not isinstance(value, str):
        raise Wrong("must be a text")
    if "\0" in value or _SURROGATE.search(value):
        raise Wrong("must not hold NUL or lone surrogates")
    if len(value) > limit:
        raise Wrong(f"must have at most {limit} characters", 2004)
    return value


def whole(value: Any, low: int = -MAX_INT - 1, high: int = MAX_INT) -> int:
    """A whole number between `low` and `high`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise Wrong("must be a whole number")
    if not low <= value <= high:
        raise Wrong(f"must be between {low} and {high}", 2004)
    return value


def truth(value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise Wrong("must be true or false")
    return value


def one_of(values: tuple[str, ...]) -> Callable[[Any], str]:
    """One of some words."""
    def read(value: Any) -> str:
        if not isinstance(value, str) or value not in values:
            raise Wrong("must be one of " + ", ".join(values))
        return value
    return read


def identity(value: Any) -> int:
    """An id: a positive whole number."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Wrong("must be an id")
    return whole(value, 1, MAX_ID)


def text(column: str, limit: int, **options: Any) -> Any:
    """A text of at most `limit` characters; `""` counts as null unless it is required."""
    return plain(lambda v: string(v, limit), {"type": "string", "maxLength": limit}, column, **options)


def integer(column: str, low: int = -MAX_INT - 1, high: int = MAX_INT, **options: Any) -> Any:
    """A whole number."""
    return plain(lambda v: whole(v, low, high), {"type": "integer", "minimum": low, "maximum": high}, column, **options)


def boolean(column: str, default: bool = False, **options: Any) -> Any:
    """true or false; always answered."""
    return plain(truth, {"type": "boolean", "default": default}, column, default=default, **options)


def choice(column: str, *values: str, **options: Any) -> Any:
    """One of some words."""
    return plain(one_of(values), {"type": "string", "enum": list(values)}, column, **options)


def moment(column: str, **options: Any) -> Any:
    """A time: milliseconds since 1970-01-01 UTC."""
    return plain(lambda v: whole(v, FIRST_MS, LAST_MS), MOMENT, column, **options)


def ident() -> Any:
    """The entity's own id."""
    return server("id", {"type": "integer", "format": "int64"})


def stamp(column: str) -> Any:
    """A time that only the server sets."""
    return server(column, {"type": "integer", "format": "int64"})


def count(column: str, shown: str | None = None) -> Any:
    """A whole number that only the server sets."""
    return server(column, {"type": "integer"}, shown)


def named(value: Any) -> int:
    """The id in an object that names another row. Beside it may stand what answers show there; it is ignored."""
    if not isinstance(value, dict) or "id" not in value:
        raise Wrong("must be an object with an id")
    unknown = sorted(value.keys() - {"id", "type", "name", "displayName"})
    if unknown:
        raise Unknown(unknown)
    return identity(value["id"])


def reference(column: str, shown: str, **options: Any) -> Any:
    """An object {`id`, …} that names another row of the owner."""
    schema = {"type": "object", "properties": {"id": {"type": "integer"}, "displayName": {"type": "string", "readOnly": True}}, "required": ["id"]}
    clears = None if options.get("required") else {column: None}
    return declare(Field(lambda value: {column: named(value)}, schema, shown, columns=(column,), clears=clears, **options))


def items(row: type, shown: str, **options: Any) -> Any:
    """A list of items of another row class, kept in a table of its own; the entity's module stores it."""
    return declare(Field(lambda value: {}, {"type": "array"}, shown, row=row, **options))


def part(row: type, shown: str, **options: Any) -> Any:
    """An object of another row class, patched key by key, kept in a table of its own; the entity's module stores it."""
    return declare(Field(lambda value: {}, {"type": "object"}, shown, row=row, **options))


def texts(name: str, limit: int, shown: str, most: int = 200) -> Any:
    """A list of distinct texts, in order; the entity's module stores it."""
    def read(value: Any) -> Columns:
        if not isinstance(value, list):
            raise Wrong("must be a list of texts")
        if len(value) > most:
            raise Wrong(f"must have at most {most} items", 2004)
        if any(v == "" for v in value):
            raise Wrong("must not hold empty texts", 2002)
        return {name: list(dict.fromkeys(string(v, limit) for v in value))}
    schema = {"type": "array", "items": {"type": "string", "maxLength": limit}, "maxItems": most}
    return declare(Field(read, schema, shown, clears={name: []}))


def ids(name: str, shown: str, most: int = 1000) -> Any:
    """A list of ids; the entity's module stores it."""
    def read(value: Any) -> Columns:
        if not isinstance(value, list):
            raise Wrong("must be a list of ids")
        if len(value) > most:
            raise Wrong(f"must have at most {most} items", 2004)
        return {name: list(dict.fromkeys(identity(v) for v in value))}
    schema = {"type": "array", "items": {"type": "integer", "format": "int64"}, "maxItems": most}
    return declare(Field(read, schema, shown, clears={name: []}))

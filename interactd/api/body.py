"""Bodies: JSON to columns, with every fault named in one answer (contract sections 1 and 3). Pure: no database."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import orjson
from attrs import define, field, frozen

from interactd.api.fields import Columns, Field, Unknown, Wrong, fields_of, identity
from interactd.errors import ApiError, Fault, Invalid, Missing, TooLarge, WrongMedia

DEEPEST = 32
MOST_VALUES = 10000
MOST_UNKNOWN = 20
_JSON_TYPES = ("application/json", "text/plain", "application/x-www-form-urlencoded", "")


@frozen
class Nothing:
    """A body without attributes: `{}`, null or none."""


@define
class Faults:
    """What is wrong so far, in three ranks: unknown keys, missing, the rest; the first one found gives the code."""

    unknown: list[Fault] = field(factory=list)
    missing: list[Fault] = field(factory=list)
    rest: list[tuple[Fault, int]] = field(factory=list)

    def wrong(self, attribute: str, wrong: Wrong) -> None:
        """The value of an attribute can not be taken."""
        if isinstance(wrong, Unknown):
            self.unknown += [Fault(f"{attribute}.{key}", wrong.problem) for key in wrong.keys]
        else:
            self.rest.append((Fault(attribute, wrong.problem), wrong.detail))

    def join(self, others: Faults, prefix: str) -> None:
        """Those of a part of the body, under its name."""
        self.unknown += [Fault(prefix + f.attribute, f.problem) for f in others.unknown]
        self.missing += [Fault(prefix + f.attribute, f.problem) for f in others.missing]
        self.rest += [(Fault(prefix + f.attribute, f.problem), detail) for f, detail in others.rest]

    def check(self) -> None:
        """Nothing, or the error that names all faults."""
        if not (self.unknown or self.missing or self.rest):
            return
        details = tuple(self.unknown[:MOST_UNKNOWN] + self.missing + [fault for fault, _ in self.rest])
        said = "; ".join(f"{f.attribute} {f.problem}" for f in details[:5])
        if self.unknown:
            raise Invalid(said, detail=2005, details=details)
        if self.missing:
            raise Missing(said, details=details)
        raise Invalid(said, detail=self.rest[0][1], details=details)


def loads(data: bytes, media: str, limit: int) -> Any:
    """The JSON value of a body; None for an empty one. Errors: 413, 415, 400."""
    kind = media.partition(";")[0].strip().lower()
    if data and kind not in _JSON_TYPES and not kind.endswith("+json"):
        raise WrongMedia("the body must be JSON")
    if len(data) > limit:
        raise TooLarge(f"the body must have at most {limit} bytes")
    if not data.strip():
        return None
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise Invalid("the body is not JSON") from None
    _bounded(value)
    return value


def _bounded(value: Any) -> None:
    level, seen = [value], 0
    for _ in range(DEEPEST + 1):
        seen += len(level)
        if seen > MOST_VALUES:
            raise Invalid(f"the body holds more than {MOST_VALUES} values", detail=2004)
        level = [inner for outer in level if isinstance(outer, dict | list) for inner in (outer.values() if isinstance(outer, dict) else outer)]
        if not level:
            return
    raise Invalid(f"the body is nested deeper than {DEEPEST} levels", detail=2004)


def as_object(value: Any) -> dict[str, Any]:
    """The body as an object; `null` and no body are an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Invalid("the body must be an object")
    return value


def read(row: type | Iterable[Field], value: Any, *, create: bool) -> Columns:
    """The columns that a body sets, by the row class's fields. Errors: 400 with every fault."""
    faults = Faults()
    columns = gather(row, as_object(value), faults, create=create)
    faults.check()
    return columns


def gather(row: type | Iterable[Field], value: Mapping[str, Any], faults: Faults, *, create: bool, prefix: str = "") -> Columns:
    """The columns of an object; its faults, whose attributes begin with `prefix`, join the others.

    A row class whose attributes depend on each other adds faults by a static method `judge(columns, create, faults)`.
    """
    own = Faults()
    fields = fields_of(row) if isinstance(row, type) else tuple(row)
    columns = _object(fields, value, create, "", own)
    judge = getattr(row, "judge", None)
    if judge is not None:
        judge(columns, create, own)
    faults.join(own, prefix)
    return columns


@frozen
class _Shape:
    """What the fields say of the keys of an object, made once."""

    keys: frozenset[str]
    other: frozenset[str]           # spellings that are not keys: aliases
    any_case: bool
    created: tuple[Field, ...]      # which a client may set on create, and on update
    changed: tuple[Field, ...]


@lru_cache(maxsize=512)
def _shape(fields: tuple[Field, ...]) -> _Shape:
    return _Shape(frozenset(f.key for f in fields), frozenset(alias.partition("=")[0] for f in fields for alias in f.aliases),
                  any(f.any_case for f in fields), *(tuple(f for f in fields if f.taken(create)) for create in (True, False)))


@define
class _Into:
    """An object that is being read."""

    create: bool
    prefix: str
    faults: Faults
    columns: Columns = field(factory=dict)


def _object(fields: tuple[Field, ...], value: Mapping[str, Any], create: bool, prefix: str, faults: Faults) -> Columns:
    shape = _shape(fields)
    sent = value if not shape.any_case and shape.other.isdisjoint(value) else _unaliased(fields, value)
    if not shape.keys >= sent.keys():
        faults.unknown += [Fault(prefix + key, "is unknown") for key in sent if key not in shape.keys]
    into = _Into(create, prefix, faults)
    for f in shape.created if create else shape.changed:
        _attribute(f, sent, into)
    return into.columns


def _unaliased(fields: tuple[Field, ...], value: Mapping[str, Any]) -> dict[str, Any]:
    sent = dict(value)
    spelled = {name.lower(): name for name in value}
    for f in fields:
        if f.any_case and f.key not in sent and f.key.lower() in spelled:
            sent[f.key] = sent.pop(spelled[f.key.lower()])
        for alias in f.aliases:
            name, _, part = alias.partition("=")
            if name in sent and f.key not in sent:
                given = sent.pop(name)
                if part and given is not None:
                    given = [given] if part == "[]" else {part: given}
                sent[f.key] = given
    return sent


def _attribute(f: Field, sent: Mapping[str, Any], into: _Into) -> None:
    value = sent.get(f.key)
    if value is None:
        _absent(f, f.key in sent, into)
        return
    name, columns, faults = into.prefix + f.key, into.columns, into.faults
    if value == "" and f.schema.get("type") == "string" and "enum" not in f.schema:
        _empty(f, name, into)
    elif f.row is not None:
        columns[f.name] = _items(f, value, name, faults) if f.schema["type"] == "array" else _part(f, value, name, faults)
    else:
        assert f.read is not None
        try:
            columns.update(f.read(value))
        except Wrong as wrong:
            faults.wrong(name + wrong.attribute, wrong)


def _absent(f: Field, sent: bool, into: _Into) -> None:
    columns, faults = into.columns, into.faults
    if into.create:
        if f.required:
            faults.missing.append(Fault(into.prefix + f.key, "is missing"))
        elif f.default is not None:
            columns.update(dict.fromkeys(f.columns, f.default))
    elif f.update_only:
        faults.missing.append(Fault(into.prefix + f.key, "is missing"))
    elif sent and f.row is not None:
        columns[f.name] = [] if f.schema["type"] == "array" else None
    elif sent and f.clears is not None:
        columns.update(f.clears)
    elif sent and f.default is not None:
        columns.update(dict.fromkeys(f.columns, f.default))
    elif sent:
        faults.wrong(into.prefix + f.key, Wrong("must not be empty", 2002))


def _empty(f: Field, name: str, into: _Into) -> None:
    if f.required or "minLength" in f.schema or not (f.blank or into.create):
        into.faults.wrong(name, Wrong("must not be empty", 2002))
    elif not into.create and f.clears is not None:
        into.columns.update(f.clears)


def _items(f: Field, value: Any, name: str, faults: Faults) -> list[Columns]:
    if not isinstance(value, list):
        faults.wrong(name, Wrong("must be a list"))
        return []
    if len(value) > 200:
        faults.wrong(name, Wrong("must have at most 200 items", 2004))
        return []
    fields = fields_of(f.row)
    return [_item(fields, item, f"{name}[{n}]", faults) for n, item in enumerate(value)]


def _part(f: Field, value: Any, name: str, faults: Faults) -> Columns:
    if not isinstance(value, dict):
        faults.wrong(name, Wrong("must be an object"))
        return {}
    return _object(fields_of(f.row), value, False, name + ".", faults)


def _item(fields: tuple[Field, ...], item: Any, name: str, faults: Faults) -> Columns:
    if not isinstance(item, dict):
        faults.wrong(name, Wrong("must be an object"))
        return {}
    ident = item.get("id")
    columns = _object(fields, item, ident is None, name + ".", faults)
    if ident is not None:
        try:
            columns["id"] = identity(ident)
        except Wrong as wrong:
            faults.wrong(name + ".id", wrong)
    return columns


def faulty(attribute: str, problem: str, detail: int = 2003) -> ApiError:
    """The error of one wrong attribute, found by a call itself."""
    return Invalid(f"{attribute} {problem}", detail=detail, details=(Fault(attribute, problem),))


def missing(attribute: str) -> ApiError:
    """The error of one missing attribute, found by a call itself."""
    return Missing(f"{attribute} is missing", details=(Fault(attribute, "is missing"),))

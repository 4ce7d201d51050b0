"""Whether an answer has the shape that the customer's document shows (tests/seed_examples.json says how shapes are written)."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

TYPES = {"integer": int, "alphanumeric": str, "boolean": bool, "object": dict}


@frozen
class Shapes:
    """The named shapes; with `whole`, everything that a shape shows must be there."""

    named: Mapping[str, Any]
    whole: bool = False

    def faults(self, shape: Any, value: Any, where: str = "answer") -> list[str]:
        """What is not as the shape says."""
        return list(self._faults(shape, value, where))

    def _faults(self, shape: Any, value: Any, where: str) -> Iterator[str]:
        if isinstance(shape, dict):
            yield from self._object(shape, value, where)
        elif isinstance(shape, list):
            yield from self._list(shape, value, where)
        elif isinstance(shape, str) and "|" in shape:
            found = [self.faults(one, value, where) for one in shape.split("|")]
            yield from min(found, key=len)
        elif isinstance(shape, str) and shape.startswith("<"):
            yield from self._faults(self.named[shape[1:-1]], value, where)
        elif not _fits(shape, value):
            yield f"{where} is {value!r:.80} instead of {shape}"

    def _object(self, shape: dict[str, Any], value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{where} is {value!r:.80} instead of an object"
            return
        known = {key.lstrip("+?"): inner for key, inner in shape.items()}
        yield from (f"{where}.{key} is not in the document (an addition is written +key)" for key in value if key not in known)
        for key, inner in known.items():
            if key in value:
                yield from self._faults(inner, value[key], f"{where}.{key}")
            elif "+" + key not in shape and (self.whole or (key in shape and self._always(key, inner))):
                yield f"{where}.{key} is missing"

    def _always(self, key: str, shape: Any) -> bool:
        """Ids, truths, lists and the ten networks are given always; what else is not set is left out (contract section 1)."""
        return key in ("id", "code", "devmsg", "entity", "data") or isinstance(shape, list) or shape in ("boolean", "<profiles>")

    def _list(self, shape: list[Any], value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{where} is {value!r:.80} instead of a list"
            return
        if not value and "*" not in shape and (self.whole or where in ("answer", "answer.data")):
            yield f"{where} is empty"
        for n, item in enumerate(value):
            yield from self._faults(shape[0], item, f"{where}[{n}]")


def _fits(shape: Any, value: Any) -> bool:
    if not isinstance(shape, str):
        return bool(shape == value and type(shape) is type(value))
    if shape.startswith("="):
        return bool(value == shape[1:])
    if shape.startswith("enum("):
        return value in shape[5:-1].split(",")
    return type(value) is TYPES[shape]

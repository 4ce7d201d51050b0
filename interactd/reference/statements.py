"""Every SQL statement of the code, found in its modules: constants, and what entities, listings and calls hold."""
from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

import attrs

import interactd
from interactd.db import Statement


def modules() -> Iterator[ModuleType]:
    """All modules of the package, imported."""
    for found in pkgutil.walk_packages(interactd.__path__, "interactd."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def statements() -> tuple[Statement, ...]:
    """Every statement, by name."""
    seen: dict[int, Any] = {}
    todo = [value for module in modules() for value in vars(module).values()]
    while todo:
        value = todo.pop()
        if id(value) not in seen:
            seen[id(value)] = value
            todo.extend(_inside(value))
    return tuple(sorted((value for value in seen.values() if isinstance(value, Statement)), key=lambda s: (s.name, s.text)))


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value
    elif isinstance(value, FunctionType) and value.__module__.startswith("interactd"):
        yield from (cell.cell_contents for cell in value.__closure__ or () if _filled(cell))
    elif isinstance(value, type):
        yield from (inner for name, inner in vars(value).items() if not name.startswith("__") and value.__module__.startswith("interactd"))
    elif attrs.has(type(value)) and type(value).__module__.startswith("interactd"):
        yield from (getattr(value, a.name, None) for a in attrs.fields(type(value)))


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:          # a name that is bound later
        return False

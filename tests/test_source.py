"""The house rules of docs/architecture.md, checked on the source."""
from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from configparser import ConfigParser
from functools import cache
from pathlib import Path
from statistics import median

from attrs import frozen
from twisted.trial.unittest import TestCase

ROOT = Path(__file__).parent.parent
BANNED = {"handler", "handlers", "manager", "managers", "processor", "engine", "helper", "helpers", "util", "utils", "base", "misc"}
Function = ast.FunctionDef | ast.AsyncFunctionDef

# Which parts a part may import; whatever starts the daemon may import everything.
GROUND = {"errors", "changes", "statement", "keys", "refusals", "config", "metrics", "tls", "rates"}
STORE = GROUND | {"lane", "db", "migrate", "threads"}
KERNEL = STORE | {"auth", "images", "api"}
MAY = {
    "errors": set(), "changes": set(), "statement": set(), "keys": {"refusals"}, "refusals": set(), "metrics": set(), "tls": set(),
    "rates": set(), "mail": GROUND,
    "config": {"keys", "configfile"}, "configfile": {"config", "keys", "refusals"},
    "threads": {"errors"}, "images": {"config", "threads"},
    "lane": GROUND, "db": GROUND | {"lane"}, "migrate": GROUND, "epochs": STORE | {"cluster"}, "auth": STORE | {"mail"}, "api": KERNEL,
    "client": {"tls"}, "events": STORE | {"auth"}, "live": STORE | {"auth"}, "push": STORE | {"auth"}, "nodes": STORE,
    "entities": KERNEL | {"events"}, "sync": KERNEL | {"events", "entities"}, "imports": KERNEL | {"events", "entities", "sync"},
    "jobs": KERNEL | {"events", "entities", "live"}, "web": KERNEL,
    # the ends of the two roads, at which calls come in
    "events.puts": KERNEL | {"events", "entities"}, "live.handshake": KERNEL | {"live", "entities"},
    "push.deliveries": KERNEL | {"push", "live"},
}


@frozen
class Module:
    """A source file."""

    name: str
    text: str
    tree: ast.Module

    @property
    def part(self) -> str:
        """What it belongs to in MAY."""
        return part(self.name)

    def functions(self) -> Iterator[tuple[str, Function, bool]]:
        """Every function with its dotted name, and whether it is a method."""
        return _functions(self.name, self.tree, False)

    def classes(self) -> Iterator[ast.ClassDef]:
        """Every class."""
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef))


def _functions(name: str, node: ast.AST, method: bool) -> Iterator[tuple[str, Function, bool]]:
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, Function):
            yield f"{name}.{inner.name}", inner, method
            yield from _functions(f"{name}.{inner.name}", inner, False)
        else:
            yield from _functions(f"{name}.{inner.name}" if isinstance(inner, ast.ClassDef) else name, inner, isinstance(inner, ast.ClassDef))


def part(module: str) -> str:
    """`interactd.api.call` -> `api`; a part of its own where MAY says so."""
    inside = module.removeprefix("interactd.")
    return inside if inside in MAY else inside.partition(".")[0]


@cache
def modules() -> tuple[Module, ...]:
    """All of interactd/."""
    found = []
    for path in sorted((ROOT / "interactd").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        found.append(Module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), text, ast.parse(text)))
    return tuple(found)


def imported(module: Module) -> Iterator[str]:
    """The modules of interactd that it imports when it runs."""
    for node in _running(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "interactd":
            yield from ([f"interactd.{alias.name}" for alias in node.names] if node.module == "interactd" else
                        [f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}".removeprefix("interactd.") in MAY else node.module
                         for alias in node.names])
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == "interactd")


def _running(node: ast.AST) -> Iterator[ast.AST]:
    for inner in ast.iter_child_nodes(node):
        if not (isinstance(inner, ast.If) and ast.unparse(inner.test).endswith("TYPE_CHECKING")):
            yield inner
            yield from _running(inner)


def words(name: str) -> set[str]:
    """The words of an identifier."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)}


def length(node: ast.stmt) -> int:
    """Lines, without decorators."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


class House(TestCase):
    """Sizes, names, directions, docstrings."""

    def setUp(self) -> None:
        self.modules = modules()
        self.assertGreater(len(self.modules), 50)

    def fine(self, faults: list[str]) -> None:
        """Fails with all faults."""
        self.assertEqual([], faults, "\n" + "\n".join(faults))

    def test_sizes(self) -> None:
        """A module has at most 300 lines, a function 40 and half of them less than 10, a class 15 methods."""
        faults = [f"{m.name}: {len(m.text.splitlines())} lines" for m in self.modules if len(m.text.splitlines()) > 300]
        faults += [f"{name}: {length(f)} lines" for m in self.modules for name, f, _ in m.functions() if length(f) > 40]
        for m in self.modules:
            for kind in m.classes():
                # what Twisted and Autobahn call, and Python itself, is not counted
                methods = [node for node in kind.body if isinstance(node, Function) and not re.search("[a-z][A-Z]|^__", node.name)]
                faults += [f"{m.name}.{kind.name}: {len(methods)} methods"] if len(methods) > 15 else []
        self.fine(faults)
        self.assertLess(median(length(f) for m in self.modules for _, f, _ in m.functions()), 10)

    def test_arguments(self) -> None:
        """A function takes at most five arguments besides `self`."""
        faults = []
        for m in self.modules:
            for name, f, method in m.functions():
                taken = len(f.args.posonlyargs + f.args.args + f.args.kwonlyargs)
                static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in f.decorator_list)
                taken -= method and not static
                optional = len([d for d in f.args.kw_defaults if d is not None])      # named at the call, so nobody has to count
                faults += [f"{name}: {taken} arguments"] if taken - optional > 5 else []
        self.fine(faults)

    def test_complexity(self) -> None:
        """flake8, which scripts/lint runs, refuses more than 10 branches in a function."""
        setup = ConfigParser()
        setup.read(ROOT / "setup.cfg")
        self.assertEqual(setup["flake8"]["max-complexity"], "10")

    def test_names(self) -> None:
        """Names say the thing, not that there is one."""
        faults = [m.name for m in self.modules if words(m.name.rpartition(".")[2]) & BANNED]
        faults += [f"{m.name}.{kind.name}" for m in self.modules for kind in m.classes() if words(kind.name) & BANNED]
        faults += [name for m in self.modules for name, f, _ in m.functions() if words(f.name) & BANNED or f.name.lstrip("_").startswith("do_")]
        self.fine(faults)

    def test_directions(self) -> None:
        """Imports point one way: what a part may import is in MAY."""
        faults = []
        for m in self.modules:
            for name in imported(m):
                allowed = MAY.get(m.part)
                if allowed is not None and part(name) not in allowed | {m.part, m.part.partition(".")[0], "interactd", "__version__"}:
                    faults.append(f"{m.name} imports {name}")
        self.fine(faults)
        self.assertEqual({m.part for m in self.modules if "interactd.calls" in set(imported(m))}, {"assembly", "ctl", "reference"})

    def test_txpostgres(self) -> None:
        """Only the pool and its connections know the driver's Twisted side."""
        self.assertEqual([m.name for m in self.modules if re.search(r"^\s*(from|import) txpostgres", m.text, re.MULTILINE)], ["interactd.lane"])

    def test_docstrings(self) -> None:
        """Modules, and the classes and functions that others may use, say in a sentence what one gets."""
        faults = [m.name for m in self.modules if not ast.get_docstring(m.tree)]
        for m in self.modules:
            faults += [f"{m.name}.{kind.name}" for kind in m.classes() if not kind.name.startswith("_") and not ast.get_docstring(kind)]
            kinds = {kind.name for kind in m.classes()}
            faults += [name for name, f, _ in m.functions() if _public(name.removeprefix(m.name + "."), kinds) and not ast.get_docstring(f)]
        self.fine(faults)

    def test_no_leftovers(self) -> None:
        """Nothing is left for later, and no test replaces what it tests."""
        left = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError")
        self.fine([f"{m.name}: {found[0]}" for m in self.modules for found in left.finditer(m.text)])
        mock = re.compile(r"^\s*(from|import) (unittest\.)?mock\b", re.MULTILINE)
        self.fine([path.name for path in (ROOT / "tests").glob("*.py") if mock.search(path.read_text(encoding="utf-8"))])


def _public(name: str, kinds: set[str]) -> bool:
    *outer, last = name.split(".")
    foreign = re.search("[a-z][A-Z]", last)         # camelCase: of Twisted or Autobahn
    return not foreign and not any(step.startswith("_") for step in (*outer, last)) and all(step in kinds for step in outer)

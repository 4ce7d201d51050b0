"""SQL statements as named constants with named parameters."""
from __future__ import annotations

import re
from typing import Any

from attrs import field, frozen

_PARAMETER = re.compile(r"(?<![:\w]):([a-z]\w*)")


@frozen(eq=False)
class Statement:
    """A named SQL statement with `:name` parameters; prepared on each connection under its name."""

    name: str
    text: str
    names: tuple[str, ...] = field(init=False)

    @names.default
    def _names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_PARAMETER.findall(self.text)))

    @property
    def prepare(self) -> str:
        """PREPARE … AS …, with `$n` for the parameters."""
        return f"PREPARE {self.name} AS " + _PARAMETER.sub(lambda m: "$%d" % (self.names.index(m[1]) + 1), self.text)

    @property
    def execute(self) -> str:
        """EXECUTE … with one placeholder a parameter."""
        return f"EXECUTE {self.name}" + ("(" + ", ".join(["%s"] * len(self.names)) + ")" if self.names else "")


@frozen(eq=False)
class Step:
    """One statement of a script with its parameters."""

    statement: Statement
    values: dict[str, Any] = field(factory=dict)

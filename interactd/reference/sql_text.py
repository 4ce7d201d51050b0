"""docs/sql.md: every statement by name, and the functions of the migrations."""
from __future__ import annotations

import re
from collections.abc import Iterable

from interactd.db import Statement
from interactd.migrate import Migration

_DROPPED = re.compile(r"^DROP FUNCTION (\w+)", re.MULTILINE)
_FUNCTION = re.compile(r"^CREATE (?:OR REPLACE )?FUNCTION (\w+)\(.*?(\$\w*\$).*?\2[^;]*;", re.DOTALL | re.MULTILINE)
HEAD = """# SQL

Written by `python -m interactd.reference`; not by hand. Every statement that interactd prepares, by the name it has in
PostgreSQL's statistics, then the functions of the schema (`interactd/schema`), each as the newest migration has it.
`:name` is a parameter.

"""


def sql_text(statements: Iterable[Statement], migrations: Iterable[Migration]) -> str:
    """The document."""
    parts = [HEAD, "## Statements\n"]
    parts += [_section(s.name, s.text) for s in statements]
    parts.append("\n## Functions\n")
    parts += [_section(f"{name} ({file})", text) for name, (file, text) in sorted(functions(migrations).items())]
    return "".join(parts)


def functions(migrations: Iterable[Migration]) -> dict[str, tuple[str, str]]:
    """By name, the migration that made each function last, and its text; a migration drops before it makes."""
    made: dict[str, tuple[str, str]] = {}
    for migration in migrations:
        for dropped in _DROPPED.finditer(migration.sql):
            made.pop(dropped[1], None)
        made.update({found[1]: (migration.name, found[0]) for found in _FUNCTION.finditer(migration.sql)})
    return made


def _section(title: str, sql: str) -> str:
    lines = "\n".join(line.rstrip() for line in sql.strip().splitlines())
    return f"\n### {title}\n\n```sql\n{lines}\n```\n"

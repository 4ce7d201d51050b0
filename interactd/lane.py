"""One txpostgres connection, the statements prepared on it, and what its errors mean."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import psycopg2
from txpostgres import txpostgres

from interactd.errors import REFUSALS, Unavailable, refusal
from interactd.statement import Statement, Step

Row = tuple[Any, ...]
SESSION = "SET jit = off; SET plan_cache_mode = force_generic_plan; SET timezone = 'UTC'; SET client_min_messages = warning"


class Violation(Exception):
    """A constraint of the schema refused a row: `constraint` is its name, `state` its SQLSTATE (23503 a reference, 23505 a double …)."""

    def __init__(self, constraint: str, state: str) -> None:
        super().__init__(constraint, state)
        self.constraint = constraint
        self.state = state


class Retriable(Exception):
    """A deadlock or a serialisation failure: the transaction was rolled back and may run again."""


class Lost(Unavailable):
    """The connection died under the statement."""


def translated(error: psycopg2.Error) -> Exception:
    """The exception of ours that a psycopg2 error means; itself when it means none."""
    state = error.pgcode or ""
    if state in REFUSALS or state == "IA404":
        return refusal(state, error.diag.message_primary or "", error.diag.message_detail or "")
    if state in ("40001", "40P01"):
        return Retriable(state)
    if state.startswith("23"):
        return Violation(error.diag.constraint_name or "", state)
    if isinstance(error, psycopg2.InterfaceError) or (isinstance(error, psycopg2.OperationalError) and state[:2] in ("", "08", "57")):
        return Lost("the database is not available right now")
    if state[:2] == "53":
        return Unavailable("the database is overloaded")
    return error


class _Connection(txpostgres.Connection):
    """A connection that tells of its death instead of logging it."""

    def __init__(self, reactor: Any, lost: Callable[[], None]) -> None:
        super().__init__(reactor)
        self._lost = lost

    def doRead(self) -> None:
        try:
            super().doRead()
        except psycopg2.Error:
            self._lost()


class Lane:
    """One connection with the statements prepared on it; it serves one piece of work at a time."""

    def __init__(self, reactor: Any, lost: Callable[[Lane], None]) -> None:
        self.prepared: dict[str, Statement] = {}
        self.connection = _Connection(reactor, lambda: lost(self))
        self.broken = False

    async def open(self, dsn: str, public_url: str) -> None:
        """The connection is made and its session set up; `public_url` is what addresses built by statements begin with."""
        await self.connection.connect(dsn)
        await self.connection.runQuery(SESSION + "; SELECT set_config('interactd.public_url', %s, false)", (public_url,))

    def close(self) -> None:
        """The connection is gone, and serves no more work."""
        self.broken = True
        if self.connection.pollable() is not None:
            self.connection.close()

    async def run(self, steps: Sequence[Step], before: str = "") -> list[Row]:
        """The rows of the last of these statements, sent in one trip behind `before`."""
        try:
            await self.prepare(steps)
            values = tuple(step.values[name] for step in steps for name in step.statement.names)
            text = before + "; ".join(step.statement.execute for step in steps)
            cursor = self.connection.cursor()
            await cursor.execute(text, values or None)
            rows: list[Row] = cursor.fetchall() if cursor.description else []
            return rows
        except psycopg2.Error as error:
            failure = translated(error)
            self.broken = self.broken or isinstance(failure, Lost) or bool(self.connection.pollable().closed)
            raise failure from None if failure is not error else error.__cause__

    async def command(self, text: str) -> None:
        """SQL without an answer is done."""
        await self.connection.runOperation(text)

    async def prepare(self, steps: Sequence[Step]) -> None:
        """The statements are known to this connection."""
        new = {step.statement.name: step.statement for step in steps if step.statement.name not in self.prepared}
        if new:
            try:
                await self.command("; ".join(statement.prepare for statement in new.values()))
            except psycopg2.Error:
                self.broken = True      # PREPARE is not undone by a rollback: nobody knows which of them stand
                raise
            self.prepared.update(new)
        for step in steps:
            if self.prepared[step.statement.name] is not step.statement:
                raise AssertionError(f"two statements are called {step.statement.name}")

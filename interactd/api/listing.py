"""Lists: read in slices by key, each its own short transaction, so that their length costs the daemon no memory."""
from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from attrs import field, frozen

from interactd.api import sql
from interactd.api.answer import Answer
from interactd.api.context import Context
from interactd.db import Statement, Step

FIRST = -(2**63)
UNLIMITED = 2**31 - 1


@frozen(eq=False)
class Listing:
    """A list that can be sent: what is read, under which condition, in which order.

    `wrapped`: always in {"data": …} (contacts, activities); other lists are bare arrays unless paged.
    """

    name: str
    source: str                     # FROM: the row has the alias `t`
    shown: str                      # JSON of one row
    where: str
    order: str = ""                 # bigint expression, ascending; "" by id
    wrapped: bool = False
    first: tuple[Statement, ...] = ()   # checked before the first slice, in the same trip
    piece: Statement = field(init=False)
    total: Statement = field(init=False)

    @piece.default
    def _piece(self) -> Statement:
        return sql.piece(self.name, self.source, self.shown, self.where, self.order)

    @total.default
    def _total(self) -> Statement:
        return sql.total(self.name, self.source, self.where)

    async def answer(self, c: Context, **values: Any) -> Answer:
        """The list as contract section 1 says: whole, or the page that `offset` and `limit` name."""
        offset, limit = c.query.get("offset"), c.query.get("limit")
        paged = offset is not None or limit is not None
        size = c.config.limits.page_slice
        most = min(size, limit or UNLIMITED)
        checks = [Step(s, {name: values[name] for name in s.names}) for s in self.first]
        text, key, ident, n = (await c.db.script(*checks, self._step(values, FIRST, 0 if not self.order else FIRST, most, offset or 0)))[0]
        prefix, suffix = ('{"data":[', "]}") if paged or self.wrapped else ("[", "]")
        if paged:
            total = (await c.db.query(self.total, **{name: values[name] for name in self.total.names}))[0][0]
            length = max(0, min(total - (offset or 0), limit or UNLIMITED))
            suffix = f'],"length":{length},"startIndex":{offset or 0},"totalLength":{total}}}'
        if n < most or most == limit:
            return Answer(200, (prefix + (text or "") + suffix).encode())
        rest = self.rest(c, values, (key, ident), (limit or UNLIMITED) - n)
        return Answer(200, _joined(prefix + text, rest, suffix))

    def _step(self, values: dict[str, Any], after: int, after_id: int, most: int, skip: int) -> Step:
        given = {**values, "after": after, "after_id": after_id, "most": most, "skip": skip}
        return Step(self.piece, {name: given[name] for name in self.piece.names})

    async def rest(self, c: Context, values: dict[str, Any], after: tuple[int, int], left: int = UNLIMITED) -> AsyncIterator[str]:
        """What follows the row with this key and id, in slices, a comma before each."""
        (key, ident), size = after, c.config.limits.page_slice
        while left > 0:
            most = min(size, left)
            text, key, ident, n = (await c.app.database.script(self._step(values, key, ident, most, 0)))[0]
            if n:
                yield "," + text
            left -= n
            if n < most:
                return


async def _joined(first: str, rest: AsyncIterator[str], last: str) -> AsyncIterator[bytes]:
    yield first.encode()
    async for text in rest:
        yield text.encode()
    yield last.encode()

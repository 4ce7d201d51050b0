"""An entity: a row class, its table, and the ordinary calls derived from them."""
from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson
from attrs import field, frozen

from interactd.api import sql
from interactd.api.answer import Answer, created, deleted, plain, updated
from interactd.api.call import ACTIONS, IDS, PAGING, USER, Call, May
from interactd.api.context import Context, taking
from interactd.api.fields import Columns, Field, fields_of
from interactd.api.listing import Listing
from interactd.db import Statement, Step

Check = Callable[[Context, Columns, int | None], Awaitable[None]]
Steps = Callable[[Context, Columns, int | None], tuple[Step, ...]]


async def _nothing_to_check(c: Context, body: Columns, ident: int | None) -> None:
    return None


def _owners(c: Context) -> Mapping[str, Any]:
    return {"owner": c.owner}


def _no_steps(c: Context, body: Columns, ident: int | None) -> tuple[Step, ...]:
    return ()


@frozen(eq=False)
class Entity:
    """What the kernel knows of an entity.

    A write is one script, one round trip: take the counter, remember the old state (404 here), `before`, the row,
    `after`, tell (answer, activity, number). `check` runs before it and may read.
    """

    row: type
    table: str
    kind: str                                   # errors.KINDS: what is not found
    activity: str                               # entityType of activities and tombstones
    path: str
    realm: int
    may: May = USER
    owned: bool = True                          # a user's data: a write takes the owner's counter
    take: Statement | None = None               # takes all counters that a change of the rows :ids concerns, not the owner's alone
    numbered: bool = True                       # … and its rows carry the number (`seq`)
    visible: str = "t.user_id = :owner"         # which rows there are for whoever asks, by the values of `scope`
    scope: Callable[[Context], Mapping[str, Any]] = _owners
    order: str = ""
    wrapped: bool = False
    synced: bool = False                        # deleted rows leave a tombstone
    on_update: Mapping[str, str] = {}           # columns that every update sets: SQL
    json: str = ""                              # SQL of the row as JSON, where it is not made of the fields; {t} is its alias
    given: tuple[str, ...] = ()                 # columns of a new row that no body names; `check` puts them in
    check: Check = _nothing_to_check
    before: Steps = _no_steps
    after: Steps = _no_steps
    fields: tuple[Field, ...] = field(init=False)
    shown: str = field(init=False)
    remember: Statement = field(init=False)
    tell: Statement = field(init=False)
    there: Statement = field(init=False)
    delete: Statement = field(init=False)
    get: Statement = field(init=False)
    insert: Statement = field(init=False)
    update: Statement = field(init=False)
    listing: Listing = field(init=False)

    def __attrs_post_init__(self) -> None:
        def put(name: str, made: Any) -> None:
            object.__setattr__(self, name, made)
        put("fields", fields_of(self.row))
        put("shown", self.json.replace("{t}", "t") or sql.shown(self.fields))
        for name in ("remember", "tell", "there", "delete", "get", "insert", "update"):
            put(name, getattr(sql, name)(self))
        put("listing", Listing(self.table, f"{self.table} t", self.shown, self.visible, self.order, self.wrapped))

    def create_steps(self, c: Context, body: Columns) -> tuple[Step, ...]:
        """The script that stores a new row."""
        return (*self.taking(c), *self.before(c, body, None), self.step(c, self.insert, body=text(body)),
                *self.after(c, body, None), self.telling(c, "insert"))

    def update_steps(self, c: Context, ident: int, body: Columns) -> tuple[Step, ...]:
        """The script that changes a row."""
        return (*self.taking(c, [ident]), self.remembering(c, ident), *self.before(c, body, ident), self.step(c, self.update, body=text(body)),
                *self.after(c, body, ident), self.telling(c, "update"))

    def delete_steps(self, c: Context, ids: list[int], *before: Step) -> tuple[Step, ...]:
        """The script that deletes rows, all or none; `before` stands right before."""
        return (*self.taking(c, ids), self.step(c, self.there, ids=ids), *before, self.step(c, self.delete, ids=ids))

    def remembering(self, c: Context, ident: int) -> Step:
        """The step that keeps the row's old state; 404 when it is not there."""
        return self.step(c, self.remember, id=ident)

    def telling(self, c: Context, action: str) -> Step:
        """The step that answers the kept row and writes the activity."""
        return self.step(c, self.tell, action=action)

    def step(self, c: Context, statement: Statement, **values: Any) -> Step:
        """A statement with what it wants of `values`, owner, actor and scope."""
        given = {"owner": c.owner, "actor": actor(c), **self.scope(c), **values}
        return Step(statement, {name: given[name] for name in statement.names})

    def taking(self, c: Context, ids: Sequence[int] = ()) -> tuple[Step, ...]:
        """The first step of a script that changes these rows, or makes one: the counters."""
        if self.take is not None and ids:
            return (self.step(c, self.take, ids=list(ids)),)
        return (taking(c.owner),) if self.owned else ()

    async def create(self, c: Context) -> Answer:
        """Stores what the body says."""
        await self.check(c, c.body, None)
        return created(await self.written(c, "insert", self.create_steps(c, c.body)))

    async def change(self, c: Context, ident: int) -> Answer:
        """Changes what the body says."""
        await self.check(c, c.body, ident)
        return updated(await self.written(c, "update", self.update_steps(c, ident, c.body)))

    async def written(self, c: Context, action: str, steps: tuple[Step, ...]) -> str:
        """The entity's JSON after a script that ends with `telling`."""
        shown, ident, seq, _ = (await c.script(*steps))[0]
        c.changed(c.owner, seq, action, self.activity, ident)
        return str(shown)

    async def remove(self, c: Context, ids: list[int], *before: Step) -> Answer:
        """Deletes all of these, or none, by the script of `delete_steps`."""
        for ident, seq, _ in await c.script(*self.delete_steps(c, ids, *before)):
            c.changed(c.owner, seq, "delete", self.activity, ident)
        return deleted()

    async def read(self, c: Context, ident: int) -> Answer:
        """One of them."""
        return plain((await c.one(self.get, id=ident, **self.scope(c)))[0])

    def calls(self, *names: str, **options: Any) -> tuple[Call, ...]:
        """The ordinary calls of these names: put, list, get, post, delete, delete_ids."""
        return tuple(ORDINARY[name](self, options) for name in names)

    def call(self, verb: str, path: str, name: str, **options: Any) -> Call:
        """A call of this entity, named `entityType.name` in logs and metrics; `options` are those of Call, `run` among them."""
        given = {"action": ACTIONS[verb], "may": self.may, "realm": self.realm, "kind": self.kind, "answer": self.row, **options}
        return Call(verb, path, f"{self.activity}.{name}", **given)


def actor(c: Context) -> int | None:
    """Who acts: the user, or the owner of the trigger device."""
    if c.who is not None:
        return c.who.id
    return None if c.trigger is None else c.trigger.user_id


def text(body: Columns) -> str:
    """Columns as the jsonb text of a :body parameter."""
    return orjson.dumps(body).decode()


def _ordinary(verb: str, name: str, of_one: bool, summary: str,
              given: Callable[[Entity], dict[str, Any]]) -> Callable[[Entity, dict[str, Any]], Call]:
    def made(e: Entity, options: dict[str, Any]) -> Call:
        path = e.path + "/:id" if of_one else e.path
        return e.call(verb, path, name, **{"summary": summary.replace("…", e.activity), **given(e), **options})
    return made


def _list(e: Entity) -> dict[str, Any]:
    async def run(c: Context) -> Answer:
        return await e.listing.answer(c, **e.scope(c))
    return {"run": run, "query": PAGING, "wrapped": "data" if e.wrapped else "list"}


def _delete(e: Entity) -> dict[str, Any]:
    async def run(c: Context, ident: int) -> Answer:
        return await e.remove(c, [ident])
    return {"run": run, "wrapped": "deleted"}


def _delete_ids(e: Entity) -> dict[str, Any]:
    async def run(c: Context) -> Answer:
        return await e.remove(c, c.query["ids"])
    return {"run": run, "query": (IDS,), "wrapped": "deleted"}


ORDINARY = {
    "put": _ordinary("PUT", "put", False, "Create a …", lambda e: {
        "run": e.create, "body": e.row, "create": True, "wrapped": "entity", "success": 201}),
    "list": _ordinary("GET", "list", False, "List …s", _list),
    "get": _ordinary("GET", "get", True, "Read a …", lambda e: {"run": e.read}),
    "post": _ordinary("POST", "post", True, "Update a …", lambda e: {"run": e.change, "body": e.row, "wrapped": "entity"}),
    "delete": _ordinary("DELETE", "delete", True, "Delete a …", _delete),
    "delete_ids": _ordinary("DELETE", "delete_ids", False, "Delete several …s, all or none", _delete_ids),
}

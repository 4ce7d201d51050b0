"""Some calls of the API the usual way: FastAPI on uvicorn and uvloop, asyncpg, pydantic models for bodies and answers.

    python -m benchmarks.peers.fastapi_api PORT DSN

On interactd's own schema, with the same answers. It is written well, not naively: a contact with all that hangs on it is one
statement, which asyncpg prepares, and who is calling is remembered for five seconds.
"""
from __future__ import annotations

import contextlib
import hashlib
import sys
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import asyncpg
import orjson
import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

PORT, DSN = int(sys.argv[1]), sys.argv[2]
NETWORKS = ("facebook", "aim", "gplus", "gtalk", "icq", "jabber", "linkedIn", "skype", "twitter", "xing")


class Model(BaseModel):
    """camelCase outside, snake_case inside."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class BasicInfo(Model):
    """A number or address."""

    id: int
    type: str
    subtype: str
    value: str
    identifier: str | None = None
    excluded: bool


class Address(Model):
    """A postal address."""

    id: int
    address_line1: str | None = None
    address_line2: str | None = None
    address_line3: str | None = None
    zip_code: str | None = None
    city: str | None = None
    state: str | None = None
    country: str | None = None
    subtype: str


class Profile(Model):
    """An account with a network."""

    connected: bool = False
    username: str | None = None
    url: str | None = None


class CustomValue(Model):
    """A custom field's value."""

    id: int
    name: str
    value: str


class Picture(Model):
    """A picture's address."""

    type: str
    url: str


class Contact(Model):
    """A contact in base projection."""

    id: int
    version: int
    contact_type: Literal["person", "organization"]
    hot: bool
    basic_infos: list[BasicInfo]
    addresses: list[Address]
    profiles: dict[str, Profile]
    tags: list[str]
    search_terms: list[str]
    custom_fields: list[CustomValue]
    related_to: list[int]
    pictures: list[Picture]
    deals: list[int]
    notes: list[int]
    tasks: list[int]
    interactions: list[int]
    display_name: str
    created: int
    changed: int
    title: str | None = None
    first_name: str | None = None
    middle_name: str | None = None
    last_name: str | None = None
    profession: str | None = None
    gender: str | None = None
    organization_name: str | None = None
    business: str | None = None


class Page(Model):
    """A page of contacts."""

    data: list[Contact]
    length: int
    start_index: int
    total_length: int


class RelatedTo(Model):
    """What a note is about."""

    id: int
    type: Literal["contact", "deal"]
    display_name: str | None = None


class NewNote(Model):
    """The body of a new note."""

    message: Annotated[str, Field(min_length=1, max_length=10000)]
    related_to: RelatedTo


class Note(Model):
    """A note."""

    id: int
    message: str
    related_to: RelatedTo
    timestamp: int


class Synced(Model):
    """What has changed since a device was here last."""

    contacts: list[Contact]
    deals: list[dict[str, Any]]
    interactions: list[dict[str, Any]]
    notes: list[dict[str, Any]]
    task_lists: list[dict[str, Any]]
    tasks: list[dict[str, Any]]
    deleted: list[dict[str, Any]]
    last_sync_time: int
    cursor: str


class Created(Model):
    """The envelope of what was created."""

    code: int = 201
    entity: Note
    devmsg: str = "success"


def _ids(table: str, condition: str = "x.contact_id = c.id") -> str:
    return f"ARRAY(SELECT x.id FROM {table} x WHERE x.user_id = c.user_id AND {condition} ORDER BY x.id)"


def _rows(table: str, columns: str, order: str = "x.id") -> str:
    pairs = ", ".join(f"'{name}', x.{name}" for name in columns.split())
    return (f"(SELECT coalesce(json_agg(json_build_object({pairs}) ORDER BY {order}), '[]') FROM {table} x "
            "WHERE x.user_id = c.user_id AND x.contact_id = c.id)")


CONTACTS = f"""
SELECT c.id, c.version, c.contact_type, c.hot, c.display_name, c.created, c.changed, c.title, c.first_name, c.middle_name, c.last_name,
  c.profession, c.gender, c.organization_name, c.business,
  {_rows("basic_infos", "id type subtype value identifier excluded")} AS basic_infos,
  {_rows("addresses", "id address_line1 address_line2 address_line3 zip_code city state country subtype")} AS addresses,
  {_rows("contact_profiles", "network connected username url", "x.network")} AS profiles,
  ARRAY(SELECT x.tag FROM contact_tags x WHERE x.user_id = c.user_id AND x.contact_id = c.id ORDER BY x.tag) AS tags,
  ARRAY(SELECT x.term FROM contact_search_terms x WHERE x.user_id = c.user_id AND x.contact_id = c.id ORDER BY x.term) AS search_terms,
  (SELECT coalesce(json_agg(json_build_object('id', f.id, 'name', f.name, 'value', x.value) ORDER BY f.id), '[]') FROM contact_custom_values x
    JOIN custom_fields f ON f.id = x.custom_field_id WHERE x.user_id = c.user_id AND x.contact_id = c.id) AS custom_fields,
  ARRAY(SELECT l.organization_id FROM contact_links l WHERE l.user_id = c.user_id AND l.person_id = c.id UNION ALL
    SELECT l.person_id FROM contact_links l WHERE l.user_id = c.user_id AND l.organization_id = c.id ORDER BY 1) AS related_to,
  (SELECT coalesce(json_agg(json_build_object('type', x.type, 'url', picture_url(x.id, x.key)) ORDER BY x.id), '[]') FROM pictures x
    WHERE x.user_id = c.user_id AND x.contact_id = c.id) AS pictures,
  {_ids("deals")} AS deals, {_ids("notes")} AS notes, {_ids("tasks")} AS tasks,
  {_ids("interactions", "(x.person_id = c.id OR x.organization_id = c.id)")} AS interactions
FROM contacts c WHERE c.user_id = $1"""
ONE = CONTACTS + " AND c.id = $2"
SOME = CONTACTS + " ORDER BY c.id LIMIT $2 OFFSET $3"
CHANGED = CONTACTS + " AND c.seq > $2 AND c.seq <= $3 ORDER BY c.seq, c.id"
OTHERS = {name: f"SELECT * FROM {name} c WHERE c.user_id = $1 AND c.seq > $2 AND c.seq <= $3 ORDER BY c.seq"
          for name in ("deals", "interactions", "notes", "task_lists", "tasks", "tombstones")}
COUNT = "SELECT count(*) FROM contacts WHERE user_id = $1"
WHO = """SELECT u.id, u.company_id, ARRAY(SELECT role FROM user_roles r WHERE r.user_id = u.id) AS roles
FROM sessions s JOIN users u ON u.id = s.user_id
WHERE s.token_hash = $1 AND s.expires_at > now() AND u.active"""


async def prepare(connection: asyncpg.Connection) -> None:
    """JSON as Python values; the planner's settings are those of interactd."""
    await connection.set_type_codec("json", schema="pg_catalog", encoder=lambda v: orjson.dumps(v).decode(), decoder=orjson.loads)
    await connection.execute("SET jit = off; SET plan_cache_mode = force_generic_plan")


@contextlib.asynccontextmanager
async def pooled(app: FastAPI) -> AsyncIterator[None]:
    """The pool."""
    async with asyncpg.create_pool(DSN, min_size=8, max_size=8, init=prepare) as app.state.pool:
        yield


app = FastAPI(lifespan=pooled)
known: dict[str, tuple[asyncpg.Record, float]] = {}


async def user(request: Request, authToken: Annotated[str, Header(convert_underscores=False)]) -> asyncpg.Record:
    """Who is calling."""
    found, until = known.get(authToken, (None, 0.0))
    if found is None or until < time.monotonic():
        found = await request.app.state.pool.fetchrow(WHO, hashlib.sha256(authToken.encode()).digest())
        if found is None:
            raise HTTPException(401, "unknown token")
        known[authToken] = (found, time.monotonic() + 5)
    return found


User = Annotated[asyncpg.Record, Depends(user)]


def shown(row: asyncpg.Record) -> Contact:
    """A row as the API shows it."""
    values: dict[str, Any] = dict(row)
    profiles = {p.pop("network"): p for p in values["profiles"]}
    values["profiles"] = {network: profiles.get(network, {}) for network in NETWORKS}
    return Contact(**values)


@app.get("/v2/contacts/{ident}", response_model=Contact, response_model_exclude_none=True)
async def one_contact(ident: int, who: User, request: Request) -> Contact:
    """Reads a contact."""
    row = await request.app.state.pool.fetchrow(ONE, who["id"], ident)
    if row is None:
        raise HTTPException(404, "contact not found")
    return shown(row)


@app.get("/v2/contacts", response_model=Page, response_model_exclude_none=True)
async def contacts(who: User, request: Request, limit: Annotated[int, Query(ge=1)] = 50, offset: Annotated[int, Query(ge=0)] = 0) -> Page:
    """Lists contacts."""
    async with request.app.state.pool.acquire() as connection:
        rows = await connection.fetch(SOME, who["id"], limit, offset)
        total = await connection.fetchval(COUNT, who["id"])
    return Page(data=[shown(row) for row in rows], length=len(rows), start_index=offset, total_length=total)


@app.put("/v2/notes", response_model=Created, response_model_exclude_none=True, status_code=201)
async def new_note(note: NewNote, who: User, request: Request) -> Created:
    """Stores a note: the counter, the row, the activity, in one transaction."""
    related, table = note.related_to, "contacts" if note.related_to.type == "contact" else "deals"
    async with request.app.state.pool.acquire() as connection, connection.transaction():
        number, now = await connection.fetchrow(
            "UPDATE counters SET seq = seq + 1, at = greatest(now_ms(), at + 1) WHERE user_id = $1 RETURNING seq, at", who["id"])
        name = await connection.fetchval(f"SELECT {'display_name' if table == 'contacts' else 'name'} FROM {table} WHERE user_id = $1 AND id = $2",
                                         who["id"], related.id)
        if name is None:
            raise HTTPException(404, f"{related.type} not found")
        ident = await connection.fetchval(f"INSERT INTO notes (user_id, message, {related.type}_id, timestamp, seq) VALUES ($1, $2, $3, $4, $5) "
                                          "RETURNING id", who["id"], note.message, related.id, now, number)
        made = Note(id=ident, message=note.message, related_to=RelatedTo(id=related.id, type=related.type, display_name=name), timestamp=now)
        await connection.execute(
            "INSERT INTO activities (user_id, actor_id, company_id, action, entity_type, entity_id, new_state) "
            "VALUES ($1, $1, $2, 'insert', 'note', $3, $4)",
            who["id"], who["company_id"], ident, made.model_dump(by_alias=True, exclude_none=True))
    return Created(entity=made)


@app.get("/v2/sync", response_model=Synced, response_model_exclude_none=True)
async def sync(who: User, request: Request, deviceId: str, cursor: str) -> Synced:
    """What has changed, read in one snapshot. Only contacts change here; of the other lists it is enough to ask."""
    epoch, since = cursor.split(".")[:2]
    async with request.app.state.pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
        if not await connection.fetchval("SELECT id FROM devices WHERE user_id = $1 AND canonical = $2 AND active", who["id"], deviceId):
            raise HTTPException(404, "device not found")
        seq, at, now = await connection.fetchrow("SELECT seq, at, epoch FROM counters WHERE user_id = $1", who["id"])
        start = int(since) if epoch == now else 0
        rows = await connection.fetch(CHANGED, who["id"], start, seq)
        others = {name: [dict(row) for row in await connection.fetch(sql, who["id"], start, seq)] for name, sql in OTHERS.items()}
    deleted = others.pop("tombstones")
    return Synced(contacts=[shown(row) for row in rows], deleted=deleted, last_sync_time=at, cursor=f"{now}.{seq}.{at}", **others)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, loop="uvloop", http="httptools", access_log=False, log_level="error", backlog=4096)

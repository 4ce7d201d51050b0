"""Pictures of contacts: uploaded, listed, sent to whoever has their address (contract section 4, picture)."""
from __future__ import annotations

from hmac import compare_digest
from typing import Any

from attrs import frozen

from interactd.api.answer import Answer, created, has
from interactd.api.body import faulty
from interactd.api.call import PUBLIC, Param, call, word
from interactd.api.context import Context
from interactd.api.entity import Entity
from interactd.api.fields import Columns, Field, Wrong, boolean, declare, ident, identity, plain, server, string
from interactd.db import Statement, Step
from interactd.errors import ForeignPicture, NotFound
from interactd.images import JPEG, MOST_BYTES, MOST_PIXELS, PNG, Encoded, Unfit

TYPES = ("facebook", "google", "gravatar", "interact", "twitter", "carddav")
KEPT = ("image", "thumb64", "thumb256", "media_type", "etag")


def _said(value: Any) -> Columns:
    if not isinstance(value, str):
        raise Wrong("must be a text in base64")
    return {"upload": value}


_UPLOAD = {"type": "string", "contentEncoding": "base64", "writeOnly": True,
           "description": f"A JPEG, PNG, GIF or WebP picture of at most {MOST_BYTES} bytes and {MOST_PIXELS} pixels."}


@frozen
class Picture:
    """A picture of a contact; `url` is all that an `<img>` needs."""

    id: int = ident()
    contact_id: int = plain(identity, {"type": "integer", "format": "int64", "minimum": 1}, "contact_id", required=True, create_only=True)
    base64: str = declare(Field(_said, _UPLOAD, columns=KEPT, required=True))
    is_default: bool = boolean("is_default")
    type: str = server("type", {"type": "string", "enum": list(TYPES)})
    url: str = server("url", {"type": "string"}, "picture_url({t}.id, {t}.key)")


CONTACT = Statement("pictures_of", "SELECT 1 FROM contacts c WHERE c.user_id = :owner AND c.id = :contact")
TYPE = Statement("pictures_type", "SELECT p.type FROM pictures p WHERE p.user_id = :owner AND p.id = :id")
FOREIGN = Statement("pictures_foreign", """
SELECT refuse('IA305', 'picture ' || p.id || ' is of an external system') FROM pictures p
WHERE p.user_id = :owner AND p.id = ANY(:ids::bigint[]) AND p.type <> 'interact' ORDER BY p.id LIMIT 1""")
ROOM = Statement("pictures_room", """
SELECT refuse('IA400', 'the pictures of a user may have at most ' || :most::bigint || ' bytes', '2004')
FROM pictures p WHERE p.user_id = :owner AND p.id IS DISTINCT FROM kept('id')::bigint
HAVING coalesce(sum(octet_length(p.image) + octet_length(p.thumb64) + octet_length(p.thumb256)), 0) + :size::bigint > :most""")
FULL = Statement("pictures_full", """
SELECT refuse('IA400', 'a contact may have at most ' || :most::int || ' pictures', '2004')
FROM pictures p WHERE p.user_id = :owner AND p.contact_id = :contact HAVING count(*) >= :most""")

# The default of before steps back first: there is one at a time (index pictures_default). One there always is: if none is left, the
# oldest but the one that has just been told not to be it.
STEP_BACK = Statement("pictures_step_back", """
UPDATE pictures p SET is_default = false WHERE p.user_id = :owner AND p.is_default AND p.id IS DISTINCT FROM kept('id')::bigint
  AND p.contact_id = coalesce(:contact::bigint, (SELECT k.contact_id FROM pictures k WHERE k.user_id = :owner AND k.id = kept('id')::bigint))""")
STEP_IN = Statement("pictures_step_in", """
UPDATE pictures p SET is_default = true WHERE p.user_id = :owner AND p.id = (
  SELECT o.id FROM pictures k JOIN pictures o ON o.user_id = k.user_id AND o.contact_id = k.contact_id
  WHERE k.user_id = :owner AND k.id = kept('id')::bigint
    AND NOT EXISTS (SELECT 1 FROM pictures d WHERE d.user_id = k.user_id AND d.contact_id = k.contact_id AND d.is_default)
  ORDER BY o.id = k.id, o.id LIMIT 1)""")


def _before(c: Context, body: Columns, ident: int | None) -> tuple[Step, ...]:
    steps, contact = [], body.get("contact_id")
    if ident is None:
        steps.append(Step(FULL, {"owner": c.owner, "contact": contact, "most": c.config.limits.items}))
    if "image" in body:
        size = sum(len(body[name]) // 2 - 1 for name in KEPT[:3])
        steps.append(Step(ROOM, {"owner": c.owner, "size": size, "most": c.config.limits.picture_bytes}))
    if body.get("is_default"):
        steps.append(Step(STEP_BACK, {"owner": c.owner, "contact": contact}))
    return tuple(steps)


def _after(c: Context, body: Columns, ident: int | None) -> tuple[Step, ...]:
    return (Step(STEP_IN, {"owner": c.owner}),)


# A new picture has a new address: the old one may be kept in caches for ever.
ENTITY = Entity(Picture, table="pictures", kind="picture", activity="picture", path="/v2/pictures", realm=100, numbered=False,
                on_update={"key": "CASE WHEN :body::jsonb ? 'image' THEN picture_key() ELSE t.key END"}, before=_before, after=_after)


async def _read(c: Context) -> None:
    """The upload in the body is decoded and encoded anew, once it is known that it may be kept."""
    said = c.body.pop("upload", None)
    if said is None:
        return
    if c.ids:
        if (await c.one(TYPE, owner=c.owner, id=c.ids[0]))[0] != "interact":
            raise ForeignPicture("a picture of an external system keeps its image")
    elif not await c.maybe(CONTACT, owner=c.owner, contact=c.body["contact_id"]):
        raise NotFound("contact", detail=3003)
    try:
        made = await c.app.images.read(said)
    except Unfit as unfit:
        raise faulty("base64", unfit.problem, unfit.detail) from None
    c.body.update(columns(made))


def columns(made: Encoded) -> Columns:
    """What is kept of a picture, as it stands in a body."""
    return {"image": _hex(made.image), "thumb64": _hex(made.thumb64), "thumb256": _hex(made.thumb256), "media_type": made.media_type,
            "etag": made.etag}


def _hex(data: bytes) -> str:
    return "\\x" + data.hex()


async def _upload(c: Context) -> Answer:
    """Upload a picture of a contact; its first one becomes the default by itself."""
    return created(await ENTITY.written(c, "insert", ENTITY.create_steps(c, c.body)), status=200)


async def _delete(c: Context, ident: int) -> Answer:
    """Delete a picture."""
    return await ENTITY.remove(c, [ident], ENTITY.step(c, FOREIGN, ids=[ident]))


async def _delete_ids(c: Context) -> Answer:
    """Delete several pictures, all or none."""
    return await ENTITY.remove(c, c.query["ids"], ENTITY.step(c, FOREIGN, ids=c.query["ids"]))


KEY = Param("k", lambda said: string(said, 128), {"type": "string", "maxLength": 128}, required=True, example="0123456789abcdef0123456789abcdef")
KNOWN = Statement("pictures_known", "SELECT p.key, p.etag, p.media_type FROM pictures p WHERE p.id = :id AND p.image IS NOT NULL")
BYTES = {size: Statement(f"pictures_bytes_{size or 'whole'}", f"SELECT {column} FROM pictures p WHERE p.id = :id AND p.etag = :etag")
         for size, column in ((None, "p.image"), ("64", "p.thumb64"), ("256", "p.thumb256"))}
# Cached for good, since another picture has another address; nothing in it is run, and nobody is told where it was seen.
HEADERS = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox",
           "Referrer-Policy": "no-referrer"}


@call("GET", "/v2/pictures/:id/image", may=PUBLIC, realm=100, kind="picture", name="picture.image", query=(KEY, word("size", *filter(None, BYTES))),
      media=(JPEG, PNG), cached=True)
async def image(c: Context, ident: int) -> Answer:
    """The picture itself, or a thumbnail that fits into a square of `size` pixels, for whoever has its address."""
    key, etag, media = await c.maybe(KNOWN, id=ident) or ("", "", "")
    if not compare_digest(key.encode(), c.query["k"].encode()) or not key:
        raise NotFound("picture")
    size = c.query["size"]
    headers = {**HEADERS, "ETag": f'"{etag}-{size}"' if size else f'"{etag}"'}
    if has(c.asked.headers, headers["ETag"]):
        return Answer(304, b"", headers)
    return Answer(200, bytes((await c.one(BYTES[size], id=ident, etag=etag))[0]), headers, media)


DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
KEPT_THERE = ForeignPicture("a picture of an external system")
CALLS = (*ENTITY.calls("put", run=_upload, prepare=_read, limit=MOST_BYTES * 2, success=200, summary=_upload.__doc__, example={
             "contactId": 41, "base64": DOT}, refuses=(NotFound("contact", detail=3003),)),
         *ENTITY.calls("get"), *ENTITY.calls("post", prepare=_read, limit=MOST_BYTES * 2, refuses=(KEPT_THERE,), example={"base64": DOT}),
         *ENTITY.calls("delete", run=_delete, refuses=(KEPT_THERE,)), *ENTITY.calls("delete_ids", run=_delete_ids, refuses=(KEPT_THERE,)), image)

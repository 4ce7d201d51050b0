"""A user's contacts in a file: as vCards 4.0 for other programs, or as an archive that interactctl import reads back without loss."""
from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
from attrs import define

from interactd.api import body as bodies
from interactd.api.context import Context
from interactd.db import Statement, Step
from interactd.entities import pictures
from interactd.entities.contacts import ENTITY, Contact
from interactd.images import Unfit
from interactd.imports.files import ARCHIVE, mark, plain_contact
from interactd.imports.person import Json
from interactd.imports.store import PICTURE_OF, as_json
from interactd.imports.vcard_writing import card
from interactd.refusals import Refusal

SLICE = 100
SYSTEM = "archive"

EPOCH = Statement("archive_epoch", "SELECT epoch FROM counters WHERE user_id = :owner")
CONTACTS = Statement("archive_contacts", f"""
SELECT t.id, ({ENTITY.shown})::text FROM contacts t WHERE t.user_id = :owner AND t.id > :after ORDER BY t.id LIMIT :most""")
PICTURES = Statement("archive_pictures", """
SELECT p.contact_id, p.type, p.is_default, p.media_type, p.image FROM pictures p
WHERE p.user_id = :owner AND p.contact_id = ANY(:ids::bigint[]) AND p.image IS NOT NULL ORDER BY p.contact_id, p.id""")
ORGANIZATIONS = Statement("archive_organizations", """
SELECT l.person_id, o.display_name FROM contact_links l JOIN contacts o ON o.user_id = l.user_id AND o.id = l.organization_id
WHERE l.user_id = :owner AND l.person_id = ANY(:ids::bigint[]) ORDER BY o.id""")

# An archive that comes back to the account that it is of knows its contacts by their ids.
OWN = Statement("archive_own", """
INSERT INTO external_contacts (user_id, system, account, external_id, contact_id, etag, card)
SELECT :owner, :system, :account, v.id::text, t.id, v.mark, v.card
FROM jsonb_to_recordset(:items::jsonb) v (id bigint, mark text, card jsonb) JOIN contacts t ON t.user_id = :owner AND t.id = v.id
ON CONFLICT (user_id, system, account, external_id) DO UPDATE SET contact_id = excluded.contact_id, card = excluded.card, etag = excluded.etag
  WHERE external_contacts.contact_id IS NULL""")
THERE = Statement("archive_there", "SELECT t.id FROM contacts t WHERE t.user_id = :owner AND t.id = ANY(:ids::bigint[])")
# What was deleted since may come back, if it is asked for so plainly.
FORGOTTEN = Statement("archive_forgotten", """
DELETE FROM external_contacts WHERE user_id = :owner AND system = :system AND account = :account AND contact_id IS NULL""")
NOW = Statement("archive_now", """
SELECT e.external_id, e.contact_id FROM external_contacts e
WHERE e.user_id = :owner AND e.system = :system AND e.account = :account AND e.contact_id IS NOT NULL""")
FIELDS = Statement("archive_fields", """
SELECT f.name, f.id FROM custom_fields f JOIN users u ON u.company_id = f.company_id WHERE u.id = :owner AND f.entity_type = 'contact'""")
VERSION = Statement("archive_version", "SELECT t.version FROM contacts t WHERE t.user_id = :owner AND t.id = :id")


async def slices(c: Context) -> AsyncIterator[list[Json]]:
    """All contacts as the API shows them, with their pictures' bytes and the names of persons' organizations."""
    after = 0
    while rows := await c.rows(CONTACTS, owner=c.owner, after=after, most=SLICE):
        after = rows[-1][0]
        ids = [row[0] for row in rows]
        shown = {ident: orjson.loads(text) for ident, text in rows}
        for contact in shown.values():
            contact["pictures"], contact["organizations"] = [], []
        for ident, kind, default, media, image in await c.rows(PICTURES, owner=c.owner, ids=ids):
            shown[ident]["pictures"].append({"type": kind, "isDefault": default, "mediaType": media, "data": bytes(image)})
        for ident, name in await c.rows(ORGANIZATIONS, owner=c.owner, ids=ids):
            shown[ident]["organizations"].append(name)
        yield list(shown.values())


async def as_vcards(c: Context, write: Callable[[str], Any]) -> int:
    """All contacts are written as vCards; how many."""
    count = 0
    async for some in slices(c):
        for contact in some:
            default = next((p for p in contact["pictures"] if p["isDefault"]), None)
            write(card(contact, tuple(contact["organizations"]), (default["mediaType"], default["data"]) if default else None))
        count += len(some)
    return count


async def as_archive(c: Context, write: Callable[[str], Any]) -> int:
    """All contacts are written as one archive; how many."""
    epoch, count = (await c.one(EPOCH, owner=c.owner))[0], 0
    write('{"interactd":%d,"user":%s,"epoch":%s,"contacts":[' % (ARCHIVE, as_json(c.user.email), as_json(epoch)))
    async for some in slices(c):
        for contact in some:
            del contact["organizations"]
            for picture in contact["pictures"]:
                picture["data"] = b64encode(picture["data"]).decode()
            write(("," if count else "") + "\n" + as_json(contact))
            count += 1
    write("\n]}\n")
    return count


@define
class Restoring:
    """An archive on its way back: what must be known before its contacts are stored, and what follows when they are."""

    c: Context
    said: Json
    left_out: int = 0

    @staticmethod
    def of(c: Context, data: bytes) -> Restoring:
        """The archive in a file; Refusal when it is none."""
        try:
            said = orjson.loads(data)
            if said["interactd"] != ARCHIVE:
                raise Refusal("the archive was written by another version of interactd")
            if not all(isinstance(one["id"], int) and one["contactType"] in ("person", "organization") for one in said["contacts"]):
                raise KeyError("contacts")
            return Restoring(c, said)
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise Refusal("this is no archive of interactctl export") from None

    @property
    def account(self) -> str:
        """What the archive is of."""
        return str(self.said.get("user", ""))[:255]

    async def missing(self) -> list[Json]:
        """The contacts that are not there any more: all, unless this is the account that they are of."""
        contacts: list[Json] = self.said["contacts"]
        there = {row[0] for row in await self.c.rows(THERE, owner=self.c.owner, ids=[one["id"] for one in contacts])} if await self._own() else set()
        return [one for one in contacts if one["id"] not in there]

    async def _own(self) -> bool:
        return bool((await self.c.one(EPOCH, owner=self.c.owner))[0] == self.said.get("epoch"))

    async def before(self) -> None:
        """The contacts that are there still are known, if this is the account that they are of."""
        given = {"owner": self.c.owner, "system": SYSTEM, "account": self.account}
        if await self._own():
            contacts = self.said["contacts"]
            for start in range(0, len(contacts), SLICE):
                items = [{"id": one["id"], "mark": mark(one), "card": plain_contact(one)} for one in contacts[start:start + SLICE]]
                await self.c.script(Step(OWN, {**given, "items": as_json(items)}))
        await self.c.script(Step(FORGOTTEN, given))

    async def after(self, created: set[int], told: Callable[[], Awaitable[None]]) -> None:
        """Relations, custom fields and pictures of the contacts that were created."""
        now = dict(await self.c.rows(NOW, owner=self.c.owner, system=SYSTEM, account=self.account))
        fields = dict(await self.c.rows(FIELDS, owner=self.c.owner))
        for contact in self.said["contacts"]:
            ident = now.get(str(contact["id"]))
            if ident in created:
                await self._joined(ident, contact, now, fields)
                for picture in contact.get("pictures", ()):
                    await self._pictured(ident, picture)
                await told()

    async def _joined(self, ident: int, contact: Json, now: dict[str, int], fields: dict[str, int]) -> None:
        related = [now[str(other)] for other in contact.get("relatedTo", ()) if str(other) in now] if contact["contactType"] == "person" else []
        values = [{"id": fields[v["name"]], "value": v["value"]} for v in contact.get("customFields", ()) if v["name"] in fields]
        self.left_out += len(contact.get("customFields", ())) - len(values)
        if related or values:
            version = (await self.c.one(VERSION, owner=self.c.owner, id=ident))[0]
            said = {"version": version, **({"relatedTo": related} if related else {}), **({"customFields": values} if values else {})}
            await self.c.script(*ENTITY.update_steps(self.c, ident, bodies.read(Contact, said, create=False)))

    async def _pictured(self, ident: int, picture: Json) -> None:
        try:
            made = await self.c.app.images.read(b64decode(picture["data"]))
        except (Unfit, ValueError):
            self.left_out += 1
            return
        body = {"contact_id": ident, "is_default": bool(picture.get("isDefault")), **pictures.columns(made)}
        steps = pictures.ENTITY.create_steps(self.c, body)
        kind = picture["type"] if picture.get("type") in pictures.TYPES else "interact"
        await self.c.script(*steps[:-1], Step(PICTURE_OF, {"owner": self.c.owner, "type": kind}), steps[-1])

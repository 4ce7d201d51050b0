"""An address book that a test writes itself, imported through the API."""
from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from attrs import define, field

from interactd.imports.person import Entry, Json, Photo
from interactd.imports.source import Expired, Group, Page, Wanted
from tests.api_case import ApiCase, Person, Reply


def somebody(first: str, *infos: tuple[str, str], last: str = "X", **more: Any) -> Json:
    """A person as sources tell it."""
    told = [{"type": kind, "subtype": "other", "value": value} for kind, value in infos]
    return {"contactType": "person", "firstName": first, "lastName": last, **more, "basicInfos": told, "addresses": more.get("addresses", [])}


@define
class Shelf:
    """An address book that lives in this process: what is in it, what was deleted since which change, how it fails."""

    entries: dict[str, Entry] = field(factory=dict)
    log: list[tuple[str, bool]] = field(factory=list)          # (place, whether it is there) in order of change
    syncs: bool = True
    expired: bool = False
    page: int = 2
    fails: dict[int, Exception] = field(factory=dict)          # before which page
    asked: list[Wanted] = field(factory=list)
    photos: dict[str, bytes] = field(factory=dict)
    on_page: Any = None

    def put(self, ident: str, person: Json | None, **more: Any) -> None:
        """An entry is written there."""
        place = more.pop("place", "/" + ident)
        self.log.append((place, True))
        named = more.pop("named", person is not None)
        self.entries[ident] = Entry(ident, place, more.pop("etag", f"e{len(self.log)}"), person, named=named, **more)

    def drop(self, ident: str) -> None:
        """An entry is deleted there."""
        self.log.append((self.entries.pop(ident).place, False))

    async def groups(self) -> list[Group]:
        """What groups its entries are in."""
        return [Group(name, name.upper()) for name in sorted({name for e in self.entries.values() for name in e.groups})]

    async def pages(self, wanted: Wanted) -> AsyncIterator[Page]:
        """In pages of two."""
        self.asked.append(wanted)
        if wanted.token is not None and self.expired:
            self.expired = False
            raise Expired
        changed = dict(self.log[wanted.token or 0:])
        chosen = [e for e in self.entries.values() if wanted.token is None or e.place in changed]
        same = tuple(e.place for e in chosen if wanted.etags.get(e.place) == e.etag)
        rest = [e for e in chosen if e.place not in same]
        gone = tuple(place for place, there in changed.items() if not there) if wanted.token is not None else ()
        yield Page(same=same, gone=gone)
        for number, start in enumerate(range(0, len(rest), self.page), 1):
            if number in self.fails:
                raise self.fails.pop(number)
            if self.on_page is not None:
                await self.on_page(number)
            yield Page(tuple(rest[start:start + self.page]))
        yield Page(token=len(self.log) if self.syncs else None)

    async def photo(self, photo: Photo) -> bytes | None:
        """The bytes of a photo."""
        return photo.data or self.photos.get(photo.url)


class ImportCase(ApiCase):
    """`self.me` imports from `self.shelf`, which the API knows as `carddav`."""

    async def setUp(self) -> None:
        await super().setUp()
        self.me = self.person()
        self.shelf = Shelf()
        self.parts.app.imports.systems["carddav"] = lambda username, password: self.shelf

    async def imports(self, who: Person | None = None, account: str = "me", **query: Any) -> Reply:
        """The answer to an import."""
        said = "".join(f"&{name.replace('_', '-')}={value}" for name, value in query.items())
        body = {"externalSystem": "carddav", "username": account, "password": "secret"}
        return await self.post(f"/v2/import?cmd=importContacts{said}", who or self.me, body)

    async def imported(self, **query: Any) -> Json:
        """The same, which succeeds."""
        reply = await self.imports(**query)
        self.assertEqual(reply.status, 200, reply.json)
        return dict(reply.json)

    async def contacts(self, who: Person | None = None) -> dict[str, Json]:
        """All contacts, by display name."""
        reply = await self.get("/v2/contacts", who or self.me)
        found = {contact["displayName"]: contact for contact in reply.json["data"]}
        self.assertEqual(len(found), len(reply.json["data"]), "two contacts of one name")
        return found

    def lists(self, answer: Json) -> dict[str, int]:
        """How many ids each list of an answer has."""
        return {name: len(answer[name]) for name in ("created", "updated", "deleted", "failed") if answer[name]}

    def values(self, contact: Json) -> list[str]:
        """The values of a contact."""
        return [info["value"] for info in contact["basicInfos"]]

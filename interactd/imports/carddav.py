"""An address book on a CardDAV server (RFC 6352, sync as in RFC 6578): what there is, what changed, the cards."""
from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from attrs import define, evolve, field, frozen
from twisted.logger import Logger

from interactd.imports import davxml
from interactd.imports.davclient import Collection, DavClient, Listing
from interactd.imports.patience import Oversize, Patient
from interactd.imports.person import PHOTO_BYTES, Entry, Photo
from interactd.imports.source import Expired, Group, Page, Source, Wanted
from interactd.imports.vcard import Card, cards
from interactd.imports.vcard_person import categories, entry, group_card, plain_id
from interactd.keys import Server

BATCH = 50                  # cards in one request

log = Logger()


@frozen
class Found:
    """A card where it was found."""

    place: str
    etag: str
    card: Card


@define
class Memberships:
    """Who is in which group: by categories of one's own card, and by the cards of groups."""

    names: dict[str, str] = field(factory=dict)
    of_member: dict[str, set[str]] = field(factory=dict)

    def add(self, card: Card) -> None:
        """What a card says of groups."""
        group = group_card(card)
        if group is None:
            self.names.update(categories(card))
            return
        self.names[group.id] = group.name
        for member in group.members:
            self.of_member.setdefault(member, set()).add(group.id)


@define
class CardDav:
    """The address books of one user on one server. No token is kept where a server does not give one for every book."""

    client: DavClient

    @staticmethod
    def opening(patient: Patient, server: Server) -> Callable[[str, str], Source]:
        """What opens a user's address books on a server."""
        return lambda username, password: CardDav(DavClient(patient, server, username, password))

    async def groups(self) -> list[Group]:
        """Categories and cards of groups, by name."""
        memberships = await self._memberships(await self.client.books())
        return [Group(ident, name) for ident, name in sorted(memberships.names.items(), key=lambda said: (said[1].lower(), said[0]))]

    async def pages(self, wanted: Wanted) -> AsyncIterator[Page]:
        """The cards in parts; which groups they are in is found out first, where it matters."""
        if wanted.token is not None and wanted.groups:
            raise Expired               # a group's card may have changed, which changes none of its members'
        books = await self.client.books()
        before: dict[str, str] = wanted.token or {}
        if not before.keys() <= {book.url for book in books}:
            raise Expired               # an address book is gone
        memberships = await self._memberships(books) if wanted.groups else Memberships()
        tokens: dict[str, str] = {}
        for book in books:
            listing = await self.client.listing(book, before.get(book.url, ""))
            tokens[book.url] = listing.token
            async for page in self._pages(book, listing, wanted, memberships):
                yield page
        yield Page(token=tokens if tokens and all(tokens.values()) else None)

    async def _pages(self, book: Collection, listing: Listing, wanted: Wanted, memberships: Memberships) -> AsyncIterator[Page]:
        same = tuple(place for place, etag in listing.etags.items() if etag and wanted.etags.get(place) == etag)
        yield Page(same=same, gone=tuple(listing.gone))
        known = set(same)
        async for batch in self._found(book, sorted(place for place in listing.etags if place not in known)):
            entries = []
            for found in batch:
                await self.client.slices.rest()
                if group_card(found.card) is None:
                    entries.append(_with_groups(entry(found.card, found.place, found.etag), memberships))
            yield Page(tuple(entries))

    async def _memberships(self, books: list[Collection]) -> Memberships:
        found = Memberships()
        for book in books:
            listing = await self.client.listing(book, "")
            async for batch in self._found(book, list(listing.etags)):
                for one in batch:
                    found.add(one.card)
        return found

    async def _found(self, book: Collection, places: list[str]) -> AsyncIterator[list[Found]]:
        for start in range(0, len(places), BATCH):
            yield await self._batch(book, places[start:start + BATCH])

    async def _batch(self, book: Collection, places: list[str]) -> list[Found]:
        """The cards at these places; those that are gone meanwhile are left out, those that are too large are passed over."""
        try:
            responses = await self.client.cards(book, places)
        except Oversize:
            if len(places) == 1:
                log.warn("a card on {server} is too large and is passed over", server=self.client.server.name)
                return []
            half = len(places) // 2
            return await self._batch(book, places[:half]) + await self._batch(book, places[half:])
        made = []
        for response in responses:
            await self.client.slices.rest()
            made += list(_read(self.client.place(book.url, response.href), response))
        return sorted(made, key=lambda found: found.place)          # servers answer in any order; the same book is to give the same contacts

    async def photo(self, photo: Photo) -> bytes | None:
        """The photo at an address, which gets no credentials."""
        if photo.data:
            return photo.data
        return await self.client.fetched(photo.url, PHOTO_BYTES)


def _read(place: str, response: davxml.Response) -> Iterator[Found]:
    data = response.text(davxml.CARD + "address-data")
    for card in cards(data.encode("utf-8", "replace")) if data else ():
        yield Found(place, response.text(davxml.DAV + "getetag").strip(), card)
        return


def _with_groups(made: Entry, memberships: Memberships) -> Entry:
    more: Any = memberships.of_member.get(plain_id(made.external_id), ())
    return made if not more else evolve(made, groups=made.groups | frozenset(more))

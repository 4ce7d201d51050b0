"""What is known of an address book before an import: which of its entries are contacts, and which wait to become one."""
from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field

from interactd.imports import store
from interactd.imports.person import Entry
from interactd.imports.store import Book

SLICE = 2000


@define
class Known:
    """An entry that was read before. Neither contact nor waiting: its contact was deleted here."""

    external_id: str
    place: str
    etag: str | None = None
    contact: int | None = None
    waiting: int | None = None          # id of the import contact
    photo: str | None = None


@define
class KnownEntries:
    """All of them, by id and by place."""

    _by_id: dict[str, Known] = field(factory=dict)
    _by_place: dict[str, Known] = field(factory=dict)

    def __iter__(self) -> Iterator[Known]:
        return iter(self._by_id.values())

    def add(self, known: Known) -> Known:
        """One more, or another state of one."""
        self._by_id[known.external_id] = known
        if known.place:
            self._by_place[known.place] = known
        return known

    def remove(self, known: Known) -> None:
        """One less."""
        self._by_id.pop(known.external_id, None)
        self._by_place.pop(known.place, None)

    def of(self, entry: Entry) -> Known | None:
        """What is known of an entry, by its id or by a place it was at before."""
        return self._by_id.get(entry.external_id) or next((self._by_place[p] for p in entry.formerly if p in self._by_place), None)

    def at(self, place: str) -> Known | None:
        """What was found at a place, or had that id."""
        return self._by_place.get(place) or self._by_id.get(place)

    @property
    def contacts(self) -> int:
        """How many of them are contacts."""
        return sum(known.contact is not None for known in self)

    @property
    def etags(self) -> dict[str, str]:
        """The etags of what need not be read again; who waits to become a contact is looked at each time."""
        return {known.place: known.etag for known in self if known.place and known.etag and known.waiting is None}


async def known_entries(book: Book) -> KnownEntries:
    """Read in slices, so that no long answer holds up others."""
    found, after = KnownEntries(), ""
    while rows := await book.rows(book.step(store.KNOWN, after=after, most=SLICE)):
        for external_id, place, etag, contact, photo in rows:
            found.add(Known(external_id, place, etag, contact, None, photo))
        after = rows[-1][0]
    after = ""
    while rows := await book.rows(book.step(store.WAITING, after=after, most=SLICE)):
        for external_id, place, ident in rows:
            found.add(Known(external_id, place, waiting=ident))
        after = rows[-1][0]
    return found

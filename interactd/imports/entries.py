"""One entry of another system becomes a contact, changes one, or waits to become one."""
from __future__ import annotations

from typing import Any

import orjson
from attrs import define, field, frozen
from twisted.internet.task import deferLater
from twisted.logger import Logger

from interactd.api import body as bodies
from interactd.db import Violation
from interactd.entities.basicinfos import family, place
from interactd.entities.contacts import ENTITY, Contact
from interactd.entities.erasing import Traits, erased
from interactd.errors import ApiError, Conflict, NotFound, Outdated, Unavailable
from interactd.events.numbers import columns
from interactd.imports import store
from interactd.imports.known import Known, KnownEntries
from interactd.imports.person import Entry, Json
from interactd.imports.photos import Wish
from interactd.imports.store import Book, as_json
from interactd.imports.three_way import patch

STRETCH = 10                # entries whose values are computed at a stretch
LONGEST = 0.05              # seconds of rest after an entry
ATTEMPTS = 3                # at a contact that is edited at the same moment
_COMPARED = ("phone", "email")

log = Logger()


@frozen
class Filters:
    """Who becomes a contact."""

    name: bool = False
    phone: bool = False
    email: bool = False
    groups: frozenset[str] | None = None
    without_group: bool = False
    since: int | None = None            # ms: what changed before is passed over
    shared: bool = False                # values may stand with several people of the same book

    def passes(self, entry: Entry) -> bool:
        """Whether an entry is looked at."""
        if self.since is not None and entry.changed is not None and entry.changed < self.since:
            return False
        return self.groups is None or bool((entry.groups | entry.also) & self.groups) or (self.without_group and not entry.groups)

    def lacks(self, entry: Entry) -> bool:
        """Whether an entry has not what is required."""
        return (self.name and not entry.named or self.phone and not entry.has("phone", "mobile", "fax")
                or self.email and not entry.has("email"))

    @property
    def signature(self) -> list[Any]:
        """What a token goes with: other filters need the whole list."""
        groups = None if self.groups is None else sorted(self.groups)
        return [self.name, self.phone, self.email, groups, self.without_group]


@define
class Outcome:
    """What became of whom; each id stands in one list."""

    lists: dict[int, str] = field(factory=dict)

    def note(self, ident: int, what: str) -> None:
        """`created` stays created, however often it changes after; who is deleted is that only."""
        if self.lists.get(ident) != "created" or what == "deleted":
            self.lists[ident] = what

    def of(self, what: str) -> list[int]:
        """The ids of one list."""
        return [ident for ident, said in self.lists.items() if said == what]


@define
class Entries:
    """The entries of one import, one after the other."""

    book: Book
    known: KnownEntries
    filters: Filters
    outcome: Outcome = field(factory=Outcome)
    wishes: list[Wish] = field(factory=list)          # photos to be taken over

    async def take(self, entries: tuple[Entry, ...]) -> None:
        """All of a page, in parts that hold up nobody; after each entry the database is left to others for as long as it took."""
        clock = self.book.c.app.clock
        for start in range(0, len(entries), STRETCH):
            some = entries[start:start + STRETCH]
            taken, gone = await self._taken(some), await self._erased(some)
            for entry in some:
                if self.filters.passes(entry) and entry.external_id not in gone:
                    begun = clock.seconds()
                    await self._take(entry, taken)
                    await deferLater(clock, min(LONGEST, clock.seconds() - begun))

    async def _take(self, entry: Entry, taken: set[tuple[str, str]]) -> None:
        known = self.known.of(entry)
        try:
            if known is not None and known.external_id != entry.external_id:
                known = await self._renamed(known, entry)
            if known is None or known.waiting is not None:
                known = await self._new(entry, known, taken)
            elif known.contact is not None:
                await self._again(entry, known)
        except (ApiError, Violation) as refused:
            if isinstance(refused, Unavailable | Conflict):
                raise
            log.warn("an entry of {system} can not be stored: {why}", system=self.book.system, why=str(refused))
            known = await self._wait(entry, known) if known is None or known.contact is None else known
        mark = entry.photo.mark if entry.photo is not None else None
        if known is not None and known.contact is not None and mark != known.photo:
            self.wishes.append(Wish(known.external_id, known.contact, entry.photo))

    async def _new(self, entry: Entry, known: Known | None, taken: set[tuple[str, str]]) -> Known:
        forms = {(form["canon"], form["ext"]) for form in _forms(self.book, entry.person)}
        if entry.person is None or self.filters.lacks(entry) or forms & taken:
            return await self._wait(entry, known)
        made = await self._create(entry, entry.person, known)
        if not self.filters.shared:
            taken |= forms
        return made

    async def _create(self, entry: Entry, person: Json, known: Known | None) -> Known:
        c, book = self.book.c, self.book.of(entry.external_id)
        body = bodies.read(Contact, person, create=True)
        await ENTITY.check(c, body, None)
        steps = store.storing(book, ENTITY.create_steps(c, body), place=entry.place, etag=entry.etag, card=as_json(person), edited=False)
        if known is not None:
            steps = (*steps[:-1], book.step(store.WAITS_NO_MORE), steps[-1])
        return self.known.add(Known(entry.external_id, entry.place, entry.etag, await self._written("insert", steps)))

    async def _written(self, action: str, steps: Any) -> int:
        c = self.book.c
        _, ident, seq, _ = (await c.script(*steps))[0]
        c.changed(c.owner, seq, action, ENTITY.activity, ident)
        self.book.told()
        self.outcome.note(ident, "created" if action == "insert" else "updated")
        return int(ident)

    async def _wait(self, entry: Entry, known: Known | None) -> Known:
        """The entry as an import contact."""
        person = {key: said for key, said in (entry.person or {"contactType": "person", "addresses": []}).items() if key != "basicInfos"}
        name = _name(person)
        infos = [{**info, "n": n, **form} for n, (info, form) in enumerate(_formed(self.book, entry.person))]
        told = {"place": entry.place, "etag": entry.etag, "card": as_json(person), "name": name}
        ident = (await self.book.rows(*store.waiting(self.book.of(entry.external_id), told, infos)))[0][0]
        self.outcome.note(ident, "failed")
        return self.known.add(Known(entry.external_id, entry.place, waiting=ident))

    async def _renamed(self, known: Known, entry: Entry) -> Known | None:
        """The same person under another id."""
        if known.waiting is not None:
            await self.book.rows(self.book.of(known.external_id).step(store.WAITS_NO_MORE))
        else:
            await self.book.rows(self.book.of(known.external_id).step(store.MOVED, new_id=entry.external_id, place=entry.place))
            if known.contact is not None:
                self.outcome.note(known.contact, "updated")
        self.known.remove(known)
        if known.waiting is not None:
            return None
        known.external_id, known.place = entry.external_id, entry.place
        return self.known.add(known)

    async def _again(self, entry: Entry, known: Known) -> None:
        """A contact's entry that was read again."""
        if entry.person is None or self.filters.lacks(entry) or entry.etag and entry.etag == known.etag and entry.place == known.place:
            return
        for attempt in range(ATTEMPTS):
            try:
                await self._change(entry, entry.person)
                break
            except Outdated:
                if attempt == ATTEMPTS - 1:
                    raise
        known.etag, known.place = entry.etag, entry.place
        self.known.add(known)

    async def _change(self, entry: Entry, person: Json) -> None:
        c, book = self.book.c, self.book.of(entry.external_id)
        rows = await book.rows(book.step(store.BASE))
        if not rows:
            return                                              # deleted here in this moment
        base, untouched, ours = rows[0][0], rows[0][1], orjson.loads(rows[0][2])
        changes = patch(orjson.loads(base or "{}"), person, ours)
        told = {"place": entry.place, "etag": entry.etag, "card": as_json(person)}
        if not changes:
            await book.rows(book.step(store.HELD), book.step(store.READ_AGAIN, **told))
            return
        body = bodies.read(Contact, {"version": ours["version"], **changes}, create=False)
        await ENTITY.check(c, body, ours["id"])
        await self._written("update", store.storing(book, ENTITY.update_steps(c, ours["id"], body), edited=not untouched, **told))

    async def leave(self, known: Known) -> None:
        """An entry is gone there: its contact goes too, or loses the link when it is in use here."""
        book = self.book.of(known.external_id)
        self.known.remove(known)
        if known.waiting is not None or known.contact is None:
            await book.rows(book.step(store.WAITS_NO_MORE), book.step(store.FORGET))
            return
        try:
            ident, seq, _ = (await book.rows(*store.leaving(book, known.contact)))[0]
            book.c.changed(book.c.owner, seq, "delete", ENTITY.activity, ident)
            book.told()
        except (Conflict, NotFound):
            await book.rows(book.step(store.HELD), book.step(store.FORGET))
        self.outcome.note(known.contact, "deleted")

    async def _taken(self, entries: tuple[Entry, ...]) -> set[tuple[str, str]]:
        """Which of the new entries' values stand with a contact."""
        forms = [form for entry in entries if self._is_new(entry) for form in _forms(self.book, entry.person)]
        if not forms:
            return set()
        rows = await self.book.rows(self.book.step(store.TAKEN, canons=[f["canon"] for f in forms], exts=[f["ext"] for f in forms],
                                                   shared=self.filters.shared))
        return {(canon, ext) for canon, ext in rows}

    async def _erased(self, entries: tuple[Entry, ...]) -> frozenset[str]:
        """Who of the new entries was erased here: such a person does not come back."""
        people = {}
        for entry in entries:
            if self._is_new(entry):
                infos = [(info["type"], form["canon"], form["ext"]) for info, form in _formed(self.book, entry.person) if form["canon"] is not None]
                people[entry.external_id] = Traits(_name(entry.person or {}), infos, [(self.book.system, self.book.account, entry.external_id)])
        return await erased(self.book.c, people) if people else frozenset()

    def _is_new(self, entry: Entry) -> bool:
        known = self.known.of(entry)
        return known is None or known.waiting is not None


@define
class Trial(Entries):
    """The same, and nothing is stored."""

    _last: int = 0

    def _imagined(self, entry: Entry, what: str) -> Known:
        self._last -= 1
        self.outcome.note(self._last, what)
        return Known(entry.external_id, entry.place, entry.etag, self._last)

    async def _create(self, entry: Entry, person: Json, known: Known | None) -> Known:
        body = bodies.read(Contact, person, create=True)
        await ENTITY.check(self.book.c, body, None)
        return self.known.add(self._imagined(entry, "created"))

    async def _wait(self, entry: Entry, known: Known | None) -> Known:
        return self._imagined(entry, "failed")

    async def _renamed(self, known: Known, entry: Entry) -> Known | None:
        return known

    async def _change(self, entry: Entry, person: Json) -> None:
        rows = await self.book.rows(self.book.of(entry.external_id).step(store.BASE))
        if rows and patch(orjson.loads(rows[0][0] or "{}"), person, orjson.loads(rows[0][2])):
            self.outcome.note(orjson.loads(rows[0][2])["id"], "updated")


def _name(person: Json) -> str:
    return person.get("organizationName") or " ".join(filter(None, (person.get(key) for key in ("firstName", "middleName", "lastName"))))


def _formed(book: Book, person: Json | None) -> list[tuple[Json, Json]]:
    return [(info, columns(family(info["type"]), info["value"], *place(book.c))) for info in (person or {}).get("basicInfos", ())]


def _forms(book: Book, person: Json | None) -> list[Json]:
    """The forms of a person's numbers and e-mail addresses; a website may be many people's."""
    return [form for info, form in _formed(book, person) if family(info["type"]) in _COMPARED and form["canon"] is not None]

"""Photos of imported contacts: read and encoded anew like uploads. One that can not be had never fails its contact."""
from __future__ import annotations

from attrs import define, field, frozen
from twisted.logger import Logger

from interactd.db import Violation
from interactd.entities.pictures import ENTITY, columns
from interactd.errors import ApiError, Conflict
from interactd.images import Unfit
from interactd.imports import store
from interactd.imports.outgoing import Closed, Lost
from interactd.imports.person import Photo
from interactd.imports.source import Source
from interactd.imports.store import Book

log = Logger()


@frozen
class Wish:
    """A photo that is to become a contact's picture; None: the one that came from there is to go."""

    external_id: str
    contact: int
    photo: Photo | None = field(repr=False)


@define
class Photos:
    """The photos of an import: those that came with their entries at once, those elsewhere at the end."""

    book: Book
    source: Source
    system: str
    later: list[Wish] = field(factory=list)

    async def add(self, wish: Wish) -> None:
        """Now, or at the end."""
        if wish.photo is None:
            await self._remove(wish)
        elif wish.photo.data:
            await self._take(wish, wish.photo)
        else:
            self.later.append(wish)

    async def _take(self, wish: Wish, photo: Photo) -> None:
        try:
            data = await self.source.photo(photo)
            if data is not None:
                await self._store(wish, photo, data)
        except Conflict:
            raise
        except (ApiError, Closed, Lost, Unfit, Violation) as failure:
            log.info("the photo of contact {contact} is left out: {why}", contact=wish.contact, why=str(failure) or type(failure).__name__)

    async def fetch(self) -> int:
        """The next of those elsewhere; how many are left."""
        wish = self.later.pop(0) if self.later else None
        if wish is not None and wish.photo is not None:
            await self._take(wish, wish.photo)
        return len(self.later)

    @property
    def _kind(self) -> str:
        return "google" if self.system == "google" else "carddav"

    async def _remove(self, wish: Wish) -> None:
        c, book = self.book.c, self.book.of(wish.external_id)
        forgotten = book.step(store.PICTURED, mark=None)
        before = await book.rows(book.step(store.PICTURE, contact=wish.contact, type=self._kind))
        if before:
            await ENTITY.remove(c, [before[0][0]], book.step(store.HELD), forgotten)
            book.told()
        else:
            await book.rows(book.step(store.HELD), forgotten)

    async def _store(self, wish: Wish, photo: Photo, data: bytes) -> None:
        c, book, kind = self.book.c, self.book.of(wish.external_id), self._kind
        body = columns(await c.app.images.read(data))
        before = await book.rows(book.step(store.PICTURE, contact=wish.contact, type=kind))
        steps = (ENTITY.update_steps(c, before[0][0], body) if before else
                 ENTITY.create_steps(c, {"contact_id": wish.contact, "is_default": False, **body}))
        steps = (steps[0], book.step(store.HELD), *steps[1:-1], book.step(store.PICTURE_OF, type=kind),
                 book.step(store.PICTURED, mark=photo.mark), steps[-1])
        await ENTITY.written(c, "update" if before else "insert", steps)
        book.told()

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
    """A photo that is to become a contact's picture."""

    external_id: str
    contact: int
    photo: Photo = field(repr=False)


@define
class Photos:
    """The photos of an import: those that came with their entries at once, those elsewhere at the end."""

    book: Book
    source: Source
    system: str
    later: list[Wish] = field(factory=list)

    async def add(self, wish: Wish) -> None:
        """Now, or at the end."""
        if wish.photo.data:
            await self._take(wish)
        else:
            self.later.append(wish)

    async def _take(self, wish: Wish) -> None:
        try:
            data = await self.source.photo(wish.photo)
            if data is not None:
                await self._store(wish, data)
        except Conflict:
            raise
        except (ApiError, Closed, Lost, Unfit, Violation) as failure:
            log.info("the photo of contact {contact} is left out: {why}", contact=wish.contact, why=str(failure) or type(failure).__name__)

    async def fetch(self) -> int:
        """The next of those elsewhere; how many are left."""
        if self.later:
            await self._take(self.later.pop(0))
        return len(self.later)

    async def _store(self, wish: Wish, data: bytes) -> None:
        c, book = self.book.c, self.book.of(wish.external_id)
        body = columns(await c.app.images.read(data))
        kind = "google" if self.system == "google" else "carddav"
        before = await book.rows(book.step(store.PICTURE, contact=wish.contact, type=kind))
        steps = (ENTITY.update_steps(c, before[0][0], body) if before else
                 ENTITY.create_steps(c, {"contact_id": wish.contact, "is_default": False, **body}))
        steps = (steps[0], book.step(store.HELD), *steps[1:-1], book.step(store.PICTURE_OF, type=kind),
                 book.step(store.PICTURED, mark=wish.photo.mark), steps[-1])
        await ENTITY.written(c, "update" if before else "insert", steps)
        book.told()

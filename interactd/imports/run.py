"""One import from its first request to its answer (docs/import.md has the rules)."""
from __future__ import annotations

import secrets
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import orjson
from attrs import define, field, frozen
from twisted.logger import Logger

from interactd.api.context import Context
from interactd.changes import Progress
from interactd.errors import ApiError, Conflict, Refused
from interactd.imports import store
from interactd.imports.entries import Entries, Filters, Trial
from interactd.imports.known import Known, known_entries
from interactd.imports.photos import Photos
from interactd.imports.source import Expired, Page, Source, Wanted
from interactd.imports.store import Book, as_json

EVERY = 1.0                 # seconds between two messages of progress
FEW, PART = 10, 0.2         # more deletions than both at once must be confirmed

log = Logger()


class Gone(Exception):
    """Whoever asked for the import has hung up."""


@frozen
class Task:
    """What is to be imported."""

    system: str
    account: str
    source: Source
    filters: Filters
    confirmed: bool = False             # many deletions may be done
    whole: bool = True                  # who is not in the list is gone
    hung_up: Callable[[], bool] = lambda: False


@define
class Run:
    """An import at work."""

    task: Task
    book: Book
    entries: Entries
    photos: Photos
    started: int
    read: int = 0
    told_at: float = 0.0
    gone: list[Known] = field(factory=list)
    seen: set[str] = field(factory=set)

    async def through(self, wanted: Wanted) -> Any:
        """Everything is stored that the source tells; the token for the next time. Whole lists also tell who is not there any more."""
        self.gone, self.seen = [], set()
        token = None
        async for page in self.task.source.pages(wanted):
            await self._page(page)
            token = page.token or token
        if wanted.token is None and self.task.whole:
            self.gone += [known for known in self.entries.known if known.external_id not in self.seen]
        return token

    async def _page(self, page: Page) -> None:
        await self.entries.take(page.entries)
        while self.entries.wishes:
            await self.photos.add(self.entries.wishes.pop(0))
        for entry in page.entries:
            self.seen.add(entry.external_id)
        for places, kept in ((page.same, self.seen.add), (page.gone, None)):
            for known in filter(None, map(self.entries.known.at, places)):
                kept(known.external_id) if kept else self.gone.append(known)
        self.read += len(page.entries) + len(page.same)
        if self.read > self.book.c.config.imports.contacts:
            raise Refused(f"the address book has more than {self.book.c.config.imports.contacts} entries", detail=2004)
        await self.tell("reading")
        if self.task.hung_up():
            raise Gone

    @property
    def held(self) -> int:
        """How many deletions wait to be confirmed."""
        doomed = sum(known.contact is not None for known in self.gone)
        return 0 if self.task.confirmed or doomed <= FEW or doomed <= PART * self.entries.known.contacts else doomed

    async def delete(self) -> None:
        """The contacts of entries that are gone."""
        for known in self.gone:
            await self.entries.leave(known)
            await self.tell("deleting")

    async def picture(self) -> None:
        """The photos that are elsewhere."""
        while self.photos.later:
            await self.photos.fetch()
            await self.tell("photos")

    async def tell(self, phase: str, finally_: bool = False) -> None:
        """The user's devices and the import's state hear how far it is, at most once a second. Conflict when it was ended meanwhile."""
        now = self.book.c.app.clock.seconds()
        if finally_ or now - self.told_at >= EVERY:
            self.told_at = now
            told = self.progress(phase)
            if not finally_ and not await self.book.rows(self.book.step(store.KEEP, progress=as_json(told))):
                raise Conflict("the import was ended")
            self.book.c.app.hub.publish(Progress(self.book.c.owner, told))

    def progress(self, phase: str, **more: Any) -> dict[str, Any]:
        """How far it is."""
        counts = {what: len(self.entries.outcome.of(what)) for what in ("created", "updated", "deleted", "failed")}
        return {"externalSystem": self.task.system, "externalSystemAccount": self.task.account, "phase": phase, "read": self.read, **counts, **more}


async def imported(c: Context, task: Task) -> dict[str, Any]:
    """The answer of an import. Errors: 409 when one of the same address book is running, and what the source raises before its first page."""
    book = Book(c, task.system, task.account, secrets.token_hex(8))
    rows = await book.rows(book.step(store.CLAIM))
    if not rows:
        raise Conflict(f"an import from {task.system} for {task.account} is running already: wait until it has ended")
    token, signature, started = rows[0]
    run = Run(task, book, Entries(book, await known_entries(book), task.filters), Photos(book, task.source, task.system), started)
    try:
        return await _worked(run, orjson.loads(token or "null"), signature)
    except BaseException as failure:
        told = run.progress("failed", error=_said(failure))
        await book.rows(book.step(store.END, progress=as_json(told)))
        c.app.hub.publish(Progress(c.owner, told))
        raise


async def _worked(run: Run, token: Any, signature: str | None) -> dict[str, Any]:
    task, incomplete = run.task, ""
    mine = sha256(orjson.dumps(task.filters.signature)).hexdigest()[:32]
    whole = Wanted(None, run.entries.known.etags, task.filters.groups is not None)
    wanted = Wanted(token, whole.etags, whole.groups) if token is not None and signature == mine and task.filters.since is None else whole
    try:
        try:
            new = await run.through(wanted)
        except Expired:
            new = await run.through(whole)
    except (ApiError, Gone) as failure:
        if not run.read or isinstance(failure, Conflict):
            raise
        incomplete, new = _said(failure), None
    return await _ended(run, new, mine, incomplete)


async def _ended(run: Run, token: Any, signature: str, incomplete: str) -> dict[str, Any]:
    book, held = run.book, 0
    if not incomplete and not (held := run.held):
        await run.delete()
    await run.picture()
    more = {"incomplete": incomplete} if incomplete else {"deletionsHeld": held} if held else {}
    told = as_json(run.progress("incomplete" if more else "done", **more))
    if more:
        await book.rows(book.step(store.END, progress=told))
    else:
        keep = run.task.filters.since is not None
        await book.rows(book.step(store.SUCCEED, progress=told, token=None if token is None else as_json(token), signature=signature, keep=keep))
    await run.tell("incomplete" if more else "done", finally_=True)
    return _answer(run, incomplete, held)


def _answer(run: Run, incomplete: str, held: int) -> dict[str, Any]:
    said: dict[str, Any] = {"externalSystem": run.task.system, "externalSystemAccount": run.task.account, "importTime": run.started}
    said |= {what: run.entries.outcome.of(what) for what in ("failed", "created", "updated", "deleted")}
    if incomplete:
        said |= {"incomplete": True, "devmsg": f"not everything could be read, import again for the rest: {incomplete}"}
    if held:
        said |= {"deletionsHeld": held, "devmsg": f"{held} contacts are gone there, which is so many that none was deleted here: "
                                                  "import again with confirmDeletions=1 if that is right"}
    return said


def _said(failure: BaseException) -> str:
    return failure.devmsg if isinstance(failure, ApiError) else "the client went away" if isinstance(failure, Gone) else "internal error"


async def tried(c: Context, task: Task) -> dict[str, Any]:
    """What an import would answer; nothing is stored. Ids of contacts that would be made are below zero."""
    book = Book(c, task.system, task.account, "")
    entries = Trial(book, await known_entries(book), task.filters)
    async for page in task.source.pages(Wanted(groups=task.filters.groups is not None)):
        await entries.take(page.entries)
    return {what: entries.outcome.of(what) for what in ("failed", "created", "updated", "deleted")}

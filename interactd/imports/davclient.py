"""Requests of CardDAV: discovery, listings, cards, with the ways round that servers in use need (docs/import.md)."""
from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote, unquote, urljoin, urlsplit

from attrs import define, field, frozen

from interactd.errors import LoginRefused, NotAllowed, Unavailable
from interactd.imports.davxml import CARD, DAV, Element, Reader, Response, Unreadable, multiget, pieces, propfind, sync_collection
from interactd.imports.outgoing import Asking, Reply, trusted_with_password
from interactd.imports.patience import Patient, away
from interactd.imports.slices import Slices
from interactd.imports.source import Expired
from interactd.keys import Server

ROUNDS = 1000               # answers of 507 that are followed for one listing
_XML = "application/xml; charset=utf-8"


@frozen
class Collection:
    """An address book, and whether it can say what changed."""

    url: str
    syncs: bool


@define
class Listing:
    """The places of cards with their etags, places that are gone, and the token for the next time (empty for none)."""

    etags: dict[str, str] = field(factory=dict)
    gone: list[str] = field(factory=list)
    token: str = ""


@frozen
class Answered:
    """A multistatus."""

    url: str
    status: int
    responses: list[Response] = field(repr=False)
    token: str = ""
    error: str = ""             # what a refusal names


@define
class DavClient:
    """A user's requests to one server."""

    patient: Patient
    server: Server
    username: str
    password: str = field(repr=False)
    slices: Slices = field(init=False)

    @slices.default
    def _slices(self) -> Slices:
        return Slices(self.patient.reactor)

    async def books(self) -> list[Collection]:
        """The user's address books."""
        start = await self._start()
        if any(_is_book(response) for response in start.responses):
            homes = [start.url]
        else:
            homes = await self._homes(start)
        found: dict[str, Collection] = {}
        for home in homes:
            listed = await self._propfind(home, "1", "D:resourcetype", "D:supported-report-set")
            found |= {book.url: book for response in listed.responses if _is_book(response) for book in [self._collection(listed.url, response)]}
        if not found:
            raise away(f"there is no address book of this user at {self.server.url}")
        return list(found.values())

    async def _start(self) -> Answered:
        """The first answer: of the well-known address where the configuration names a host only, else of what it names."""
        names = ("D:current-user-principal", "D:resourcetype", "C:addressbook-home-set")
        if urlsplit(self.server.url).path in ("", "/"):
            try:
                found = await self._propfind(urljoin(self.server.url, "/.well-known/carddav"), "0", *names)
                if any(response.hrefs(DAV + "current-user-principal") for response in found.responses):
                    return found
            except Unavailable:
                pass
        return await self._propfind(self.server.url, "0", *names)

    async def _homes(self, start: Answered) -> list[str]:
        homes = _joined(start, CARD + "addressbook-home-set")
        if homes:
            return homes
        principals = _joined(start, DAV + "current-user-principal") or [start.url]
        asked = await self._propfind(principals[0], "0", "C:addressbook-home-set")
        return _joined(asked, CARD + "addressbook-home-set") or [start.url]

    def _collection(self, base: str, response: Response) -> Collection:
        reports = response.props.get(DAV + "supported-report-set")
        named = {inner.name for report in (reports.children if reports else ()) for kind in report.children for inner in kind.children}
        return Collection(urljoin(base, response.href), DAV + "sync-collection" in named)

    async def listing(self, book: Collection, token: str) -> Listing:
        """What is in a book, or what changed since a token. Expired when the token is good no more."""
        if book.syncs:
            found = await self._synced(book, token)
            if found is not None:
                return found
        if token:
            raise Expired
        made = Listing()
        listed = await self._propfind(book.url, "1", "D:getetag", "D:resourcetype")
        for response in listed.responses:
            kind = response.props.get(DAV + "resourcetype")
            if not (kind is not None and kind.find(DAV + "collection")):
                self._note(made, book, response)
        return made

    async def _synced(self, book: Collection, token: str) -> Listing | None:
        """The listing by sync-collection; None where the server offers it and does not do it."""
        made = Listing()
        for _ in range(ROUNDS):
            answer = await self._multistatus("REPORT", book.url, "1", sync_collection(made.token or token))
            if answer.status == 207:
                more = False
                for response in answer.responses:
                    if response.status == 507:
                        more = True             # the rest comes with the new token
                    else:
                        self._note(made, book, response)
                if made.token == answer.token or not more:
                    made.token = answer.token
                    return made
                made.token = answer.token
            elif token and not made.token:
                raise Expired
            else:
                return None
        raise away(f"{self.server.name} does not come to the end of its list")

    def _note(self, made: Listing, book: Collection, response: Response) -> None:
        place = self.place(book.url, response.href)
        if response.status in (404, 410):
            made.etags.pop(place, None)
            made.gone.append(place)
        elif not response.href.endswith("/") and place != self.place(book.url, ""):
            made.etags[place] = response.text(DAV + "getetag").strip()

    async def cards(self, book: Collection, places: list[str]) -> list[Response]:
        """The cards at these places, by one request, or one by one where the server does not know that."""
        if not places:
            return []
        answer = await self._multistatus("REPORT", book.url, "1", multiget([urlsplit(place).path for place in places]))
        if answer.status == 207:
            return [response for response in answer.responses if response.status not in (404, 410)]
        return [response for place in places for response in await self._card(place)]

    async def _card(self, place: str) -> list[Response]:
        reply = await self._ask("GET", place, {}, b"")
        if reply.status != 200:
            return []
        etag, data = Element(DAV + "getetag", reply.headers.get("etag", "")), Element(CARD + "address-data", reply.body.decode("utf-8", "replace"))
        return [Response(place, 200, {etag.name: etag, data.name: data})]

    async def fetched(self, url: str, most: int) -> bytes | None:
        """What is at an address, asked for without credentials; None for nothing."""
        reply = await self.patient.gate.ask(self.server, Asking("GET", url, limit=most))
        return reply.body if reply.status == 200 else None

    def place(self, base: str, href: str) -> str:
        """An address in the one spelling by which places are compared."""
        url = urlsplit(urljoin(base, href))
        return url._replace(path=quote(unquote(url.path), safe="/:@!$&'()*+,;=~"), query="", fragment="").geturl()

    async def _propfind(self, url: str, depth: str, *names: str) -> Answered:
        answer = await self._multistatus("PROPFIND", url, depth, propfind(*names))
        if answer.status != 207:
            raise away(f"{self.server.name} answers {urlsplit(url).path} with status {answer.status}")
        return answer

    async def _multistatus(self, method: str, url: str, depth: str, body: bytes) -> Answered:
        reply = await self._ask(method, url, {"Depth": depth, "Content-Type": _XML}, body)
        if reply.status != 207:
            return Answered(reply.url, reply.status, [], error=reply.body[:2000].decode("utf-8", "replace"))
        reader = Reader()
        try:
            for piece, last in pieces(reply.body):
                reader.feed(piece, last)
                await self.slices.rest()
        except Unreadable as wrong:
            raise away(f"{self.server.name} gives an answer that can not be read: {wrong}") from None
        return Answered(reply.url, 207, reader.responses, reader.root.said(DAV + "sync-token") if reader.root else "")

    async def _ask(self, method: str, url: str, headers: dict[str, str], body: bytes) -> Reply:
        host = urlsplit(url).hostname or ""
        if not trusted_with_password(self.server, host):
            raise away(f"the address books of {self.server.name} are at {host}, which its entry in the configuration does not list")
        secret = b64encode(f"{self.username}:{self.password}".encode()).decode()
        reply = await self.patient.ask(self.server, Asking(method, url, headers, body, f"Basic {secret}"))
        if reply.status == 401:
            raise LoginRefused(f"{self.server.name} refuses this user name and password; many services want an app password made for interactd")
        if reply.status == 403 and method == "PROPFIND":
            raise NotAllowed(f"{self.server.name} does not allow {self.username} to read this address book")
        return reply


def _is_book(response: Response) -> bool:
    kind = response.props.get(DAV + "resourcetype")
    return kind is not None and kind.find(CARD + "addressbook") is not None


def _joined(answer: Answered, prop: str) -> list[str]:
    return [urljoin(answer.url, href) for response in answer.responses for href in response.hrefs(prop)]

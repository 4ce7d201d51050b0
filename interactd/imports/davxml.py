"""WebDAV's XML: written by hand, read without DOCTYPE and entities, to a depth of 32, a response at a time."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape

from attrs import define, field

DAV, CARD = "DAV: ", "urn:ietf:params:xml:ns:carddav "
DEPTH = 32
SLICE = 1 << 16             # bytes read at once: some milliseconds
_HEAD = '<?xml version="1.0" encoding="utf-8"?>'
_SPACES = 'xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"'


class Unreadable(Exception):
    """It is not the XML that is wanted, or none that is safe."""


@define(slots=True)
class Element:
    """An element: its namespace and name with a blank between, its text, its children."""

    name: str
    text: str = ""
    children: list[Element] = field(factory=list)

    def find(self, *path: str) -> Element | None:
        """The first element down a path of names."""
        here: Element | None = self
        for name in path:
            here = next((child for child in here.children if child.name == name), None) if here is not None else None
        return here

    def said(self, *path: str) -> str:
        """The text of the element down a path; empty for none."""
        found = self.find(*path)
        return found.text.strip() if found is not None else ""


@define(slots=True)
class Response:
    """What a multistatus says of one address: its status if it has one of its own, and the properties that are there."""

    href: str
    status: int
    props: dict[str, Element]

    def hrefs(self, prop: str) -> list[str]:
        """The addresses a property holds."""
        found = self.props.get(prop)
        return [child.text.strip() for child in found.children if child.name == DAV + "href"] if found is not None else []

    def text(self, prop: str) -> str:
        """The text of a property; empty for none."""
        return self.props[prop].text if prop in self.props else ""


class Reader:
    """Fed with pieces of a document; `responses` are those read since they were last taken, `root` all else."""

    def __init__(self) -> None:
        self.responses: list[Response] = []
        self.root: Element | None = None
        self._open: list[Element] = []
        self._texts: list[list[str]] = []
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.EntityDeclHandler = self._refuse

    def feed(self, data: bytes, last: bool = False) -> None:
        """Another piece. Unreadable when it can not be."""
        try:
            self._parser.Parse(data, last)
        except expat.ExpatError as wrong:
            raise Unreadable(f"its XML can not be read ({wrong})") from None

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._open) >= DEPTH:
            raise Unreadable("its XML is nested too deep")
        self._open.append(Element(name))
        self._texts.append([])

    def _text(self, text: str) -> None:
        if self._texts:
            self._texts[-1].append(text)

    def _end(self, name: str) -> None:
        done = self._open.pop()
        done.text = "".join(self._texts.pop())
        if not self._open:
            self.root = done
        elif len(self._open) == 1 and name == DAV + "response":
            self.responses.append(_response(done))
        else:
            self._open[-1].children.append(done)

    def _refuse(self, *_: Any) -> None:
        raise Unreadable("its XML has a DOCTYPE or an entity")


def _response(element: Element) -> Response:
    props: dict[str, Element] = {}
    for part in (child for child in element.children if child.name == DAV + "propstat"):
        if _code(part.said(DAV + "status")) in (0, 200):
            found = part.find(DAV + "prop")
            props.update({prop.name: prop for prop in (found.children if found is not None else ())})
    return Response(element.said(DAV + "href"), _code(element.said(DAV + "status")), props)


def _code(line: str) -> int:
    """The number in `HTTP/1.1 404 Not Found`; 0 for none."""
    words = line.split()
    return int(words[1]) if len(words) > 1 and words[1].isascii() and words[1].isdigit() else 0


def pieces(data: bytes) -> Iterator[tuple[bytes, bool]]:
    """The data in slices, the last one marked."""
    for start in range(0, max(1, len(data)), SLICE):
        yield data[start:start + SLICE], start + SLICE >= len(data)


def propfind(*names: str) -> bytes:
    """A PROPFIND for these properties, each with its prefix `D:` or `C:`."""
    return f"{_HEAD}<D:propfind {_SPACES}><D:prop>{_tags(names)}</D:prop></D:propfind>".encode()


def sync_collection(token: str) -> bytes:
    """A REPORT of what changed since a token, of everything for an empty one. No limit is asked for: servers stumble over it."""
    return (f"{_HEAD}<D:sync-collection {_SPACES}><D:sync-token>{escape(token)}</D:sync-token><D:sync-level>1</D:sync-level>"
            f"<D:prop><D:getetag/></D:prop></D:sync-collection>").encode()


def multiget(hrefs: list[str]) -> bytes:
    """A REPORT of these cards."""
    named = "".join(f"<D:href>{escape(href)}</D:href>" for href in hrefs)
    return f"{_HEAD}<C:addressbook-multiget {_SPACES}><D:prop><D:getetag/><C:address-data/></D:prop>{named}</C:addressbook-multiget>".encode()


def _tags(names: tuple[str, ...]) -> str:
    return "".join(f"<{name}/>" for name in names)

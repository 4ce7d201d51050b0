"""Reads vCards of any version (2.1, 3.0, 4.0), written by anybody: tolerant, bounded, in time linear in what is read.

A line that can not be read is skipped and counted. What a property means is `vcard_person`'s matter.
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from quopri import decodestring

from attrs import define, field, frozen

CARD_BYTES = 8 << 20
PROPERTIES = 1000
HEAD_BYTES = 8192           # of a line before its value
STRUCTURED = 65536          # characters of a value that has parts
PARAMETERS = 50             # of one property; more are left out
_NAME = re.compile(rb"(?:([A-Za-z0-9_-]{1,100})\.)?([A-Za-z0-9-]{1,100})$")
_ENDED = re.compile(r"\\(.)|([;,])", re.DOTALL)
_CARET = re.compile(r"\^([n'^])")
_BARE = {"QUOTED-PRINTABLE": "encoding", "BASE64": "encoding", "8BIT": "encoding", "7BIT": "encoding", "B": "encoding"}
_BASE64 = re.compile(rb"[A-Za-z0-9+/=]+$")


@frozen
class Property:
    """One line of a card: its group and name in lower case, its parameters (values as written), its value still escaped."""

    name: str
    value: str = field(repr=False)
    params: dict[str, list[str]] = {}
    group: str = ""

    @property
    def types(self) -> frozenset[str]:
        """What TYPE says, in lower case."""
        return frozenset(said.lower() for said in self.params.get("type", ()))

    @property
    def text(self) -> str:
        """The value as one text."""
        return unescaped(self.value)

    @property
    def parts(self) -> list[list[str]]:
        """The value as parts (N, ADR, ORG), each a list."""
        return split(self.value[:STRUCTURED])


@define
class Card:
    """The properties of one card, and how many lines of it could not be read; `broken` says why it is none."""

    properties: list[Property] = field(factory=list)
    faults: int = 0
    broken: str = ""
    _labels: dict[str, str] | None = None

    def all(self, name: str) -> list[Property]:
        """The properties of a name, preferred ones first."""
        return sorted((p for p in self.properties if p.name == name), key=_preference)

    def first(self, name: str) -> Property | None:
        """The preferred property of a name."""
        found = self.all(name)
        return found[0] if found else None

    def label(self, p: Property) -> str:
        """What X-ABLABEL beside a property says; empty for none."""
        if self._labels is None:
            self._labels = {q.group: q.text.strip() for q in reversed(self.properties) if q.name == "x-ablabel"}
        return self._labels.get(p.group, "") if p.group else ""

    def said(self, name: str) -> str:
        """The text of the preferred property of a name; empty for none."""
        found = self.first(name)
        return found.text.strip() if found else ""


def _preference(p: Property) -> int:
    said = (p.params.get("pref") or ["100" if "pref" not in p.types else "1"])[0]
    return int(said) if said.isascii() and said.isdigit() and len(said) < 4 else 100


def unescaped(value: str) -> str:
    r"""The text with `\n`, `\,`, `\;`, `\\` as what they stand for."""
    if "\\" not in value:
        return value
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] in "nN" else m[1], value, flags=re.DOTALL)


def split(value: str) -> list[list[str]]:
    """A structured value: parts between `;`, each a list between `,`; escaped ones do not count."""
    parts, piece, start = [[""]], "", 0
    for found in _ENDED.finditer(value):
        piece += value[start:found.start()]
        start = found.end()
        if found[1]:
            piece += "\n" if found[1] in "nN" else found[1]
            continue
        parts[-1][-1] = piece
        piece = ""
        parts.append([""]) if found[2] == ";" else parts[-1].append("")
    parts[-1][-1] = piece + value[start:]
    return parts


def cards(data: bytes) -> Iterator[Card]:
    """The cards of a file or an answer, in order; what stands outside of any is passed over."""
    card: Card | None = None
    size = depth = 0
    for line in _lines(data.removeprefix(b"\xef\xbb\xbf")):
        marker = line.strip().upper() if len(line) < 40 else b""
        if marker.replace(b" ", b"") == b"BEGIN:VCARD":
            depth += card is not None
            if card is None:
                card, size = Card(), 0
        elif marker.replace(b" ", b"") == b"END:VCARD" and card is not None:
            if depth:
                depth -= 1          # a card inside a card (AGENT of 2.1) is part of it, and passed over
                continue
            yield card
            card = None
        elif card is not None and not depth:
            size += len(line)
            _take(card, line, size)
    if card is not None:
        card.broken = card.broken or "END:VCARD is missing"
        yield card


def _take(card: Card, line: bytes, size: int) -> None:
    if not line.strip():
        return
    if size > CARD_BYTES:
        card.broken, card.properties = f"it has more than {CARD_BYTES} bytes", []
        return
    if len(card.properties) >= PROPERTIES:
        card.faults += 1
        return
    found = _property(line)
    if found is None:
        card.faults += 1
    else:
        card.properties.append(found)


def _lines(data: bytes) -> Iterator[bytes]:
    """Unfolded lines, before anything is decoded: a fold may stand within a character. 2.1 folds base64 and quoted-printable in its own way."""
    whole: list[bytes] = []
    soft = packed = False
    for line in re.split(rb"\r\n|\n|\r", data):
        if whole and line[:1] in (b" ", b"\t"):
            whole.append(line[1:])
        elif soft or packed and _BASE64.match(line):
            whole.append(line)
        else:
            if whole:
                yield b"".join(whole)
            whole = [line]
            head = line[:max(0, _colon(line))].upper()
            quoted, packed = b"QUOTED-PRINTABLE" in head, b"BASE64" in head or b"ENCODING=B" in head
        soft = quoted and line.endswith(b"=")
        if soft:
            whole[-1] = whole[-1][:-1]
    if whole:
        yield b"".join(whole)


def _property(line: bytes) -> Property | None:
    colon = _colon(line)
    if colon < 0:
        return None
    head, *params = _unquoted(line[:colon])
    named = _NAME.match(head.strip())
    if named is None:
        return None
    said = _parameters(params[:PARAMETERS])
    return Property(named[2].decode().lower(), _value(line[colon + 1:], said), said, (named[1] or b"").decode().lower())


def _colon(line: bytes) -> int:
    """Where the value begins: the first colon outside quotes, or the first at all when a quote is never closed; -1 for nowhere near."""
    head, at = line[:HEAD_BYTES], 0
    while True:
        colon, quote = head.find(b":", at), head.find(b'"', at)
        if quote < 0 or 0 <= colon < quote:
            return colon
        at = head.find(b'"', quote + 1) + 1
        if at == 0:
            return head.find(b":")


def _unquoted(head: bytes) -> list[bytes]:
    """The head split at `;` outside quotes."""
    pieces = [b""]
    for n, piece in enumerate(head.split(b'"')):
        if n % 2:
            pieces[-1] += b'"' + piece + b'"'
        else:
            first, *rest = piece.split(b";")
            pieces[-1] += first
            pieces += rest
    return pieces


def _parameters(pieces: list[bytes]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for piece in pieces:
        name, equals, said = (part.strip() for part in _decoded(piece, "").partition("="))
        if not equals:
            name, said = _BARE.get(name.upper(), "type"), name
        found.setdefault(name.lower(), []).extend(_listed(said))
    return found


def _listed(said: str) -> list[str]:
    """A parameter's values: split at commas, quoted ones too (`TYPE="home,work"`), `^n ^' ^^` decoded."""
    return [_CARET.sub(lambda m: {"n": "\n", "'": '"', "^": "^"}[m[1]], part.strip()) for part in said.replace('"', "").split(",") if part.strip()]


def _value(raw: bytes, params: dict[str, list[str]]) -> str:
    charset = (params.get("charset") or [""])[0]
    if (params.get("encoding") or [""])[0].upper() == "QUOTED-PRINTABLE":
        raw = decodestring(raw)
    return _decoded(raw, charset)


def _decoded(raw: bytes, charset: str) -> str:
    """UTF-8, else what CHARSET says, else Latin-1; never NUL."""
    for name in (charset, "utf-8"):
        try:
            if name:
                return raw.decode(name).replace("\0", "")
        except (LookupError, ValueError):
            pass
    return raw.decode("latin-1").replace("\0", "")

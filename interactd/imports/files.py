"""Address books in files: vCards, CSV of the usual programs, and archives that interactctl export has written."""
from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
from attrs import define, evolve, field

from interactd.imports.person import Draft, Entry, Json, Photo
from interactd.imports.slices import Slices
from interactd.imports.source import Group, Page, Wanted
from interactd.imports.vcard import cards
from interactd.imports.vcard_person import entry, group_card
from interactd.refusals import Refusal

LARGEST = 256 << 20           # bytes of a file
PAGE = 50
ARCHIVE = 1                 # version of the archive's form

_SUBTYPES = (("home", ("home", "private", "privat")), ("work", ("business", "work", "company", "geschäftlich", "arbeit")))
#: what the head of a column must hold, to be read as what; the first that fits counts
_COLUMNS: tuple[tuple[str, str], ...] = (
    (r"\blabel$|\btype$", "label"),
    (r"typ$|custom field|phonetic|yomi|display as|file as", ""),
    (r"e-?mail", "email"),
    (r"fax", "fax"),
    (r"mobile|cell|handy|mobil", "mobile"),
    (r"phone|telefon|\btel\b|number$|nummer$", "phone"),
    (r"web ?(page|site)|\burl\b|homepage", "website"),
    (r"^(first|given) ?name|^vorname", "firstName"),
    (r"middle name|additional name|zweiter vorname", "middleName"),
    (r"^(last|family) ?name|^surname|^nachname", "lastName"),
    (r"^title$|^name prefix|^anrede|honorific prefix", "title"),
    (r"job title|organi[sz]ation( 1)?( -)? title|position|profession|beruf", "profession"),
    (r"^company$|organi[sz]ation( 1)?( -)? name|^firma$", "organization"),
    (r"street( ?1)?$|straße$|^address$|^adresse$", "addressLine1"),
    (r"street ?2$|extended", "addressLine2"),
    (r"street ?3$|po ?box|postfach", "addressLine3"),
    (r"city$|\bort$|stadt$", "city"),
    (r"postal ?code|zip|plz", "zipCode"),
    (r"state$|region$|bundesland", "state"),
    (r"country|land$", "country"),
    (r"^(full )?name$|display name|^fn$", "name"),
    (r"^gender$|^geschlecht$", "gender"),
)
_ADDRESS = ("addressLine1", "addressLine2", "addressLine3", "city", "zipCode", "state", "country")


def content(path: Path) -> bytes:
    """What is in a file. Refusal when it can not be read."""
    try:
        if path.stat().st_size > LARGEST:
            raise Refusal(f"{path} is larger than {LARGEST} bytes")
        return path.read_bytes()
    except OSError as failure:
        raise Refusal(f"{path} can not be read ({failure.strerror})") from None


def of_vcards(data: bytes) -> Iterator[Entry]:
    """The people of vCards; a card without UID goes by what it says."""
    for card in cards(data):
        if group_card(card) is None:
            said = mark([[p.group, p.name, p.params, p.value] for p in card.properties])
            yield evolve(entry(card, said, said), place="")


def of_csv(data: bytes) -> Iterator[Entry]:
    """The people of a table whose first line says what stands in the columns, as Google, Outlook and most programs write it."""
    text = _decoded(data)
    first = text.partition("\n")[0]
    rows = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=first.count))
    columns = [_column(head) for head in next(rows, [])]
    if not any(kind for kind, _, _ in columns):
        raise Refusal("the first line of the table names no column that is known, such as First Name, E-mail, Phone")
    try:
        for row in rows:
            if any(cell.strip() for cell in row):
                said = mark(row)
                draft, organization = _of_row(columns, row)
                yield Entry(said, "", said, draft.finished(organization), named=draft.named)
    except csv.Error as wrong:
        raise Refusal(f"line {rows.line_num} of the table can not be read ({wrong})") from None


def of_archive(contacts: list[Json]) -> Iterator[Entry]:
    """The contacts of an archive, with all that is theirs."""
    for contact in contacts:
        yield Entry(str(contact["id"]), "", mark(contact), plain_contact(contact), named=True)


def plain_contact(contact: Json) -> Json:
    """What a create takes of a contact; relations and pictures follow when all are there."""
    left = ("id", "version", "pictures", "relatedTo", "displayName", "created", "changed", "origin", "sharedBy", "deals", "notes", "tasks",
            "interactions", "customFields")
    made = {key: said for key, said in contact.items() if key not in left}
    for name in ("basicInfos", "addresses"):
        made[name] = [{key: said for key, said in item.items() if key != "id"} for item in contact.get(name, ())]
    made["profiles"] = {network: p for network, p in contact.get("profiles", {}).items() if p != {"connected": False}}
    return made


def mark(said: Any) -> str:
    """What is another one when something else is said."""
    return sha256(orjson.dumps(said)).hexdigest()[:32]


def _decoded(data: bytes) -> str:
    for encoding in ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1252", "latin-1"):
        try:
            return data.decode(encoding).replace("\0", "")
        except UnicodeDecodeError:
            pass
    raise Refusal("the table is not text")


def _column(head: str) -> tuple[str, str, str]:
    """What a column holds: its kind, its subtype, and which of several (`E-mail 2 - Value`)."""
    said = head.strip().lower()
    kind = next((kind for pattern, kind in _COLUMNS if re.search(pattern, said)), "")
    subtype = _subtype(said)
    return kind, subtype, subtype + re.sub(r"street ?\d|\D", "", said)


def _of_row(columns: list[tuple[str, str, str]], row: list[str]) -> tuple[Draft, str]:
    draft, addresses, said, label = Draft(), dict[str, Json](), dict[str, str](), ""
    for (kind, subtype, which), cell in zip(columns, row):
        if kind == "label":
            label = cell.lower()
            continue
        if subtype == "other":
            subtype = _subtype(label)
        for value in filter(None, map(str.strip, cell.split(" ::: "))):         # Google puts several into one cell
            if kind in ("email", "fax", "mobile", "phone", "website"):
                draft.info(_kind(kind, label), subtype, value)
            elif kind in _ADDRESS:
                addresses.setdefault(which, {"subtype": subtype})[kind] = value
            elif kind:
                said.setdefault(kind, value)
    for address in addresses.values():
        draft.address(**address)
    _names(draft, said)
    return draft, said.get("organization", "")


def _kind(kind: str, label: str) -> str:
    """What a number is, by the label that Google writes before it."""
    if kind != "phone":
        return kind
    return "fax" if "fax" in label else "mobile" if re.search("mobile|cell|handy|mobil", label) else "phone"


def _subtype(said: str) -> str:
    return next((name for name, words in _SUBTYPES if any(word in said for word in words)), "other")


def _names(draft: Draft, said: dict[str, str]) -> None:
    for key in ("firstName", "middleName", "lastName"):
        draft.set(key, said.get(key, ""))
    if not draft.named:
        draft.name(said.get("name", ""))
    if draft.named:
        draft.set("title", said.get("title", ""))
        draft.set("profession", said.get("profession") or said.get("organization", ""))
        if said.get("gender", "")[:1].lower() in ("m", "f"):
            draft.said["gender"] = said["gender"][0].lower()


@define
class FileSource:
    """The entries of a file, in pages."""

    found: Iterator[Entry]
    slices: Slices = field(repr=False)

    async def groups(self) -> list[Group]:
        """None."""
        return []

    async def pages(self, wanted: Wanted) -> AsyncIterator[Page]:
        """All of them; what is wrong with the file shows before anything is stored of the page."""
        page: list[Entry] = []
        for one in self.found:
            page.append(one)
            await self.slices.rest()
            if len(page) == PAGE:
                yield Page(tuple(page))
                page = []
        yield Page(tuple(page))

    async def photo(self, photo: Photo) -> bytes | None:
        """Photos that stand in the file; none is fetched from elsewhere."""
        return photo.data or None

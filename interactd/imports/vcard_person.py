"""What a vCard says of a person (the mapping of docs/import.md)."""
from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterator
from datetime import datetime, timezone
from hashlib import sha256
from urllib.parse import quote, unquote

from attrs import frozen

from interactd.imports.person import PHOTO_BYTES, Draft, Entry, Photo
from interactd.imports.vcard import Card, Property

_LABEL = re.compile(r"_\$!<(.*)>!\$_$")
_MOMENT = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)(?:T(\d\d):?(\d\d)(?::?(\d\d))?(?:[.,]\d+)?(Z|[+-]\d\d:?(?:\d\d)?)?)?$", re.IGNORECASE)
_DATA = re.compile(r"data:[^,]{0,200};base64\\?,", re.IGNORECASE)
_PLAIN_TYPES = frozenset(("internet", "pref", "voice", "home", "work", "cell", "fax", "x400", "text", "video", "iphone", "main", "other"))


@frozen
class GroupCard:
    """A card that stands for a group: its id, its name, the ids of its members."""

    id: str
    name: str
    members: frozenset[str]


def plain_id(said: str) -> str:
    """An id as it is compared: without `urn:uuid:`, in lower case."""
    return said.strip().lower().removeprefix("urn:uuid:")


def category(name: str) -> str:
    """The id of the group of a category, fit for a query's list of ids."""
    return "category:" + quote(name, safe="")


def group_card(card: Card) -> GroupCard | None:
    """The group that a card stands for, or None for a card of somebody."""
    kind = card.said("kind") or card.said("x-addressbookserver-kind")
    if kind.lower() != "group":
        return None
    members = (*card.all("member"), *card.all("x-addressbookserver-member"))
    return GroupCard(quote(card.said("uid"), safe=":"), card.said("fn") or _organization(card), frozenset(plain_id(m.text) for m in members))


def categories(card: Card) -> dict[str, str]:
    """The groups a card names itself, by id."""
    names = (name.strip() for p in card.all("categories") for part in p.parts for name in part)
    return {category(name): name for name in names if name}


def entry(card: Card, place: str, etag: str) -> Entry:
    """The entry of a card found at a place."""
    uid = card.said("uid") or place
    if card.broken:
        return Entry(uid, place, etag, None)
    draft = Draft()
    _names(card, draft)
    for p in card.all("email"):
        draft.info("email", _subtype(card, p), p.text.removeprefix("mailto:"), _custom(card, p))
    for p in card.all("tel"):
        draft.info(_number_type(card, p), _subtype(card, p), _number(p), _custom(card, p))
    for p in card.all("url"):
        draft.info("website", _subtype(card, p), re.sub(r"\\([;,:])", r"\1", p.value), _custom(card, p))
    for p in card.all("adr"):
        _address(card, p, draft)
    return Entry(uid[:1000], place, etag, draft.finished(_organization(card) or card.said("nickname")), named=draft.named,
                 groups=frozenset(categories(card)), changed=moment(card.said("rev")), photo=_photo(card))


def _names(card: Card, draft: Draft) -> None:
    if card.said("kind").lower() == "org" or card.said("x-abshowas").upper() == "COMPANY":
        draft.set("organizationName", _organization(card) or card.said("fn"))
        draft.set("business", card.said("role"))
        return
    found = card.first("n")
    said = [" ".join(part).strip() for part in found.parts] if found else []
    last, first, middle, title, *_ = [*said, "", "", "", ""]
    for key, text in (("firstName", first), ("middleName", middle), ("lastName", last)):
        draft.set(key, text)
    if not draft.named:
        draft.name(middle or card.said("fn"))
    if draft.named:
        draft.set("title", title)
        draft.set("profession", card.said("title") or card.said("role") or _organization(card))
        _gender(card, draft)


def _gender(card: Card, draft: Draft) -> None:
    said = (card.said("gender") or card.said("x-gender")).partition(";")[0].strip().lower()
    if said in ("m", "male", "f", "female"):
        draft.said["gender"] = said[0]


def _organization(card: Card) -> str:
    found = card.first("org")
    return ", ".join(filter(None, (" ".join(part).strip() for part in found.parts))) if found else ""


def _label(card: Card, p: Property) -> str:
    """What an Apple label beside the property says."""
    said = card.label(p)
    found = _LABEL.match(said)
    return found[1] if found else said


def _custom(card: Card, p: Property) -> str:
    label = _label(card, p)
    return "" if label.lower() in _PLAIN_TYPES | {"mobile", "homefax", "workfax", "homepage", "anniversary"} else label


def _kinds(card: Card, p: Property) -> frozenset[str]:
    label = _label(card, p).lower()
    return p.types | {label} | {kind for kind in ("home", "work", "fax") if label in ("homefax", "workfax") and kind in label}


def _subtype(card: Card, p: Property) -> str:
    kinds = _kinds(card, p)
    return "work" if "work" in kinds else "home" if "home" in kinds else "other"


def _number_type(card: Card, p: Property) -> str:
    kinds = _kinds(card, p)
    return "fax" if "fax" in kinds else "mobile" if kinds & {"cell", "mobile", "iphone"} else "phone"


def _number(p: Property) -> str:
    text = p.text.strip()
    return unquote(text[4:]) if text.lower().startswith("tel:") else text


def _address(card: Card, p: Property, draft: Draft) -> None:
    box, extended, street, city, state, code, country = ([", ".join(filter(None, part)) for part in p.parts] + [""] * 7)[:7]
    if not any((box, extended, street, city, state, code, country)):
        street = (p.params.get("label") or [""])[0] or card.said("label")
    lines = [line.strip() for line in street.splitlines() if line.strip()]
    first, second = (lines + ["", ""])[0], ", ".join(lines[1:])
    rest = ", ".join(filter(None, (extended, box))) if second else box
    draft.address(_subtype(card, p), addressLine1=first, addressLine2=second or extended, addressLine3=rest, zipCode=code, city=city, state=state,
                  country=country)


def _photo(card: Card) -> Photo | None:
    for p in card.all("photo"):
        for found in _photos(p):
            return found
    return None


def _photos(p: Property) -> Iterator[Photo]:
    packed = (p.params.get("encoding") or [""])[0].upper() in ("B", "BASE64")
    inline = _DATA.match(p.value)
    if packed or inline:
        text = p.value[inline.end():] if inline else p.value
        try:
            data = b64decode("".join(text.split())) if len(text) < PHOTO_BYTES * 3 // 2 else b""
        except NotBase64:
            data = b""
        if 0 < len(data) <= PHOTO_BYTES:
            yield Photo(sha256(data).hexdigest()[:32], data)
    elif p.value.lower().startswith("https://"):
        url = re.sub(r"\\([;,:])", r"\1", p.value.strip())
        yield Photo(sha256(url.encode()).hexdigest()[:32], url=url)


def moment(said: str) -> int | None:
    """A vCard's time as ms since 1970; without a zone it is UTC; None for what is none."""
    found = _MOMENT.match(said.strip())
    if found is None:
        return None
    zone = (found[7] or "Z").upper().replace(":", "")
    try:
        at = datetime(*(int(part or 0) for part in found.groups()[:6]), tzinfo=timezone.utc)  # type: ignore[arg-type,misc]
    except ValueError:
        return None
    away = 0 if zone == "Z" else (1 if zone[0] == "+" else -1) * (int(zone[1:3]) * 60 + int(zone[3:5] or 0))
    return int(at.timestamp() * 1000) - away * 60_000

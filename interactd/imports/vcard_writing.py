"""Writes contacts as vCards 4.0 (RFC 6350), the way `vcard_person` reads them."""
from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

Json = dict[str, Any]
LINE = 75                   # bytes, RFC 6350 section 3.2
_NUMBERS = {"phone": "voice", "mobile": "cell", "fax": "fax"}


def card(contact: Json, organizations: tuple[str, ...] = (), photo: tuple[str, bytes] | None = None) -> str:
    """The card of a contact in base projection; `organizations` are the names of those it is related to, `photo` type and bytes."""
    lines = ["BEGIN:VCARD", "VERSION:4.0", *_who(contact), *(f"ORG:{_text(name)}" for name in organizations[:1])]
    for number, info in enumerate(contact.get("basicInfos", ()), 1):
        lines += _info(info, f"item{number}")
    lines += [_address(a) for a in contact.get("addresses", ())]
    lines += [f"X-SOCIALPROFILE;TYPE={network.lower()}:{_text(p.get('url') or p['username'])}"
              for network, p in contact.get("profiles", {}).items() if p.get("url") or p.get("username")]
    if contact.get("tags"):
        lines.append("CATEGORIES:" + ",".join(_text(tag) for tag in contact["tags"]))
    if photo is not None:
        lines.append(f"PHOTO:data:{photo[0]};base64,{b64encode(photo[1]).decode()}")
    if "changed" in contact:
        lines.append(f"REV:{datetime.fromtimestamp(contact['changed'] / 1000, timezone.utc):%Y%m%dT%H%M%SZ}")
    return "".join(_folded(line) for line in (*lines, "END:VCARD"))


def _who(contact: Json) -> Iterator[str]:
    said = {key: _text(str(contact.get(key, ""))) for key in ("lastName", "firstName", "middleName", "title", "profession", "displayName")}
    if "id" in contact:
        yield f"UID;VALUE=text:interactd-{contact['id']}"
    yield f"FN:{said['displayName']}"
    if contact["contactType"] == "organization":
        yield from ("KIND:org", f"ORG:{_text(contact.get('organizationName', ''))}")
        if contact.get("business"):
            yield f"ROLE:{_text(contact['business'])}"
        return
    yield f"N:{said['lastName']};{said['firstName']};{said['middleName']};{said['title']};"
    if said["profession"]:
        yield f"TITLE:{said['profession']}"
    if contact.get("gender"):
        yield f"GENDER:{contact['gender'].upper()}"


def _info(info: Json, group: str) -> list[str]:
    kind, types = info["type"], [] if info["subtype"] == "other" else [info["subtype"]]
    name = {"email": "EMAIL", "website": "URL"}.get(kind, "TEL")
    types += [_NUMBERS[kind]] if name == "TEL" else []
    value = info["value"].replace("\r", "").replace("\n", "%0A") if name == "URL" else _text(info["value"])
    line = name + (f";TYPE={types[0]}" if len(types) == 1 else f';TYPE="{",".join(types)}"' if types else "") + ":" + value
    return [f"{group}.{line}", f"{group}.X-ABLABEL:{_text(info['identifier'])}"] if info.get("identifier") else [line]


def _address(a: Json) -> str:
    parts = [_text(a.get(key, "")) for key in ("addressLine3", "addressLine2", "addressLine1", "city", "state", "zipCode", "country")]
    return "ADR" + ("" if a["subtype"] == "other" else f";TYPE={a['subtype']}") + ":" + ";".join(parts)


def _text(said: str) -> str:
    for raw, escaped in (("\\", "\\\\"), (",", "\\,"), (";", "\\;"), ("\r\n", "\\n"), ("\r", "\\n"), ("\n", "\\n")):
        said = said.replace(raw, escaped)
    return said


def _folded(line: str) -> str:
    """The line in pieces of at most 75 bytes, none of which splits a character."""
    raw = line.encode()
    pieces: list[bytes] = []
    while len(raw) > LINE - (1 if pieces else 0):
        end = LINE - (1 if pieces else 0)
        while raw[end] & 0xC0 == 0x80:
            end -= 1
        pieces.append(raw[:end])
        raw = raw[end:]
    return b"\r\n ".join([*pieces, raw]).decode() + "\r\n"

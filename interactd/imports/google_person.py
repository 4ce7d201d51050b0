"""What Google's People API says of a person (the mapping of docs/import.md)."""
from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from interactd.imports.person import Draft, Entry, Json, Photo
from interactd.imports.vcard_person import moment

#: what is asked for; a sync token goes with these
FIELDS = ("addresses,emailAddresses,genders,memberships,metadata,names,nicknames,occupations,organizations,phoneNumbers,photos,urls")
_MOBILE, _FAX = ("mobile", "workMobile"), ("homeFax", "workFax", "otherFax")
_KNOWN = frozenset(("", "home", "work", "other", "main", "pager", "workPager", "googleVoice", "homePage", "blog", "profile", "ftp", "reservations",
                    "appInstallPage", *_MOBILE, *_FAX))


def source_of(person: Json) -> Json:
    """The source CONTACT of a person; its id stays when the resource's name changes."""
    sources = objects(_object(person, "metadata"), "sources")
    return next((source for source in sources if source.get("type") == "CONTACT"), {})


def gone(person: Json) -> bool:
    """Whether it tells of a deletion."""
    return bool(_object(person, "metadata").get("deleted"))


def entry(person: Json, system_groups: frozenset[str]) -> Entry:
    """The entry of a person."""
    source, name = source_of(person), str(person.get("resourceName", ""))
    draft = Draft()
    organization = _names(person, draft)
    for said in _all(person, "phoneNumbers"):
        kind = _text(said, "type")
        draft.info("mobile" if kind in _MOBILE else "fax" if kind in _FAX else "phone", _subtype(kind), _text(said, "value"), _custom(kind))
    for field, type_ in (("emailAddresses", "email"), ("urls", "website")):
        for said in _all(person, field):
            draft.info(type_, _subtype(_text(said, "type")), _text(said, "value"), _custom(_text(said, "type")))
    for said in _all(person, "addresses"):
        _address(said, draft)
    groups = frozenset(filter(None, (_text(_object(said, "contactGroupMembership"), "contactGroupId") for said in _all(person, "memberships"))))
    before = _object(person, "metadata").get("previousResourceNames")
    formerly = tuple(n for n in before if isinstance(n, str)) if isinstance(before, list) else ()
    return Entry(str(source.get("id") or name), name, str(person.get("etag", "")), draft.finished(organization or _nickname(person)),
                 named=draft.named, groups=groups - system_groups, also=groups & system_groups, changed=moment(str(source.get("updateTime", ""))),
                 photo=_photo(person), formerly=(name, *formerly))


def objects(holder: Any, field: str) -> list[Json]:
    """The objects in a list that something holds; none where there is no list."""
    found = holder.get(field) if isinstance(holder, dict) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _object(holder: Json, field: str) -> Json:
    found = holder.get(field)
    return found if isinstance(found, dict) else {}


def _all(person: Json, field: str) -> list[Json]:
    """The values of a field, the primary one first."""
    return sorted(objects(person, field), key=lambda said: not _object(said, "metadata").get("primary", False))


def _text(said: Any, key: str) -> str:
    found = said.get(key) if isinstance(said, dict) else None
    return found.strip() if isinstance(found, str) else ""


def _names(person: Json, draft: Draft) -> str:
    """Name, profession and gender; answers the organization's name."""
    name = next(iter(_all(person, "names")), {})
    for key, field in (("firstName", "givenName"), ("middleName", "middleName"), ("lastName", "familyName")):
        draft.set(key, _text(name, field))
    if not draft.named:
        draft.name(_text(name, "middleName") or _text(name, "unstructuredName") or _text(name, "displayName"))
    organizations = sorted(_all(person, "organizations"), key=lambda said: not said.get("current", False))
    organization = next(iter(organizations), {})
    if draft.named:
        draft.set("title", _text(name, "honorificPrefix"))
        occupation = _text(next(iter(_all(person, "occupations")), {}), "value")
        draft.set("profession", occupation or _text(organization, "title") or _text(organization, "name"))
        gender = _text(next(iter(_all(person, "genders")), {}), "value")
        if gender in ("male", "female"):
            draft.said["gender"] = gender[0]
    return _text(organization, "name")


def _nickname(person: Json) -> str:
    return _text(next(iter(_all(person, "nicknames")), {}), "value")


def _subtype(kind: str) -> str:
    return "work" if kind.startswith("work") else "home" if kind.startswith("home") and kind != "homePage" else "other"


def _custom(kind: str) -> str:
    return "" if kind in _KNOWN else kind


def _address(said: Json, draft: Draft) -> None:
    parts = {"addressLine1": "streetAddress", "addressLine2": "extendedAddress", "addressLine3": "poBox", "zipCode": "postalCode", "city": "city",
             "state": "region", "country": "country"}
    found = {key: " ".join(_text(said, field).split()) for key, field in parts.items()}
    found["country"] = found["country"] or _text(said, "countryCode")
    if not any(found.values()):
        found["addressLine1"] = ", ".join(_text(said, "formattedValue").splitlines())
    draft.address(_subtype(_text(said, "type")), **found)


def _photo(person: Json) -> Photo | None:
    return next(_photos(person), None)


def _photos(person: Json) -> Iterator[Photo]:
    for said in _all(person, "photos"):
        url, source = _text(said, "url"), _object(_object(said, "metadata"), "source")
        if url and not said.get("default") and source.get("type") == "CONTACT":
            yield Photo(sha256(url.encode()).hexdigest()[:32], url=url)

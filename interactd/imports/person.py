"""What every other system's entries become on their way in: a contact as the API shows it, within the limits of its fields."""
from __future__ import annotations

import re
from typing import Any

from attrs import define, field, frozen

from interactd.api.fields import fields_of
from interactd.entities.basicinfos import BasicInfo, family
from interactd.entities.contact_parts import Address
from interactd.entities.contacts import Contact

Json = dict[str, Any]

PHOTO_BYTES = 5 << 20
ITEMS = 200
_INSTEAD = (("email",), ("mobile", "phone"), ("fax", "website"))        # what somebody without a name goes by
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_BETWEEN = re.compile(r"[\s()./\\-]+")


def _limits(row: type) -> dict[str, int]:
    return {f.key: f.schema["maxLength"] for f in fields_of(row) if "maxLength" in f.schema}


LIMITS, INFO_LIMITS, ADDRESS_LIMITS = _limits(Contact), _limits(BasicInfo), _limits(Address)


@frozen
class Photo:
    """A picture of an entry: its bytes, or where they are; `mark` is different when the picture is another one."""

    mark: str
    data: bytes = field(default=b"", repr=False)
    url: str = ""


@frozen
class Entry:
    """An entry of another system. `external_id` names it for good, `place` (href, resource name) is where it is found now."""

    external_id: str
    place: str
    etag: str
    person: Json | None = field(repr=False)         # None: it can not be read as one
    named: bool = False                             # it says a name itself
    groups: frozenset[str] = frozenset()
    also: frozenset[str] = frozenset()              # groups that everybody may be in: they do not count for "without a group"
    changed: int | None = None                      # ms; None: not said
    photo: Photo | None = None
    formerly: tuple[str, ...] = ()                  # places it was found at before

    def has(self, *types: str) -> bool:
        """Whether there is a value of one of these types."""
        return any(info["type"] in types for info in (self.person or {}).get("basicInfos", ()))


def storable(said: str, limit: int) -> str:
    """The text without what can not be stored, cut at the limit."""
    return _UNSTORABLE.sub("", said).strip()[:limit].strip()


@define
class Draft:
    """A person that is being put together; `finished` is what the API would show."""

    said: Json = field(factory=dict)
    infos: list[Json] = field(factory=list)
    addresses: list[Json] = field(factory=list)
    _seen: set[tuple[str, str]] = field(factory=set)

    def set(self, key: str, text: str) -> None:
        """An attribute, unless it is empty or there already."""
        if key not in self.said and (text := storable(text, LIMITS[key])):
            self.said[key] = text

    def name(self, whole: str) -> None:
        """A name in one piece: its last word is the last name."""
        first, _, last = " ".join(whole.split()).rpartition(" ")
        self.set("firstName", first)
        self.set("lastName", last)

    def info(self, kind: str, subtype: str, value: str, identifier: str = "") -> None:
        """A way to reach the person; one that is too long is none, one that is there already counts once."""
        value = storable(value, INFO_LIMITS["value"] + 1)
        alike = (family(kind), _BETWEEN.sub("", value).lower())
        if value and len(value) <= INFO_LIMITS["value"] and alike not in self._seen and len(self.infos) < ITEMS:
            self._seen.add(alike)
            label = storable(identifier, INFO_LIMITS["identifier"])
            self.infos.append({"type": kind, "subtype": subtype, "value": value, **({"identifier": label} if label else {})})

    def address(self, subtype: str, **parts: str) -> None:
        """A postal address, unless it is empty or there already."""
        said = {key: text for key, raw in parts.items() if (text := storable(raw, ADDRESS_LIMITS[key]))}
        made = {**said, "subtype": subtype}
        if said and made not in self.addresses and len(self.addresses) < ITEMS:
            self.addresses.append(made)

    @property
    def named(self) -> bool:
        """Whether a name was said."""
        return any(key in self.said for key in ("firstName", "lastName", "organizationName"))

    def finished(self, organization: str = "") -> Json | None:
        """The whole; without a name it goes by its organization, else by an address or number; None if there is nothing to go by."""
        said = dict(self.said)
        if not self.named and (organization := storable(organization, LIMITS["organizationName"])):
            said = {"organizationName": organization}
        elif not self.named:
            known = [i["value"] for kinds in _INSTEAD for i in self.infos if i["type"] in kinds]
            if not known:
                return None
            said["lastName"] = known[0]
        kind = "organization" if "organizationName" in said else "person"
        if kind == "organization":
            said = {key: said[key] for key in ("organizationName", "business") if key in said}
        return {"contactType": kind, **said, "basicInfos": self.infos, "addresses": self.addresses}

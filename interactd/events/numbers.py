"""The canonical forms by which phone numbers, e-mail addresses and websites are compared (docs/numbers.md)."""

from functools import lru_cache
from zlib import crc32

import phonenumbers
from attrs import frozen

from interactd.events.addresses import plain_address, plain_url
from interactd.events.dialled import Dialled, dialled
from interactd.events.subscribers import Plan, Subscriber, is_short, plan_of, presumed, reached, spelled_abroad

RULES = 1
MADE_BY = f"{RULES}/{phonenumbers.__version__}"
TAIL = 8
LONGEST_NUMBER = 15


@frozen
class Canonical:
    """What a value is compared by.

    Numbers: `canon` is E.164, or the digits as dialled where the country or the area is not known; `ext` the extension;
    `nsn` the national significant number; `tail` its last eight digits; `mobile` says that the number is surely a mobile's.
    Addresses and websites: `canon` and `tail` are the whole form.
    """

    canon: str
    ext: str
    nsn: str | None
    tail: str
    mobile: bool


def version(region: str | None, area_code: str | None, made_by: str = MADE_BY) -> int:
    """The version of the forms made for a region and area code: positive int4, another one when rules or metadata change."""
    named = f"{made_by}/{(region or '').upper()}/{area_code or ''}"
    return crc32(named.encode("utf-8", "backslashreplace")) >> 1 or 1


def event_kind(interaction_type: str) -> str | None:
    """The kind of basicInfo an event's `data` is read as: phone, email, or None for a handle, which is compared with nothing."""
    medium = interaction_type.partition("-")[0]
    return {"call": "phone", "sms": "phone", "email": "email"}.get(medium)


def canonical(kind: str | None, value: str | None, region: str | None, area_code: str | None) -> Canonical | None:
    """The form of a value by the type of its basicInfo; None if the value has none or the kind is not compared."""
    if kind in ("phone", "mobile", "fax"):
        return number(value, region, area_code)
    if kind == "email":
        return address(value or "")
    return website(value or "") if kind == "website" else None


def columns(kind: str, value: str, region: str | None, area_code: str | None) -> dict[str, str | int | None]:
    """The columns canon, ext, nsn, tail and canon_version of basic_infos; canon and tail are None where there is no form."""
    form = canonical(kind, value, region, area_code)
    made = version(region, area_code)
    if form is None:
        return {"canon": None, "ext": "", "nsn": None, "tail": None, "canon_version": made}
    return {"canon": form.canon, "ext": form.ext, "nsn": form.nsn, "tail": form.tail, "canon_version": made}


def address(value: str) -> Canonical | None:
    """The form of an e-mail address: lower case, domain in ASCII; None if the text is not one address."""
    return _whole(plain_address(value))


def website(value: str) -> Canonical | None:
    """The form of a web address: https, host in lower case without www, no trailing slash; None if the text is not one."""
    return _whole(plain_url(value))


def _whole(text: str | None) -> Canonical | None:
    return None if text is None else Canonical(text, "", None, text, False)


def number(value: str | None, region: str | None, area_code: str | None) -> Canonical | None:
    """The form of a phone number as dialled in a region (ISO 3166) and area; None for callers withheld and what is no number."""
    return _number(value or "", region or "", area_code or "")


@lru_cache(maxsize=8192)
def _number(value: str, region: str, area_code: str) -> Canonical | None:
    heard = dialled(value)
    if heard is None:
        return None
    plan = plan_of(region.upper())
    found = reached(heard, plan, area_code)
    return _local(heard, plan) if found is None else _official(found, heard.ext)


def _official(found: Subscriber, ext: str) -> Canonical:
    return Canonical(f"+{found.code}{found.nsn}", ext, found.nsn, found.nsn[-TAIL:], found.mobile)


def _local(heard: Dialled, plan: Plan | None) -> Canonical | None:
    """A number whose country or area is not known: its digits stand for it, and may be a whole national number."""
    digits = spelled_abroad(heard.digits, plan)
    if len(digits.lstrip("+")) > LONGEST_NUMBER:
        return None
    nsn = None if digits.startswith("+") or is_short(digits, plan) else presumed(digits, plan)
    return Canonical(digits, heard.ext, nsn, (nsn or digits.lstrip("+"))[-TAIL:], False)

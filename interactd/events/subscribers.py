"""Who is reached by dialling digits in a region: the plans of the countries, by phonenumbers' metadata."""

import re
from functools import lru_cache

import phonenumbers
from attrs import frozen
from phonenumbers import PhoneMetadata, PhoneNumber, PhoneNumberDesc, PhoneNumberFormat, PhoneNumberType, shortnumberinfo

from interactd.events.dialled import Dialled

LONGEST_SHORT = 6
LONGEST_LOCAL = 10
ROUNDS = 8
NOTHING = r"(?!)"

# One subscriber, two spellings: the national number as it may be written -> as it is compared. By country code.
SPELLINGS = {
    # Mobile numbers had eight digits until the ninth, a leading 9, was added (complete in 2016).
    55: (re.compile(r"([1-9]{2})([6-9]\d{7})"), r"\g<1>9\2"),
    # Since August 2019 ten digits are dialled; before, 1 (from abroad), 01, 044 or 045 stood in front.
    52: (re.compile(r"(?:1|01|044|045)(\d{10})"), r"\1"),
    # Calls to a mobile carry a 9 that text messages and callers often lack. The ten digits alone are unique, and whether
    # they need the 9 can not be told from them: only the form without it can be reached from both.
    54: (re.compile(r"9(\d{10})"), r"\1"),
    # Since November 2024 every number begins with 01.
    229: (re.compile(r"(\d{8})"), r"01\1"),
}


@frozen
class Plan:
    """How numbers are dialled in a region: prefixes, and whether whole numbers are written without the national prefix."""

    region: str
    code: int
    trunk: str
    abroad: re.Pattern[str]
    open: bool
    lengths: frozenset[int]


@frozen
class Country:
    """What a country code's plan says of national numbers: their lengths, what may stand in front, which are mobiles'."""

    code: int
    lengths: frozenset[int]
    trunk: re.Pattern[str]
    fixed: re.Pattern[str]
    mobile: re.Pattern[str]


@frozen
class Subscriber:
    """A number of a known country, in its official spelling."""

    code: int
    nsn: str
    mobile: bool


def reached(heard: Dialled, plan: Plan | None, area_code: str) -> Subscriber | None:
    """The subscriber that is reached, if the country's plan has such numbers; short numbers come before all else."""
    found = None if is_short(heard.digits, plan) else _subscriber(heard.digits, plan, area_code)
    for reading in (heard.without_trunk, heard.letters):
        if reading and not _is_valid(found):
            other = _subscriber(reading, plan, "")
            found = other if _is_valid(other) else found
    return found


def spelled_abroad(digits: str, plan: Plan | None) -> str:
    """Digits dialled with the international prefix as they are written with "+"; other digits unchanged."""
    prefix = plan.abroad.match(digits) if plan and digits.startswith("0") else None
    rest = digits[prefix.end():] if prefix else ""
    return "+" + rest if len(rest) > 1 and _country_of(rest) else digits


def presumed(digits: str, plan: Plan | None) -> str:
    """The national number that bare digits most likely are: without the own country code where what remains is valid."""
    if plan is None or not digits.startswith(str(plan.code)):
        return digits
    found = _international(digits)
    return found.nsn if found and _is_valid(found) else digits


def _subscriber(digits: str, plan: Plan | None, area_code: str) -> Subscriber | None:
    if digits.startswith("+"):
        return _international(digits[1:])
    if plan is None:
        return None
    abroad = plan.abroad.match(digits)
    found = _international(digits[abroad.end():]) if abroad else None
    if found:
        return found
    if plan.trunk and digits.startswith(plan.trunk):
        return _national(digits, plan)
    return _bare(digits, plan, area_code)


def _international(digits: str) -> Subscriber | None:
    """The subscriber of a number with country code, in the official spelling; None if the plan has no number so long."""
    mobile = False
    for _ in range(ROUNDS):
        country = _country_of(digits)
        if country is None:
            return None
        nsn = digits.removeprefix(str(country.code))
        mobile = mobile or _is_mobile(country, nsn)
        spelled = _respelled(country.code, nsn) or _without_trunk(country, nsn)
        if spelled == nsn:
            return Subscriber(country.code, nsn, mobile) if len(nsn) in country.lengths else None
        digits = f"{country.code}{spelled}"
    return None


def _respelled(code: int, nsn: str) -> str | None:
    rule = SPELLINGS.get(code)
    written = rule and rule[0].fullmatch(nsn)
    return written.expand(rule[1]) if rule and written else None


def _without_trunk(country: Country, nsn: str) -> str:
    """The national number without a national prefix written behind the country code; most have none, and need no parsing."""
    prefix = country.trunk.match(nsn)
    if prefix is None or not prefix[0]:
        return nsn
    parsed = _parsed(f"+{country.code}{nsn}", None)
    return nsn if parsed is None else phonenumbers.national_significant_number(parsed)


def _is_mobile(country: Country, nsn: str) -> bool:
    if country.fixed.fullmatch(nsn):
        return False
    if country.mobile.fullmatch(nsn):
        return True
    if len(phonenumbers.region_codes_for_country_code(country.code)) < 2:
        return False
    parsed = _parsed(f"+{country.code}{nsn}", None)
    return parsed is not None and phonenumbers.number_type(parsed) == PhoneNumberType.MOBILE


def _national(digits: str, plan: Plan) -> Subscriber | None:
    parsed = _parsed(digits, plan.region)
    if parsed is None:
        return None
    return _international(f"{parsed.country_code}{phonenumbers.national_significant_number(parsed)}")


def _bare(digits: str, plan: Plan, area_code: str) -> Subscriber | None:
    """A number without prefix: whole where that is how the country writes it, else local to the area."""
    whole = _national(digits, plan)
    if whole and _is_whole(whole, plan):
        return whole
    # Area codes are written with the 0 too; another prefix (8 in Russia) may as well be their first digit.
    area = "".join(c for c in area_code if c in "0123456789").removeprefix(plan.trunk if plan.trunk.startswith("0") else "")
    found = _international(f"{plan.code}{area}{digits}") if area and len(digits) <= LONGEST_LOCAL else None
    return found or (None if plan.trunk else whole)


def _is_whole(found: Subscriber, plan: Plan) -> bool:
    if plan.open and plan.lengths == {len(found.nsn)}:
        return True
    parsed = _parsed(f"+{found.code}{found.nsn}", None)
    if parsed is None or not phonenumbers.is_valid_number(parsed):
        return False
    written = phonenumbers.format_number(parsed, PhoneNumberFormat.NATIONAL)
    return plan.open or phonenumbers.normalize_digits_only(written) == found.nsn


def _is_valid(found: Subscriber | None) -> bool:
    parsed = _parsed(f"+{found.code}{found.nsn}", None) if found else None
    return parsed is not None and phonenumbers.is_valid_number(parsed)


def is_short(digits: str, plan: Plan | None) -> bool:
    """Whether the digits are a service of the region (110, 112, 116117) rather than a subscriber."""
    if plan is None or len(digits) > LONGEST_SHORT or digits.startswith("+"):
        return False
    zeros = len(digits) - len(digits.lstrip("0"))
    asked = PhoneNumber(country_code=plan.code, national_number=int(digits), italian_leading_zero=zeros > 0 or None,
                        number_of_leading_zeros=zeros or None)
    return shortnumberinfo.is_valid_short_number_for_region(asked, plan.region)


def _parsed(text: str, region: str | None) -> PhoneNumber | None:
    try:
        return phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None


def _country_of(digits: str) -> Country | None:
    return next((found for length in (1, 2, 3) if (found := _country(digits[:length]))), None)


@lru_cache(maxsize=2048)
def _country(code: str) -> Country | None:
    if not code.isdigit() or int(code) not in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        return None
    main = _main(int(code))
    return None if main is None else Country(
        int(code), _lengths(main), re.compile(main.national_prefix_for_parsing or ""),
        _shape(main.fixed_line), _shape(main.mobile))


@lru_cache(maxsize=512)
def plan_of(region: str) -> Plan | None:
    """How numbers are dialled in a region (ISO 3166 code); None for one without numbers."""
    metadata = PhoneMetadata.metadata_for_region(region)
    if metadata is None or metadata.country_code is None:
        return None
    # Regions that share a country code (+1, +7, +44) keep their ways of writing with the first of them.
    main = _main(metadata.country_code) or metadata
    trunk = metadata.national_prefix or ""
    optional = any(shape.national_prefix_optional_when_formatting for shape in main.number_format)
    return Plan(region, metadata.country_code, trunk, re.compile(rf"(?:{metadata.international_prefix})(?=[1-9])"),
                not trunk or optional, _lengths(metadata))


def _main(code: int) -> PhoneMetadata | None:
    return PhoneMetadata.metadata_for_region_or_calling_code(code, phonenumbers.region_code_for_country_code(code))


def _lengths(metadata: PhoneMetadata) -> frozenset[int]:
    return frozenset(metadata.general_desc.possible_length if metadata.general_desc else ())


def _shape(description: PhoneNumberDesc | None) -> re.Pattern[str]:
    pattern = description and description.national_number_pattern
    return re.compile(pattern or NOTHING)

"""What a written phone number says to dial: its digits and its extension, whatever stands around them."""

import re
import unicodedata
from urllib.parse import unquote

from attrs import frozen

LONGEST_TEXT = 255
KEYPAD = str.maketrans("abcdefghijklmnopqrstuvwxyz", "22233344455566677778889999")
# Carriers send a withheld caller as its word typed on a keypad: +266696687 is ANONYMOUS. None of these is a number that exists.
WITHHELD = frozenset("+" + word.translate(KEYPAD) for word in (
    "anonymous", "blocked", "private", "restricted", "unavailable", "unknown"))

_PLAIN = re.compile(r"\+[1-9][0-9]{6,14}")
_BETWEEN = r"[\s()\[\]{}./\\'_~·•ー‐-―−-]*"
_NUMBER = re.compile(rf"(\+*)((?:{_BETWEEN}\d)+)")
_LETTERS = re.compile(rf"(?:{_BETWEEN}[a-z\d])+")
_TRUNK = re.compile(r"[(\[]\s*0\s*[)\]]")
_LINK = re.compile(r"(?:tel|callto|sms):(?://)?")
_ELSEWHERE = re.compile(r"(?:sips?|h323|im|xmpp|skype):")
_CONTEXT = re.compile(r";phone-context=\+(\d{1,7})")
_EXTENSION = re.compile(
    r".*?;ext=(?P<uri>\d{1,10})(?!\d)"
    r"|[,;pw]{1,4}(?P<pause>\d{1,10})(?!\d)"
    rf"|{_BETWEEN}(?:#|x|ext(?:ensions?|n)?|durchwahl|dw|app(?:arat)?|nst|nebenstelle|int(?:erno)?|anexo|poste|ramal|toestel|доб)"
    r"[\s.:=#]*(?P<word>\d{1,10})(?!\d)")


@frozen
class Dialled:
    """What to dial: digits with "+" in front where it was written, and the readings to try if they are no valid number."""

    digits: str
    ext: str = ""
    without_trunk: str = ""
    letters: str = ""


def dialled(value: str) -> Dialled | None:
    """What a text says to dial; None where it says nothing that can be dialled (withheld, an address, a service code)."""
    if _PLAIN.fullmatch(value):
        return None if value in WITHHELD else Dialled(value)
    text = _plain(value)
    if text is None:
        return None
    return _dialled(text)


def _dialled(text: str) -> Dialled | None:
    found = _NUMBER.search(text)
    if found is None:
        return None
    plus, rest = found[1][:1], text[found.end():]
    digits = _prefixed(plus, _digits(found[2]), rest)
    if _is_nobody(digits):
        return None
    extension = _EXTENSION.match(rest)
    shortened = _TRUNK.sub("", found[0])
    return Dialled(digits, ext=extension[extension.lastgroup or 0] if extension else "",
                   without_trunk=plus + _digits(shortened) if shortened != found[0] else "",
                   letters="" if extension else _vanity(digits, rest))


def _is_nobody(digits: str) -> bool:
    """Whether the digits are one alone, nothing but zeros, or a word for "withheld"; 000 is Australia's emergency call."""
    bare = digits.lstrip("+")
    return digits in WITHHELD or len(bare) < 2 or (not bare.strip("0") and bare != "000")


def _plain(value: str) -> str | None:
    """The text in lower case with plain digits and without invisible marks; None if it is no phone number's."""
    if len(value) > LONGEST_TEXT:
        return None
    text = value if value.isascii() else _folded(value)
    text = text.strip().lower()
    link = _LINK.match(text)
    if link:
        text = unquote(text[link.end():])
    if "@" in text or text.lstrip("+ ").startswith(("*", "#")) or _ELSEWHERE.match(text):
        return None
    return text


def _folded(value: str) -> str:
    visible = "".join(c for c in unicodedata.normalize("NFKC", value) if unicodedata.category(c) != "Cf")
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in visible)


def _digits(text: str) -> str:
    return "".join(c for c in text if c.isdigit())


def _prefixed(plus: str, digits: str, rest: str) -> str:
    """The digits with "+" and country code where the text gives them; no country code begins with 0, so "+0…" is a slip."""
    context = None if plus else _CONTEXT.search(rest)
    if context:
        return f"+{context[1]}{digits}"
    return digits if digits.startswith("0") else plus + digits


def _vanity(digits: str, rest: str) -> str:
    """The number meant by letters (0800 PIZZA), or nothing if fewer than three letters follow the digits."""
    run = _LETTERS.match(rest)
    if run is None or sum(c.isalpha() for c in run[0]) < 3:
        return ""
    return digits + _digits(run[0].translate(KEYPAD))

"""E-mail and web addresses in the one form by which they are compared."""

import re
import unicodedata
from urllib.parse import SplitResult, quote, urlsplit

import idna

LONGEST = 1000      # what an index entry of PostgreSQL holds, with room for the rest of the key

_BRACKETED = re.compile(r"<([^<>]*)>$")
_LOCAL = re.compile(r"[^\s@<>()\[\]:;,\"\\\x00-\x1f\x7f-\x9f]+")
_DOMAIN = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_FORBIDDEN = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")
_WWW = re.compile(r"^(?:www\.)+(?=[^.]+\.)")
_ESCAPE = re.compile(r"%[0-9a-fA-F]{2}")


def plain_address(value: str) -> str | None:
    """The address in lower case, its domain in ASCII, out of "Name <address>" and mailto: too; None if it is not one address."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", _visible(value)).lower()).strip()
    bracketed = _BRACKETED.search(text)
    text = bracketed[1].strip() if bracketed else text
    if text.startswith("mailto:"):
        text = text.removeprefix("mailto:").partition("?")[0]
    local, _, host = text.rpartition("@")
    domain = plain_domain(host)
    # RFC 2606: .invalid is nobody's domain; anonymous@anonymous.invalid is what a withheld SIP caller is called.
    if domain is None or domain.endswith(".invalid") or not _LOCAL.fullmatch(local):
        return None
    return _bounded(f"{local}@{domain}")


def plain_domain(host: str) -> str | None:
    """A host name in lower-case ASCII (IDNA 2008); None if it is none."""
    name = host.lower().rstrip(".")
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii").rstrip(".")
        except UnicodeError:
            return None
    return name if _DOMAIN.fullmatch(name) else None


def plain_url(value: str) -> str | None:
    """The address as https, without www, default port and closing slash; None for other schemes, credentials and plain text."""
    text = unicodedata.normalize("NFC", _visible(value)).strip()
    if not text or _FORBIDDEN.search(text):
        return None
    try:
        parts = urlsplit(text if _SCHEME.match(text) else "https://" + text.lstrip("/"))
        host, port = plain_domain(parts.hostname or ""), parts.port
        rest = _escaped(parts)
    except ValueError:
        return None
    if host is None or parts.scheme not in ("http", "https") or "@" in parts.netloc:
        return None
    place = _WWW.sub("", host) + ("" if port in (None, 80, 443) else f":{port}")
    return _bounded(f"https://{place}{rest}")


def _visible(value: str) -> str:
    return value if value.isascii() else "".join(c for c in value if unicodedata.category(c) != "Cf")


def _escaped(parts: SplitResult) -> str:
    """Path, query and fragment with one spelling for what browsers escape."""
    rest = parts.path.rstrip("/") + (f"?{parts.query}" if parts.query else "") + (f"#{parts.fragment}" if parts.fragment else "")
    return _ESCAPE.sub(lambda found: found[0].upper(), quote(rest, safe="/?#:@!$&'()*+,;=~%"))


def _bounded(text: str) -> str | None:
    """The text if an index can hold it and PostgreSQL can store it."""
    try:
        return text if len(text.encode()) <= LONGEST else None
    except UnicodeEncodeError:
        return None
